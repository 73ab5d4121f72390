"""What the lint finds, in which shapes, and what it takes for chance."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import applicants

from pellucid.disclosure import Column, Leak, key, lint

FRAME = applicants(1003)
PUBLIC = {"age": [17, 90], "income": [0, 100_000], "job": ["baker", "nurse", "teacher"], "gender": ["Female", "Male"]}
COLUMNS = [
    Column(name, FRAME[name].tolist(), frozenset(key(v) for v in PUBLIC.get(name, ["no", "yes"]))) for name in FRAME
]
SAMPLE = Path(__file__).parents[2] / "reports" / "sample"


def kinds(text: str | bytes, **options: object) -> set[str]:
    content = text if isinstance(text, bytes) else text.encode()
    return {leak.kind for leak in lint(content, COLUMNS, **options)}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["report.html", "report.json", "bundle.json"])
def test_a_report_about_others_is_clean(name: str) -> None:
    assert lint((SAMPLE / name).read_bytes(), COLUMNS) == ()


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_rows_are_found_in_every_shape(rows: int) -> None:
    some = FRAME.iloc[100 : 100 + rows]
    for text in (some.to_html(), some.to_csv(), *(some.to_json(orient=o) for o in ("records", "split", "index"))):
        assert "row" in kinds(text)


def test_a_row_is_found_among_other_text_and_in_another_order() -> None:
    row = FRAME.iloc[7]
    text = (
        f"SHAP values of case 7: {row.gender} (0.03), {row.income} (-0.2), {row.age} (0.11), {row.job}, {row.approved}"
    )
    assert "row" in kinds(text)


def test_columns_in_the_order_of_the_rows_are_found_even_where_each_value_is_common() -> None:
    assert "row" in kinds(json.dumps({"job": FRAME.job.tolist()[200:240]}))
    assert "row" not in kinds(json.dumps({"job": sorted(FRAME.job.tolist()[200:240])}))


def test_binary_arrays_of_plots_are_read() -> None:
    data = base64.b64encode(FRAME.income.to_numpy()[:50].astype("<f8").tobytes()).decode()
    assert {"row", "value"} <= kinds('{"y": {"dtype": "f8", "bdata": "' + data + '"}}')


def test_markers_are_found_escaped_and_in_base64() -> None:
    for text in (
        "<b>canary &amp; co</b>",
        '"canary \\u0026 co"',
        "data:text/plain;base64," + base64.b64encode(b"here is canary & co").decode(),
    ):
        assert lint(text.encode(), markers=["nothing", "canary & co"]) == (Leak("marker", "marker 2 is in the file"),)


def test_exact_counts_are_found_beside_their_group_and_rounded_ones_are_not() -> None:
    many = int((FRAME.gender == "Female").sum())
    assert many % 10
    assert kinds(f'{{"gender": "Female", "n": {many}}}') == {"count"}
    assert kinds(f'{{"gender": "Female", "n": {many - many % 10}}}') == set()
    assert kinds('{"n": 1003}') == {"count"}
    assert kinds('{"n": 1000}') == set()
    assert kinds('{"held_out": 301}', sizes=(301,)) == {"count"}


def test_counts_below_the_minimum_cell_are_found_without_any_data() -> None:
    assert lint(b'{"group": "x", "n": 7}') == (Leak("small cell", "counts below 10 are in the file"),)
    assert lint(b'{"group": "x", "n": 10, "share": 0.7, "rows": []}') == ()
    assert lint(b"<tr><td>support</td><td>3</td></tr>") != ()
    assert lint(b"<tr><td>support</td>\n <td>3</td></tr>") != ()


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ('{"n": 3, "auc": 0.9}', 1),
        ('{"n":3,"x":1}', 1),
        ('{"n": 3.0}', 1),
        ('{"n": 3.00,\n "count": 9}', 2),
        ('{"support": [3, 400, 4.0,7]}', 3),
        ('{"n": 3.05, "count": 0.0, "size": 3e5, "rows": 12345, "support": [30, 4.5, 0, 120]}', 0),
    ],
)
def test_small_counts_are_found_however_json_goes_on(text: str, times: int) -> None:
    assert sum(leak.times for leak in lint(text.encode())) == times


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("<td>3 people</td>", 1),
        ("<p>Only <b>2</b> were wrong: 7 persons of the town, and 4 individuals elsewhere</p>", 2),
        ("AUC 0.9 (n = 5); of the others n=40", 1),
        ("3 customers\n12 customers", 1),
        ("该组只有 3 人，另一组 300 人", 1),
        ("groups of fewer than 5 people are not shown, at least 3 patients, 每 5 人", 0),
        ("version 2.3 people 1,003 people, 2026-11-3 people", 0),
        ("<script>let n = 3; for (n=2;;) {}</script><style>p{n=1}</style>", 0),
        ("<table><tr><th>Group<th>People</tr><tr><th>a</th><td>3</td></tr><tr><th>b</th><td>30</td></tr></table>", 1),
        ("<TABLE><TR><TD>City<TD>N<TR><TD>x<TD>4<TR><TD>y<TD>5.0</TABLE>", 2),
        ("<table><tr><th>Fold</th><th>Rank</th></tr><tr><td>1</td><td>3</td></tr></table>", 0),
        ("| group | n |\n|---|---|\n| a | 3 |\n| b | 120 |", 1),
        ("job,count\nbaker,4\nnurse,311\n", 1),
        ("event;count;noise multiplier\ngaussian;1;2.5\n", 0),
        ('{"events": [{"count": 1, "kind": "poisson_gaussian", "noise_multiplier": "2"}], "count": 2}', 1),
        ('{"count": 1, "events": [], "kind": "repeat_and_select"}', 0),
    ],
)  # fmt: skip
def test_small_counts_are_found_in_sentences_and_under_the_header_of_a_table(text: str, times: int) -> None:
    assert sum(leak.times for leak in lint(text.encode())) == times


@given(st.text(alphabet="<>!-[]/?tdhr \"'=n5|,;\n", max_size=200))
def test_any_page_is_read_without_an_error(text: str) -> None:
    assert {leak.kind for leak in lint(f"<td>{text}".encode())} <= {"small cell"}


def test_least_and_greatest_values_are_found_beside_their_word_unless_they_are_declared() -> None:
    assert kinds(f'{{"max": {FRAME.income.max()}}}') >= {"extreme"}
    assert kinds('{"max": 90}') == set()
    assert "extreme" in kinds(FRAME.describe().to_html())


def test_no_leak_shows_a_value() -> None:
    said = str(lint(FRAME.head(20).to_html().encode(), COLUMNS))
    assert not [value for value in FRAME.income.head(20).tolist() if str(value) in said]
    assert str(FRAME.income[0]) not in repr(COLUMNS)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    assert {leak.kind for leak in lint(content, COLUMNS)} <= {"row", "value", "count", "small cell", "extreme"}


def test_numbers_that_were_drawn_without_the_data_are_no_rows() -> None:
    rng = np.random.default_rng(0)
    other = applicants(400, seed=1)
    assert "row" not in kinds(json.dumps(rng.normal(size=3000).round(6).tolist()))
    assert "row" not in kinds(other.sample(50, random_state=2).drop(columns="income").to_csv(index=False))


@pytest.mark.parametrize(
    ("written", "is_"),
    [("39", 39.0), ("39.0", 39.0), ("1,234.5", 1234.5), ("−3", -3.0), (" x ", "x"), ("1,2", "1,2"), (True, "True")],
)
def test_one_value_is_one_token_however_it_is_written(written: object, is_: object) -> None:
    assert key(written) == is_
