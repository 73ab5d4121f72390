import base64
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pellucid import vault
from pellucid.errors import Denied, Misuse, Tampered, UnknownName
from pellucid.vault import parquet


def test_every_type_is_read_back_as_it_was_checked(sealed_once):
    schema = sealed_once.manifest.schema
    columns = list(schema.columns)
    table = vault.read(sealed_once.folder, sealed_once.manifest, columns, sealed_once.release("owner"))
    assert table.equals(vault.check_table(sealed_once.table, schema))
    table.validate(full=True)


def texts():
    return st.text(st.characters(codec="utf-8"), max_size=6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_round_trip_of_every_type(kit, tmp_path_factory, data):
    count = data.draw(st.integers(1, 12))

    def column(values, missing=False):
        return data.draw(st.lists(st.none() | values if missing else values, min_size=count, max_size=count))

    table = pa.table(
        {
            "person": pa.array(column(texts().map(lambda t: f"p{t.strip()}")), pa.string()),
            "age": pa.array(column(st.integers(17, 90)), pa.int64()),
            kit.INCOME: pa.array(column(st.floats(-1000, 1e6), True), pa.float64()),
            "job": pa.array(column(st.sampled_from(["teacher", "?", "nurse"]), True), pa.string()),
            "approved": pa.array(column(st.booleans()), pa.bool_()),
            "ethnicity": pa.array(column(st.sampled_from(["MARKER_CATEGORY", "B"])), pa.string()),
            "note": pa.array(column(texts(), True), pa.string()),
            "photo": pa.array(column(st.binary(max_size=9)), pa.binary()),
            "voice": pa.array(column(st.binary(max_size=9), True), pa.binary()),
            "since": pa.array(column(st.datetimes()), pa.timestamp("us", tz="UTC")),
        }
    )
    rows = data.draw(st.integers(1, 12))
    sealed = kit.seal(tmp_path_factory.mktemp("trip") / "1", table=table, max_rows_per_file=rows)
    back = vault.read(sealed.folder, sealed.manifest, table.column_names, sealed.release("auditor"))
    plain = {
        name: values.cast(pa.string()) if name in ("job", "ethnicity") else values
        for name, values in zip(back.column_names, back.columns, strict=True)
    }
    assert pa.table(plain).to_pydict() == table.to_pydict() | {
        "person": [p.strip() for p in table["person"].to_pylist()]
    }


def test_columns_come_in_the_order_asked_across_groups(sealed_once):
    asked = ["job", vault.TAG, "ethnicity", "age"]
    table = vault.read(sealed_once.folder, sealed_once.manifest, asked, sealed_once.release("auditor"))
    assert table.column_names == asked
    assert table["ethnicity"].to_pylist() == ["MARKER_CATEGORY", "B", "B", "MARKER_CATEGORY"]
    assert table["job"].to_pylist() == ["nurse", None, "?", "teacher"]
    for chunk in table["job"].chunks:
        assert chunk.dictionary.to_pylist() == ["teacher", "?", "nurse"]


def test_release_is_asked_once_a_group_needed_and_for_no_other(sealed_once):
    for columns, groups in [
        (["age"], ["g1", "tags"]),
        (["ethnicity"], ["g2", "tags"]),
        (["job", "ethnicity", "age"], ["g1", "g2", "tags"]),
        ([vault.TAG], ["tags"]),
    ]:
        asked = []
        vault.read(sealed_once.folder, sealed_once.manifest, columns, sealed_once.release("owner", asked))
        assert asked == groups


def test_allowed_columns_are_read_while_another_group_is_refused(sealed_once):
    def read(columns):
        return vault.read(sealed_once.folder, sealed_once.manifest, columns, sealed_once.release("scientist"))

    assert read(["age", "note"])["age"].to_pylist() == [17, 90, 44, 45]
    with pytest.raises(Denied, match="scientist may not read g2"):
        read(["age", "ethnicity"])
    assert read(["age"])["age"].to_pylist() == [17, 90, 44, 45]


def test_what_release_raises_comes_through_unchanged(sealed_once):
    class OutOfOffice(Exception):
        pass

    error = OutOfOffice("back on Monday")

    def release(group, wrapped):
        raise error

    with pytest.raises(OutOfOffice) as caught:
        vault.read(sealed_once.folder, sealed_once.manifest, ["age"], release)
    assert caught.value is error


def test_nothing_is_kept_after_a_read(sealed_once):
    """Revoked is revoked: a second read asks again, and is refused."""
    vault.read(sealed_once.folder, sealed_once.manifest, ["ethnicity"], sealed_once.release("auditor"))
    with pytest.raises(Denied):
        vault.read(sealed_once.folder, sealed_once.manifest, ["ethnicity"], sealed_once.release("scientist"))


@pytest.mark.parametrize(
    ("columns", "error", "says"),
    [
        (["etnicity"], UnknownName, 'did you mean "ethnicity"'),
        ([], Misuse, "at least one"),
        (["age", "age"], Misuse, "once"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused_before_any_release(sealed_once, columns, error, says):
    asked = []
    with pytest.raises(error, match=says):
        vault.read(sealed_once.folder, sealed_once.manifest, columns, sealed_once.release("owner", asked))
    assert asked == []


def test_files_are_verified_before_any_release(sealed):
    path = sealed.folder / sealed.manifest.files[1].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    asked = []
    with pytest.raises(Tampered, match="was changed"):
        vault.read(sealed.folder, sealed.manifest, ["age"], sealed.release("owner", asked))
    assert asked == []


class Everything(pe.KmsClient):
    """A patched client: every key that a scientist has, tried in every way the file asks."""

    def __init__(self, keys, context):
        super().__init__()
        self.keys, self.context = keys, context

    def wrap_key(self, key_bytes, master_key_identifier):
        raise NotImplementedError

    def unwrap_key(self, wrapped_key, master_key_identifier):
        raw = base64.b64decode(wrapped_key)
        for key in self.keys:
            for group in ("g1", "g2", "tags"):
                try:
                    aad = f"pellucid/data-key@1|{self.context}|{group}".encode()
                    return parquet.AESGCM(key).decrypt(raw[:12], raw[12:], aad)
                except parquet.InvalidTag:
                    continue
        raise PermissionError("none of the keys opens this")


def test_a_role_without_the_key_cannot_decrypt_a_column_with_pyarrow_itself(sealed_once):
    """Our code is out of the way: only mathematics stands between the scientist and ``ethnicity``."""
    scientist, auditor = [], []
    for role, keys in (("scientist", scientist), ("auditor", auditor)):
        for group in sealed_once.manifest.groups:
            if role in group.readers:
                keys.append(sealed_once.release(role)(group, sealed_once.manifest.wrapped[group.id]))
    file = sealed_once.manifest.files[0]
    context = f"applicants@1|{file.path}"

    def read(keys, columns):
        factory = pe.CryptoFactory(lambda _: Everything(keys, context))
        properties = factory.file_decryption_properties(pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
        return pq.ParquetFile(sealed_once.folder / file.path, decryption_properties=properties).read(columns=columns)

    assert read(scientist, ["age"])["age"].to_pylist() == [17, 90, 44]
    assert read(auditor, ["ethnicity"])["ethnicity"].to_pylist() == ["MARKER_CATEGORY", "B", "B"]
    with pytest.raises(PermissionError, match="none of the keys"):
        read(scientist, ["ethnicity"])
    with pytest.raises(OSError, match="no decryption"):
        pq.ParquetFile(sealed_once.folder / file.path).read()


def test_a_sealed_file_does_not_pass_for_another_even_past_the_digests(sealed_once):
    """Two parts of one version have the same group keys; what a file is stands under its own keys."""
    keys = {
        group.id: sealed_once.release("owner")(group, sealed_once.manifest.wrapped[group.id])
        for group in sealed_once.manifest.groups
    }
    first, second = (file.path for file in sealed_once.manifest.files)
    good = parquet.read(sealed_once.folder / first, ["age"], keys=keys, context=f"applicants@1|{first}")
    assert good["age"].to_pylist() == [17, 90, 44]
    for context in (f"applicants@1|{second}", f"applicants@2|{first}", f"others@1|{first}"):
        with pytest.raises(Tampered) as caught:
            parquet.read(sealed_once.folder / first, ["age"], keys=keys, context=context)
        shown = str(caught.value) + repr(caught.value) + repr(caught.value.__context__)
        assert not any(key.hex() in shown or repr(key)[2:-1] in shown for key in keys.values())


@pytest.mark.parametrize("place", [4, 40, 0.3, 0.6, 0.9, -40, -9, -6, -1])
def test_a_changed_byte_is_noticed_by_the_cipher_too(sealed, place):
    """As if it were changed after the digest was taken."""
    keys = {
        group.id: sealed.release("owner")(group, sealed.manifest.wrapped[group.id]) for group in sealed.manifest.groups
    }
    path = sealed.folder / sealed.manifest.files[0].path
    data = bytearray(path.read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 1
    path.write_bytes(data)
    columns = list(sealed.manifest.schema.columns)
    whole = vault.check_table(sealed.table, sealed.manifest.schema).slice(0, 3)
    try:
        table = parquet.read(path, columns, keys=keys, context=f"applicants@1|{path.name}")
    except Tampered:
        return
    # The magic number at the start is read by nobody; a change that is accepted must change nothing.
    assert place == 4 or place < 0
    assert table.to_pydict() == {name: whole.to_pydict()[name] for name in columns}


def test_writing_leaves_no_column_without_a_key(tmp_path):
    table, key = pa.table({"a": [1], "b": [2]}), bytes(32)
    for groups in ({"g1": ["a"]}, {"g1": ["a", "b", "c"]}, {"g1": ["a", "b"], "g2": ["b"]}):
        with pytest.raises(Misuse, match="exactly one group"):
            parquet.write(
                table,
                tmp_path / "x",
                groups=groups,
                footer="g1",
                keys=dict.fromkeys(groups, key),
                context="c",
            )
    with pytest.raises(Misuse, match="32 bytes"):
        parquet.write(table, tmp_path / "x", groups={"g1": ["a", "b"]}, footer="g1", keys={"g1": b"short"}, context="c")
    assert not (tmp_path / "x").exists()


HARD = """
import os, sys
from pathlib import Path
from pellucid import vault
from pellucid.errors import Denied, Misuse, Tampered
folder, how = Path(sys.argv[1]), sys.argv[2]
manifest, _, _ = vault.read_manifest(folder)
def release(group, wrapped):
    if how == "refused":
        raise Denied("no")
    if how == "outage":
        raise ConnectionError("the key service does not answer")
    return {"short": b"x", "zero": bytes(32), "wrong": os.urandom(32)}[how]
expected = {"refused": Denied, "outage": ConnectionError, "short": Misuse}.get(how, Tampered)
for _ in range(20):
    for columns in (["ethnicity"], list(manifest.schema.columns), [vault.TAG]):
        try:
            vault.read(folder, manifest, columns, release)
        except expected as error:
            assert type(error) is expected
        else:
            raise SystemExit("it was read")
print("ended well")
"""


@pytest.mark.parametrize("how", ["refused", "outage", "short", "zero", "wrong"])
def test_a_refused_missing_or_wrong_key_neither_hangs_nor_aborts(sealed_once, how):
    done = subprocess.run(
        [sys.executable, "-c", HARD, str(sealed_once.folder), how],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "ended well\n"), done.stderr


def test_repr_shows_no_key(sealed_once):
    key = b"K" * 32
    client = parquet._GroupKeys({"g1": key}, "applicants@1|part-00000.parquet")
    shown = repr(client) + str(client) + repr(sealed_once.manifest) + repr(sealed_once.manifest.groups)
    assert "KKKK" not in shown
