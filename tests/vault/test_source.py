import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadData
from pellucid.vault import read_source

SECRET = "SECRET_VALUE"


def write(tmp_path, data, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_csv_is_text_and_an_empty_field_is_missing(tmp_path):
    path = write(tmp_path, '\ufeffage, job,note\n39,?,NA\n"",nan,"a,""b""\nc"\n  7 ,null,\n')
    table = read_source(path)
    assert table.to_pydict() == {
        "age": ["39", None, "  7 "],
        "job": ["?", "nan", "null"],
        "note": ["NA", 'a,"b"\nc', None],
    }
    assert set(table.schema.types) == {pa.string()}


def test_parquet_comes_as_it_is(tmp_path):
    table = pa.table({"age": [1, None], "job": pa.array(["a", "b"]).dictionary_encode()})
    table.to_pandas().to_parquet(tmp_path / "d.parquet", index=False)
    assert read_source(tmp_path / "d.parquet").to_pydict() == table.to_pydict()


@pytest.mark.parametrize(
    ("data", "says", "where"),
    [
        (b"", "empty", ""),
        (b"a,b\n", "no row", ""),
        (f"a,a\n{SECRET},1\n", "two columns have one name", "columns 1, 2"),
        (f"{SECRET},{SECRET}\n1,2\n", "two columns have one name", "columns 1, 2"),
        (f",a\n0,{SECRET}\n", "no name", "column 1"),
        (f"a,b\n1,2\n{SECRET},2,3\n1\n", "another number of fields", "line 3"),
        (f'a,b\n"{SECRET}\n",2\n1\n', "another number of fields", "line 4"),
        (b"a,b\n" + SECRET.encode() + b"\xff,2\n", "UTF-8", ""),
        (b"a\xff,b\n1,2\n", "header line is not UTF-8", ""),
        (f"a;b\n{SECRET};2\n", "not separated by commas", ""),
    ],
)
def test_bad_csv_is_refused_without_a_value(tmp_path, data, says, where):
    path = write(tmp_path, data)
    with pytest.raises(BadData, match=says) as caught:
        read_source(path)
    error = caught.value
    assert error.where is not None
    assert error.where.startswith(str(path))
    assert where in error.where
    chain = error
    while chain is not None:
        assert SECRET not in str(chain) + repr(chain)
        chain = chain.__context__


@pytest.mark.parametrize("name", ["data.xlsx", "data", "data.csv.gz", "data.pkl"])
def test_another_extension_is_refused(tmp_path, name):
    with pytest.raises(BadData, match=r"only \.csv and \.parquet"):
        read_source(write(tmp_path, "a\n1\n", name))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadData, match="no such file"):
        read_source(tmp_path / "nothing.csv")


def test_a_file_that_is_no_parquet_or_sealed_is_refused(tmp_path, sealed_once):
    with pytest.raises(BadData, match="cannot be read as Parquet") as caught:
        read_source(write(tmp_path, SECRET, "d.parquet"))
    assert caught.value.__context__ is None
    with pytest.raises(BadData, match="encrypted"):
        read_source(sealed_once.folder / sealed_once.manifest.files[0].path)


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8)] * 2),
        min_size=1,
        max_size=6,
    )
)
def test_what_pandas_writes_is_read_back(tmp_path_factory, rows):
    frame = pd.DataFrame(rows, columns=["a", "b"])
    path = tmp_path_factory.mktemp("csv") / "d.csv"
    frame.to_csv(path, index=False)
    expected = [[value or None for value in row] for row in rows]
    table = read_source(path)
    assert [list(row.values()) for row in table.to_pylist()] == expected
