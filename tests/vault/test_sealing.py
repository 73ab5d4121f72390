import base64
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pyarrow as pa
import pytest

from pellucid import vault
from pellucid.errors import BadData, BadFile, Denied, Misuse, Tampered, UnknownName
from pellucid.keys import WrapKey


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_no_plaintext_in_any_byte_of_the_folder(sealed, kit, tmp_path):
    plain = tmp_path / "plain.parquet"
    vault.export(sealed.table, plain)
    for marker in kit.MARKERS:
        assert marker in plain.read_bytes(), "the marker would be found if it were there"
        for path in files(sealed.folder):
            if path.name == "manifest.json":
                continue
            assert marker not in path.read_bytes()
    # In the manifest stand the declared category (public) and nothing of the people.
    outer = (sealed.folder / "manifest.json").read_bytes()
    payload = base64.b64decode(json.loads(outer)["payload"])
    found = [marker for marker in kit.MARKERS if marker in outer or marker in payload]
    assert found == [b"MARKER_CATEGORY"]


def test_group_keys_stand_nowhere_in_clear(sealed):
    keys = []
    vault.read(
        sealed.folder,
        sealed.manifest,
        list(sealed.manifest.schema.columns),
        lambda group, wrapped: keys.append(sealed.release("owner")(group, wrapped)) or keys[-1],
    )
    assert len(set(keys)) == len(sealed.manifest.groups) == 3
    for path in files(sealed.folder):
        data = path.read_bytes()
        for key in keys:
            assert len(key) == 32
            assert key not in data
            assert base64.b64encode(key) not in data
            assert key.hex().encode() not in data


def test_every_version_has_keys_and_tags_of_its_own(kit, tmp_path, sealed):
    other = kit.seal(tmp_path / "2", version=2, keys=sealed.role_keys)
    for a, b in zip(sealed.manifest.groups, other.manifest.groups, strict=True):
        assert sealed.release("owner")(a, sealed.manifest.wrapped[a.id]) != other.release("owner")(
            b, other.manifest.wrapped[b.id]
        )
    tags = [vault.read(s.folder, s.manifest, [vault.TAG], s.release("owner"))[vault.TAG] for s in (sealed, other)]
    assert tags[0] != tags[1]


def test_the_manifest_says_nothing_exact_about_people(kit, tmp_path):
    """Two data sets that differ in people only have the same manifest but for keys, digests and sizes."""
    one = kit.seal(tmp_path / "1")
    table = kit.rows().take([0, 1, 2]).set_column(1, "age", pa.array([18, 19, 20]))
    two = kit.seal(tmp_path / "2", table=table)
    documents = []
    for sealed in (one, two):
        document = sealed.manifest.document()
        del document["files"], document["sealed_by"]
        for group in document["groups"]:
            group["wrapped"] = sorted(group["wrapped"])
        documents.append(document)
    assert documents[0] == documents[1]


def test_rows_of_one_person_share_a_tag(sealed):
    table = vault.read(sealed.folder, sealed.manifest, ["person", vault.TAG], sealed.release("owner"))
    tag = table[vault.TAG].to_pylist()
    assert tag[0] == tag[2]
    assert len(set(tag)) == 3


def test_files_hold_at_most_max_rows(kit, tmp_path):
    sealed = kit.seal(tmp_path / "1", max_rows_per_file=1)
    assert [f.path for f in sealed.manifest.files] == [f"part-0000{i}.parquet" for i in range(4)]
    table = vault.read(sealed.folder, sealed.manifest, ["age"], sealed.release("owner"))
    assert table["age"].to_pylist() == [17, 90, 44, 45]


def test_a_version_is_immutable(sealed, kit):
    before = {path: path.read_bytes() for path in files(sealed.folder)}
    with pytest.raises(BadFile, match="exists already"):
        kit.seal(sealed.folder)
    assert {path: path.read_bytes() for path in files(sealed.folder)} == before


@pytest.mark.parametrize(
    ("over", "error", "says"),
    [
        ({"version": 0}, Misuse, "start at 1"),
        ({"max_rows_per_file": 0}, Misuse, "start at 1"),
        ({"name": "../x"}, BadFile, "cannot be a name"),
        ({"readers": {}}, BadFile, "no role may read"),
        ({"readers": {"agee": frozenset({"owner"})}}, UnknownName, 'did you mean "age"'),
        ({"role_keys": {}}, UnknownName, "has no key"),
        ({"table": pa.table({"age": [17]})}, BadData, "is not there"),
    ],
)
def test_bad_use_is_refused_before_anything_is_written(kit, tmp_path, over, error, says):
    with pytest.raises(error, match=says):
        kit.seal(tmp_path / "data" / "1", **over)
    assert list(tmp_path.iterdir()) == []


def test_a_reserved_column_name_is_refused(kit, tmp_path):
    with pytest.raises(BadFile, match="split tag"):
        kit.seal(tmp_path / "1", schema=kit.EVERY_TYPE.replace("[columns.note]", f"[columns.{vault.TAG}]"))


def test_a_failure_at_any_sync_leaves_nothing(kit, tmp_path, monkeypatch):
    """The disk fails at the first, second, third … time it is asked to keep something."""
    place, real, outcomes = tmp_path / "data", os.fsync, []
    for fail_at in range(1, 9):
        calls = 0

        def fsync(descriptor, fail_at=fail_at):
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        folder = place / str(fail_at)
        try:
            kit.seal(folder)
            outcomes.append("sealed")
        except BadFile as error:
            # the last sync is after the rename: complete
            outcomes.append(("complete" if folder.exists() else "refused", str(error).split(": ")[-1]))
        assert not [path for path in place.iterdir() if path.name.startswith(".")]
    # two parts, manifest, folder; then the parent
    why = "No space left on device"
    assert outcomes == [("refused", why)] * 4 + [("complete", why)] + ["sealed"] * 3


SEALER = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa
from pellucid import vault
from pellucid.keys import SigningKey, WrapKey
from pellucid.schema import Schema
schema = Schema.parse(sys.argv[2])
table = pa.table({"person": [f"MARKER_PERSON{i}" for i in range(3000)], "y": np.arange(3000) % 2 == 0})
vault.seal(table, schema, Path(sys.argv[1]), name="d", version=1,
    readers={c: frozenset({"owner"}) for c in schema.columns},
    role_keys={"owner": (1, WrapKey.generate().public)}, signer=SigningKey.generate("credit/ana"), max_rows_per_file=1)
"""
SMALL = """
[dataset]
target = "y"
unit = "person"
units = 10
purposes = ["p"]
[columns.person]
type = "identifier"
sensitivity = "identifier"
[columns.y]
type = "boolean"
sensitivity = "personal"
"""


def test_kill_9_during_sealing_leaves_no_half_data_set(kit, tmp_path):
    folder = tmp_path / "data" / "1"
    child = subprocess.Popen([sys.executable, "-c", SEALER, str(folder), SMALL])
    try:
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if len(list((tmp_path / "data").glob(".1.sealing-*/part-*"))) >= 3:
                break
            time.sleep(0.01)
        # While it lives, another sealing beside it does not take its folder away.
        (live,) = (tmp_path / "data").glob(".1.sealing-*")
        kit.seal(tmp_path / "data" / "2")
        descriptor = os.open(live, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert live.exists()
    assert all(b"MARKER_PERSON" not in path.read_bytes() for path in files(live))
    sealed = kit.seal(folder)
    assert not live.exists(), "the next sealing in that place cleans up"
    assert vault.verify(folder, sealed.sha256)[0] == sealed.manifest


def test_two_sealings_of_one_version_give_one(kit, tmp_path):
    """A folder that appears while the other is at work stays as it is."""
    first = kit.seal(tmp_path / "a" / "1")

    class Late(dict):
        """Role keys that someone is slow to give: meanwhile the version appears."""

        def __getitem__(self, role):
            if not (tmp_path / "b" / "1").exists():
                shutil.copytree(first.folder, tmp_path / "b" / "1")
            return super().__getitem__(role)

    keys = Late({role: (1, key.public) for role, key in first.role_keys.items()})
    with pytest.raises(BadFile, match="exists already"):
        kit.seal(tmp_path / "b" / "1", role_keys=keys)
    assert vault.verify(tmp_path / "b" / "1", first.sha256)[0] == first.manifest
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["1"]


def test_unwrapping_needs_the_role_its_generation_and_its_key(sealed):
    manifest = sealed.manifest
    key = sealed.role_keys["auditor"]
    special = manifest.group_of("ethnicity").id
    assert len(vault.unwrap_group_key(manifest, special, "auditor", 1, key)) == 32
    with pytest.raises(Denied, match="scientist"):
        vault.unwrap_group_key(manifest, special, "scientist", 1, sealed.role_keys["scientist"])
    with pytest.raises(Denied, match="generation 2"):
        vault.unwrap_group_key(manifest, special, "auditor", 2, key)
    with pytest.raises(UnknownName):
        vault.unwrap_group_key(manifest, "g9", "auditor", 1, key)


def test_import_of_what_a_verifier_needs_takes_no_pyarrow():
    code = textwrap.dedent(
        """
        import sys
        from pellucid import vault
        vault.verify, vault.read_manifest, vault.unwrap_group_key, vault.group_columns
        heavy = {"pyarrow", "pandas", "numpy", "torch"} & set(sys.modules)
        assert not heavy, heavy
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_pyarrow_the_error_names_the_extra():
    code = textwrap.dedent(
        """
        import sys
        sys.modules["pyarrow"] = None
        from pellucid import vault
        from pellucid.errors import MissingExtra
        try:
            vault.seal
        except MissingExtra as error:
            assert 'pip install "pellucid[vault]"' in str(error) and error.exit_code == 2
        else:
            raise SystemExit("no error")
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_names_are_exported_and_no_name_is_hidden_by_a_file():
    for name in vault.__all__:
        first = getattr(vault, name)
        assert getattr(vault, name) is first
        assert not isinstance(first, type(os)), name
    with pytest.raises(AttributeError, match="nothing"):
        vault.nothing  # noqa: B018 - the access is the test


def test_a_strangers_key_does_not_unwrap(sealed):
    with pytest.raises(Tampered, match="does not open"):
        vault.unwrap_group_key(sealed.manifest, "g1", "owner", 1, WrapKey.generate())


def test_a_wrapped_key_does_not_pass_for_another_group_role_or_version(sealed):
    """The binding of HPKE's info: moved elsewhere in a manifest, a wrapped key does not open."""
    manifest, key = sealed.manifest, sealed.role_keys["owner"]
    wrapped = {group: dict(holders) for group, holders in manifest.wrapped.items()}
    wrapped["g1"]["owner@1"] = wrapped["g2"]["owner@1"]
    moved = [
        (dataclasses.replace(manifest, wrapped=wrapped), "owner", 1),
        (dataclasses.replace(manifest, version=2), "owner", 1),
        (dataclasses.replace(manifest, name="others"), "owner", 1),
        (dataclasses.replace(manifest, wrapped={"g1": {"owner@2": manifest.wrapped["g1"]["owner@1"]}}), "owner", 2),
        (dataclasses.replace(manifest, wrapped={"g1": {"boss@1": manifest.wrapped["g1"]["owner@1"]}}), "boss", 1),
    ]
    for forged, role, generation in moved:
        with pytest.raises(Tampered, match="does not open"):
            vault.unwrap_group_key(forged, "g1", role, generation, key)
