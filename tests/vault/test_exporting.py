import stat

import pyarrow as pa
import pytest

from pellucid import vault
from pellucid.errors import BadFile
from pellucid.schema import Schema


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "OUT.CSV"])
def test_an_export_is_read_back_and_only_its_owner_can(sealed_once, kit, tmp_path, name):
    columns = [c for c in sealed_once.manifest.schema.columns if c not in ("photo", "voice", "note")]
    table = vault.read(sealed_once.folder, sealed_once.manifest, columns, sealed_once.release("owner"))
    path = tmp_path / name
    vault.export(table, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = kit.EVERY_TYPE
    for column in ("photo", "voice", "note"):
        start = text.index(f"[columns.{column}]")
        end = text.find("[columns.", start + 1)
        text = text[:start] + text[end:]
    assert vault.check_table(vault.read_source(path), Schema.parse(text)).equals(table)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_never_over_an_existing_file(tmp_path, name):
    path, table = tmp_path / name, pa.table({"a": [1]})
    path.write_text("mine")
    with pytest.raises(BadFile, match="exists already"):
        vault.export(table, path)
    assert path.read_text() == "mine"
    link = tmp_path / f"link-{name}"
    link.symlink_to(tmp_path / "target")
    with pytest.raises(BadFile):
        vault.export(table, link)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("out.xlsx", r"\.csv or a \.parquet"), ("none/out.csv", "cannot be written"), ("b.csv", "cannot hold")],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, says):
    with pytest.raises(BadFile, match=says):
        vault.export(pa.table({"a": [b"\x00"] if name == "b.csv" else [1]}), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_midway_is_removed(tmp_path):
    nested = pa.table({"a": [[1]]})  # CSV cannot hold a list, which shows while writing
    with pytest.raises(BadFile, match="csv cannot hold"):
        vault.export(nested, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []
