"""The schema: what is checked, how errors say where, and the encoding that follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadFile, UnknownName
from pellucid.evidence import canonical
from pellucid.schema import Encoding, Schema, parse_toml

GOOD = """
[dataset]
target = "loan"
units = 1000
purposes = ["credit scoring"]
retention = 2031-12-31
[dataset.budget]
epsilon = 8.0
delta = 1e-5
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
missing = { fill = 40 }
[columns.income]
type = "number"
bounds = [0, 1e6]
scale = "log"
sensitivity = "personal"
missing = "category"
[columns.hours]
type = "integer"
bounds = [0, 99]
bins = [20, 40]
sensitivity = "public"
[columns.gender]
type = "category"
categories = ["Female", "Male"]
sensitivity = "special"
[columns.id]
type = "identifier"
sensitivity = "identifier"
[columns.loan]
type = "boolean"
sensitivity = "personal"
"""


def test_the_rows_of_a_person_are_declared_and_part_of_the_digest() -> None:
    """And a schema that declares nothing of them has the digest that it always had."""
    plain = Schema.parse(GOOD)
    assert (plain.rows_per_unit, plain.rows) == (None, None)
    assert not {"rows_per_unit", "rows"} & plain.document()["dataset"].keys()
    text = GOOD.replace("units = 1000", 'unit = "id"\nunits = 1000\nrows_per_unit = 4\nrows = 2500')
    schema = Schema.parse(text)
    assert (schema.rows_per_unit, schema.rows) == (4, 2500)
    assert Schema.from_document(schema.document(), where="again") == schema
    assert len({plain.digest, schema.digest, Schema.parse(text.replace("= 4", "= 3")).digest}) == 3


def test_who_a_person_is_cannot_be_a_feature() -> None:
    schema = Schema.parse(GOOD.replace("units = 1000", 'unit = "id"\nunits = 1000'))
    with pytest.raises(BadFile, match="names the person"):
        schema.features(["age", "id"])
    assert "id" not in schema.features()


def test_the_shipped_schema_parses() -> None:
    schema = Schema.read(Path(__file__).parents[1] / "schemas" / "applicants.toml")
    assert schema.units == 32000
    assert "gender" not in schema.features()
    assert "ethnicity" not in schema.features()


def test_a_schema_reads_back_from_its_document_with_the_same_digest() -> None:
    schema = Schema.parse(GOOD)
    again = Schema.from_document(json.loads(json.dumps(schema.document())), where="test")
    assert again == schema
    assert again.digest == schema.digest
    assert Schema.from_document(json.loads(canonical(schema.document())), where="test").digest == schema.digest


def test_bins_may_stand_under_scale_too() -> None:
    other = GOOD.replace("bins = [20, 40]", "scale = { bins = [20, 40] }")
    assert Schema.parse(other) == Schema.parse(GOOD)


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ('target = "loan"', 'target = "lone"', "dataset.target"),
        ('target = "loan"', 'target = "id"', "dataset.target"),
        ("units = 1000", "units = 0", "dataset.units"),
        ("units = 1000", "units = true", "dataset.units"),
        ("units = 1000", "units = 10.5", "dataset.units"),
        ("units = 1000", "", "dataset.units"),
        ("units = 1000", 'units = 1000\nunit = "row s"', "dataset.unit"),
        ("units = 1000", "units = 1000\nrows_per_unit = 3", "dataset.rows_per_unit"),
        ("units = 1000", 'units = 1000\nunit = "id"\nrows_per_unit = 0', "dataset.rows_per_unit"),
        ("units = 1000", 'units = 1000\nunit = "id"\nrows_per_unit = true', "dataset.rows_per_unit"),
        ("units = 1000", 'units = 1000\nunit = "id"\nrows_per_unit = 2.0', "dataset.rows_per_unit"),
        ("units = 1000", 'units = 1000\nunit = "id"\nrows_per_unit = 1001', "dataset.rows_per_unit"),
        ("units = 1000", 'units = 1000\nunit = "id"\nrows = 2000', "dataset.rows"),
        ("units = 1000", 'units = 1000\nunit = "id"\nrows_per_unit = 2\nrows = 2001', "dataset.rows"),
        ("units = 1000", 'units = 1000\nunit = "id"\nrows_per_unit = 2\nrows = 999', "dataset.rows"),
        ('purposes = ["credit scoring"]', "purposes = []", "dataset.purposes"),
        ('purposes = ["credit scoring"]', 'purposes = "all"', "dataset.purposes"),
        ("retention = 2031-12-31", "retention = 5", "dataset.retention"),
        ("epsilon = 8.0", "epsilon = 0.0", "dataset.budget.epsilon"),
        ("epsilon = 8.0", "epsilon = nan", "epsilon"),
        ("epsilon = 8.0", "epsilon = inf", "epsilon"),
        ("delta = 1e-5", "delta = 0.001", "dataset.budget.delta"),
        ("delta = 1e-5", "delta = 0.0", "dataset.budget.delta"),
        ("bounds = [17, 90]", "", "columns.age.bounds"),
        ("bounds = [17, 90]", "bounds = [90, 17]", "columns.age.bounds"),
        ("bounds = [17, 90]", "bounds = [17]", "columns.age.bounds"),
        ("bounds = [17, 90]", "bounds = [17, inf]", "bounds"),
        ("bounds = [17, 90]", "bounds = [17.5, 90]", "columns.age.bounds"),
        ('type = "integer"\nbounds = [17', 'type = "int"\nbounds = [17', "columns.age.type"),
        ("missing = { fill = 40 }", "missing = { fill = 400 }", "columns.age.missing.fill"),
        ("missing = { fill = 40 }", 'missing = "drop"', "columns.age.missing"),
        ("bounds = [17, 90]", "bounds = [17, 90]\nreference = 16", "columns.age.reference"),
        ("bounds = [17, 90]", 'bounds = [17, 90]\nreference = "40"', "columns.age.reference"),
        ("bounds = [17, 90]", "bounds = [17, 90]\nreference = true", "columns.age.reference"),
        ('["Female", "Male"]', '["Female", "Male"]\nreference = "male"', "columns.gender.reference"),
        ('type = "identifier"', 'type = "identifier"\nreference = 0', "columns.id.reference"),
        ('type = "boolean"', 'type = "boolean"\nreference = 1', "columns.loan.reference"),
        ('scale = "log"', 'scale = "cubic"', "columns.income.scale"),
        ("bins = [20, 40]", "bins = [40, 20]", "columns.hours.scale"),
        ("bins = [20, 40]", "bins = [20, 400]", "columns.hours.scale"),
        ("bins = [20, 40]", 'bins = [20, 40]\nscale = "linear"', "columns.hours.bins"),
        ('["Female", "Male"]', '["Female"]', "columns.gender.categories"),
        ('["Female", "Male"]', '["Female", "Female"]', "columns.gender.categories"),
        ('sensitivity = "special"', 'sensitivity = "secret"', "columns.gender.sensitivity"),
        ('sensitivity = "special"', "", "columns.gender.sensitivity"),
        ('sensitivity = "identifier"', 'sensitivity = "personal"', "columns.id.sensitivity"),
        ("[columns.id]", "[columns.id]\nbounds = [1, 2]", "columns.id.bounds"),
        ("[columns.id]", "[columns.id]\ncolour = 1", "columns.id.colour"),
        ("[dataset]", "[dataset]\ntarge = 1", "dataset.targe"),
    ],
)
def test_a_wrong_meaning_names_the_dotted_key(before: str, after: str, where: str) -> None:
    assert before in GOOD
    with pytest.raises(BadFile) as caught:
        Schema.parse(GOOD.replace(before, after, 1), where="s.toml")
    assert str(caught.value.where).startswith("s.toml")
    assert where in str(caught.value.where)


def test_a_syntax_error_names_line_and_column() -> None:
    with pytest.raises(BadFile, match=r"line 3, column 4"):
        Schema.parse("[dataset]\na = 1\nb =\n")


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(BadFile, match='did you mean "purposes"'):
        Schema.parse(GOOD.replace("purposes", "purpose"))


def test_a_reference_is_declared_a_column_and_changes_no_digest_where_there_is_none() -> None:
    plain = Schema.parse(GOOD)
    assert all("reference" not in column for column in plain.document()["columns"].values())
    schema = Schema.parse(
        GOOD.replace("bins = [20, 40]", "bins = [20, 40]\nreference = 38").replace(
            '["Female", "Male"]', '["Female", "Male"]\nreference = "Male"'
        )
    )
    assert schema.document()["columns"]["hours"]["reference"] == 38
    assert Schema.from_document(schema.document(), where="again") == schema
    assert schema.digest != plain.digest
    codes = Encoding.of(schema, ["age", "hours", "gender"]).codes
    assert [code.reference for code in codes] == [None, 38, "Male"]


def test_missing_files_and_other_bytes_are_bad_files(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "s.toml", tmp_path / "none.toml", tmp_path):
        with pytest.raises(BadFile):
            Schema.read(path)


@given(st.text(max_size=60))
def test_any_text_is_a_document_or_a_bad_file(text: str) -> None:
    try:
        document = parse_toml(text, where="t")
    except BadFile:
        return
    assert isinstance(document, dict)


def test_default_features_leave_out_target_identifiers_and_special_columns() -> None:
    assert Schema.parse(GOOD).features() == ("age", "income", "hours")


@pytest.mark.parametrize("names", [["nothing"], ["loan"], ["id"], ["age", "age"], []])
def test_features_that_cannot_be_are_refused(names: list[str]) -> None:
    with pytest.raises((BadFile, UnknownName)):
        Schema.parse(GOOD).features(names)


def test_the_encoding_is_as_wide_as_its_labels_and_its_slices_cover_it() -> None:
    encoding = Encoding.of(Schema.parse(GOOD), ["age", "income", "hours", "gender"])
    labels = [label for code in encoding.codes for label in code.labels]
    assert encoding.width == len(labels) == 1 + 2 + 3 + 2
    slices = encoding.slices()
    assert [i for name in encoding.features for i in range(slices[name].start, slices[name].stop)] == list(range(8))
    assert encoding.classes == ("false", "true")
    assert labels[3:6] == ["hours in [-inf, 20)", "hours in [20, 40)", "hours in [40, inf)"]


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 50_000 + "]" * 50_000,
        "a = " + "{a = " * 5_000 + "1" + "}" * 5_000,
        ".".join(["a"] * 5_000) + " = 1",
        "a = " + "9" * 5_000,
        "# " + "x" * (1 << 20),
        "# " + "\u00e9" * (1 << 19),
    ],
    ids=["lists", "tables", "dotted", "digits", "long", "long in bytes"],
)
def test_a_text_too_deep_too_long_or_of_too_many_digits_is_a_bad_file(text: str) -> None:
    with pytest.raises(BadFile):
        parse_toml(text, where="t")


@pytest.mark.parametrize("key", ["{} = 1", "[{}]", "[[{}]]", "x = {{ {} = 1 }}", "{} = [1.5, 2.5]"])
@pytest.mark.parametrize("step", ["a", '"a b"', "'a'", "a "])
def test_a_key_of_too_many_dots_is_refused_before_it_is_read(key: str, step: str) -> None:
    with pytest.raises(BadFile, match="a key of more than 64 dots") as error:
        parse_toml("# one line\n" + key.format(".".join([step] * 66)), where="t")
    assert error.value.where == "t, line 2"
    parse_toml(key.format(".".join([step] * 65)), where="t")


def test_dots_that_are_no_keys_are_read() -> None:
    numbers = ", ".join(["0.5"] * 500)
    assert parse_toml(f"a = [{numbers}]\nb = '{'One. Two, ' * 99}...'\n", where="t")["a"] == [0.5] * 500


def test_a_text_of_one_mebibyte_is_read() -> None:
    assert parse_toml("a = 1\n#".ljust(1 << 20, "x"), where="t") == {"a": 1}
