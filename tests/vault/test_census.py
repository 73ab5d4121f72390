"""UCI Adult, as a dependency ships it, through the vault under the shipped schema."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from pellucid import vault
from pellucid.keys import SigningKey, WrapKey
from pellucid.schema import Schema

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def census():
    spec = importlib.util.find_spec("xai")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package xai, which ships the data, is not installed")
    path = Path(spec.submodule_search_locations[0]) / "data" / "census.csv"
    return pd.read_csv(path, index_col=0, skipinitialspace=True)


@pytest.mark.parametrize("via", ["frame", "csv"])
def test_census_seals_and_reads_back_equal(census, tmp_path, via):
    schema = Schema.read(ROOT / "schemas" / "applicants.toml")
    data = census
    if via == "csv":
        census.to_csv(tmp_path / "census.csv", index=False)
        data = vault.read_source(tmp_path / "census.csv")
    key = WrapKey.generate()
    manifest, sha256 = vault.seal(
        data,
        schema,
        tmp_path / "applicants" / "1",
        name="applicants",
        version=1,
        readers={
            name: frozenset({"owner"} if column.sensitivity == "special" else {"owner", "scientist"})
            for name, column in schema.columns.items()
        },
        role_keys={"owner": (1, key.public), "scientist": (1, WrapKey.generate().public)},
        signer=SigningKey.generate("credit/ana"),
        max_rows_per_file=10_000,
    )
    assert vault.verify(tmp_path / "applicants" / "1", sha256)[0] == manifest
    assert len(manifest.files) == 4
    columns = [vault.TAG, *schema.columns]
    table = vault.read(
        tmp_path / "applicants" / "1",
        manifest,
        columns,
        lambda group, wrapped: vault.unwrap_group_key(manifest, group.id, "owner", 1, key),
    )
    back = table.to_pandas()
    assert back.pop(vault.TAG).is_unique
    assert len(back) == len(census) == 32_561
    for name in schema.columns:
        assert back[name].astype(str).tolist() == census[name].astype(str).tolist(), name
