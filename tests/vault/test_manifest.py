import json
import shutil

import pyarrow as pa
import pytest

from pellucid import vault
from pellucid.errors import Tampered, UnknownName
from pellucid.evidence import canonical, digest
from pellucid.keys import SigningKey, seal_envelope
from pellucid.vault.manifest import PAYLOAD_TYPE, parse_manifest
from pellucid.vault.verifying import verify_files

SMALL = """
[dataset]
target = "y"
units = 10
purposes = ["p"]
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
[columns.y]
type = "boolean"
sensitivity = "personal"
"""


def flipped(data, place, mask=1):
    changed = bytearray(data)
    changed[place] ^= mask
    return bytes(changed)


def test_read_gives_what_was_sealed(sealed):
    manifest, signer, sha256 = vault.read_manifest(sealed.folder)
    assert manifest == sealed.manifest
    assert list(manifest.schema.columns) == list(sealed.manifest.schema.columns), "the schema's order survives"
    assert signer == sealed.signer.verifier
    assert sha256 == sealed.sha256 == digest((sealed.folder / "manifest.json").read_bytes())
    assert vault.verify(sealed.folder, sha256) == (manifest, signer)


def test_every_flipped_byte_of_the_manifest_is_noticed(kit, tmp_path):
    """Even by someone who does not know its digest."""
    sealed = kit.seal(
        tmp_path / "1",
        table=pa.table({"age": [17], "y": [True]}),
        schema=SMALL,
        readers=dict.fromkeys(("age", "y"), frozenset({"owner"})),
    )
    data = (sealed.folder / "manifest.json").read_bytes()
    for place in range(len(data)):
        with pytest.raises(Tampered):
            parse_manifest(flipped(data, place), where="manifest")


def test_a_manifest_of_another_digest_is_noticed(sealed):
    path = sealed.folder / "manifest.json"
    data = path.read_bytes()
    for place in range(0, len(data), 97):
        path.write_bytes(flipped(data, place, 128))
        with pytest.raises(Tampered, match="recorded at sealing"):
            vault.verify(sealed.folder, sealed.sha256)


def test_every_flipped_byte_of_a_data_file_is_noticed(kit, tmp_path):
    sealed = kit.seal(tmp_path / "1", max_rows_per_file=4)
    (file,) = sealed.manifest.files
    path = sealed.folder / file.path
    data = path.read_bytes()
    with path.open("r+b") as handle:
        for place in range(len(data)):
            handle.seek(place)
            handle.write(flipped(data[place : place + 1], 0))
            handle.flush()
            with pytest.raises(Tampered, match="was changed") as caught:
                verify_files(sealed.folder, sealed.manifest)
            assert file.path in caught.value.where
            handle.seek(place)
            handle.write(data[place : place + 1])
            handle.flush()
    assert vault.verify(sealed.folder, sealed.sha256)[0] == sealed.manifest


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "missing", "folder", "link"])
def test_a_file_of_another_shape_is_noticed(sealed, change, tmp_path):
    name = sealed.manifest.files[1].path
    path = sealed.folder / name
    data = path.read_bytes()
    if change == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif change in ("missing", "folder"):
        path.unlink()
        if change == "folder":
            path.mkdir()
    else:
        path.write_bytes({"cut": data[:-1], "longer": data + b"\0", "empty": b""}[change])
    with pytest.raises(Tampered) as caught:
        vault.verify(sealed.folder, sealed.sha256)
    assert name in caught.value.where


@pytest.mark.parametrize("name", ["part-00002.parquet", ".hidden", "notes.txt", "sub"])
def test_an_extra_file_is_noticed(sealed, name):
    (sealed.folder / name).mkdir() if name == "sub" else (sealed.folder / name).write_text("x")
    with pytest.raises(Tampered, match="does not belong") as caught:
        vault.verify(sealed.folder, sealed.sha256)
    assert name in caught.value.where


def test_swapped_files_are_noticed(sealed):
    a, b = (sealed.folder / file.path for file in sealed.manifest.files)
    a.rename(sealed.folder / "x")
    b.rename(a)
    (sealed.folder / "x").rename(b)
    with pytest.raises(Tampered, match="was changed"):
        vault.verify(sealed.folder, sealed.sha256)


def test_rollback_to_an_older_version_is_noticed(sealed, kit, tmp_path):
    newer = kit.seal(tmp_path / "applicants" / "2", version=2, keys=sealed.role_keys)
    old_file = sealed.folder / sealed.manifest.files[0].path
    shutil.copy(old_file, newer.folder / old_file.name)
    with pytest.raises(Tampered, match="was changed"):
        vault.verify(newer.folder, newer.sha256)
    shutil.rmtree(newer.folder)
    shutil.copytree(sealed.folder, newer.folder)
    vault.verify(newer.folder, sealed.sha256)  # whole in itself, and yet not the version that was recorded
    with pytest.raises(Tampered, match="recorded at sealing"):
        vault.verify(newer.folder, newer.sha256)


def test_a_folder_without_a_data_set_is_an_unknown_name(tmp_path):
    with pytest.raises(UnknownName, match="no sealed data set"):
        vault.read_manifest(tmp_path)
    with pytest.raises(UnknownName):
        vault.verify(tmp_path / "nothing", "0" * 64)


def forged(sealed, change):
    """A manifest with another meaning, signed by someone who may sign anything."""
    document = json.loads(canonical(sealed.manifest.document()))
    signer = SigningKey.generate("credit/mallory")
    document["sealed_by"] = signer.verifier.line
    change(document)
    return canonical(seal_envelope(PAYLOAD_TYPE, canonical(document), signer))


def test_a_forgery_without_a_contradiction_parses_and_names_its_signer(sealed_once):
    """What parsing cannot tell: who may seal is the caller's question, so the signer must be the true one."""
    _, signer, _ = parse_manifest(forged(sealed_once, lambda d: None), where="m")
    assert signer.name == "credit/mallory"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format="pellucid/dataset@2"),
        lambda d: d.update(extra=1),
        lambda d: d.pop("files"),
        lambda d: d.update(files=[]),
        lambda d: d.update(version=0),
        lambda d: d.update(version="1"),
        lambda d: d.update(name="../x"),
        lambda d: d.update(schema_sha256="0" * 64),
        lambda d: d.update(columns=d["columns"][:-1]),
        lambda d: d.update(columns=[*d["columns"], d["columns"][0]]),
        lambda d: d["schema"]["columns"].pop("note"),
        lambda d: d["files"][0].update(path="../part-00000.parquet"),
        lambda d: d["files"][0].update(path="/etc/passwd"),
        lambda d: d["files"][1].update(path=d["files"][0]["path"]),
        lambda d: d["files"][0].update(sha256="0"),
        lambda d: d["files"][0].update(size=True),
        lambda d: d["files"][0].update(rows=4),
        lambda d: d["groups"].pop(),
        lambda d: d["groups"].reverse(),
        lambda d: d["groups"][0].update(id="g2"),
        lambda d: d["groups"][0].update(id="x|y"),
        lambda d: d["groups"][0]["columns"].pop(),
        lambda d: d["groups"][1]["columns"].append("age"),
        lambda d: d["groups"][1]["readers"].append("scientist"),
        lambda d: d["groups"][1]["wrapped"].update({"scientist@1": "AAAA"}),
        lambda d: d["groups"][1]["wrapped"].update({"scientist": "AAAA"}),
        lambda d: d["groups"][1].update(wrapped=None),
        lambda d: d.update(groups=3),
        lambda d: d.update(sealed_by="someone"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(sealed_once, change):
    with pytest.raises(Tampered):
        parse_manifest(forged(sealed_once, change), where="manifest")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"3", b'{"payload":1}', b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_manifest_are_refused(data):
    with pytest.raises(Tampered):
        parse_manifest(data, where="manifest")
