from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.report.charts import Bar, Bars, Bounds, Budget, Curve, Dots, Panel, Reliability, draw
from pellucid.report.language import say
from pellucid.report.plots import Line, Lines, Overlay, Swarm, SwarmRow, Tokens, Waterfall
from pellucid.report.svg import Scale, ticks, wrapped

NS = "{http://www.w3.org/2000/svg}"
BAR = Bar("a", 0.3, 0.2, 0.4)
CHARTS: list[Any] = [
    Bars("k", "Title", "axis", (BAR, Bar("b", -0.1, -0.2, 0.0), Bar("c", 0.0))),
    Bars("k", "Title", "axis", ()),
    Bars("k", "Title", "axis", (Bar("zero", 0.0),)),
    Curve("k", "Title", ((0.0, 0.0), (0.2, 0.7), (1.0, 1.0))),
    Reliability("k", "Title", (0.1, 0.9), (BAR, Bar("", 0.8))),
    Dots("k", "Title", (Panel("rate", (BAR, Bar("b", 1.0, 0.9, 1.0, 1), Bar("c", 0.0, 0.0, 0.1, 2))),)),
    Budget("k", "Title", 8.0, 2.0, 1.0),
    Budget("k", "Title", None, 0.0, 0.0),
    Budget("k", "Title", 1.0, 2.0, 1.0),
    Bounds("k", "Title", 0.0, 3.0),
    Bounds("k", "Title", 4.0, 3.0),
    Swarm("k", "Title", "axis", (-1.0, 0.0, 1.0), (SwarmRow("a", ((0, "low", 40), (1, "high", 20), (1, "", 10))),)),
    Swarm("k", "Title", "axis", (-1.0, 0.0, 1.0), ()),
    Waterfall("k", "Title", "axis", -1.0, (("a", 1.5), ("b", -0.25)), 0.25),
    Waterfall("k", "Title", "axis", 0.0, (), 0.0),
    Lines(
        "k", "Title", say("low"), "x", "y", (Line(say("low"), ((0.0, 1e-9), (1.0, 1e-3))),), log=True, mark=(0.5, 1e-5)
    ),
    Lines(
        "k",
        "Title",
        say("low"),
        "x",
        "y",
        (Line(say("low"), ((0, 1), (2, 3)), ((0, 0, 2), (2, 2, 4))), Line(say("high"), ((0, 2), (2, 2)), dash=1)),
    ),
    Overlay("k", "Title", ((0.1, -0.2), (0.0, 0.4))),
    Tokens("k", "Title", (("the", 0.1), ("<b>cat</b>", -0.3), ("\u4e2d\u6587", 0.0))),
]


def tree(chart: Any) -> ET.Element:
    return ET.fromstring(draw(chart))  # noqa: S314 - reads only what the test drew


@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_has_a_name_and_a_description(chart: Any) -> None:
    svg = tree(chart)
    assert svg.get("role") == "img"
    named = {child.get("id"): child.text for child in svg if child.tag in {f"{NS}title", f"{NS}desc"}}
    labels = (svg.get("aria-labelledby") or "").split()
    assert len(labels) == 2
    assert all(named[label] for label in labels)
    assert named[labels[0]] == "Title"


@pytest.mark.parametrize("chart", CHARTS)
def test_no_chart_refers_to_anything_outside(chart: Any) -> None:
    drawn = draw(chart)
    assert re.findall(r"https?://[^\"]+", drawn) == ["http://www.w3.org/2000/svg"]
    assert set(re.findall(r"url\(([^)]*)\)", drawn)) <= {"#chart-k-hatch"}
    assert not re.search(r"<(script|image|use|foreignObject|a|style)\b|\bon\w+=", drawn)


@pytest.mark.parametrize("chart", CHARTS)
def test_everything_is_drawn_inside_the_image(chart: Any) -> None:
    svg = tree(chart)
    _, _, width, height = (float(v) for v in (svg.get("viewBox") or "").split())
    for item in svg.iter():
        if item.tag in {f"{NS}line", f"{NS}rect", f"{NS}circle"} and "hatch" not in (item.get("class") or ""):
            xs = [float(item.get(k, 0)) for k in ("x", "x1", "x2", "cx") if item.get(k)]
            ys = [float(item.get(k, 0)) for k in ("y", "y1", "y2", "cy") if item.get(k)]
            assert all(0 <= x <= width for x in xs)
            assert all(0 <= y <= height for y in ys)


def test_bars_have_the_lengths_of_their_values() -> None:
    svg = tree(Bars("k", "t", "axis", (Bar("a", 0.4), Bar("b", 0.2), Bar("c", -0.1))))
    shown = [item for item in svg.iter(f"{NS}rect") if item.get("class") in {"c-bar", "c-hatched"}]
    widths = [float(item.get("width", 0)) for item in shown]
    assert widths[0] / widths[1] == pytest.approx(2, rel=1e-3)
    assert widths[0] / widths[2] == pytest.approx(4, rel=1e-3)
    assert [item.get("class") for item in shown] == ["c-bar", "c-bar", "c-hatched"]
    zero = float(shown[0].get("x", 0))
    assert float(shown[2].get("x", 0)) + widths[2] == pytest.approx(zero, abs=0.02)


def test_a_budget_bar_divides_by_spent_and_reserved() -> None:
    bars = [item for item in tree(Budget("k", "t", 8.0, 2.0, 1.0)).iter(f"{NS}rect") if item.get("y") == "8"]
    room, spent, reserved = (float(item.get("width", 0)) for item in bars)
    assert spent / room == pytest.approx(2 / 8, rel=1e-3)
    assert reserved / room == pytest.approx(1 / 8, rel=1e-3)


def test_a_curve_runs_through_its_points() -> None:
    paths = [
        p for p in tree(Curve("k", "t", ((0, 0), (0.25, 0.5), (1, 1)))).iter(f"{NS}path") if p.get("class") == "c-curve"
    ]
    assert paths[0].get("d") == "M44 296 L118 159 L340 22"


def test_groups_keep_their_shape_where_another_is_absent() -> None:
    first, second = Panel("x", (BAR, Bar("b", 0.5, shape=1))), Panel("y", (Bar("b", 0.5, shape=1),))
    marks = [
        i.get("class") for i in tree(Dots("k", "t", (first, second))).iter() if "c-mark " in (i.get("class") or "")
    ]
    assert marks == ["c-mark c-mark-0", "c-mark c-mark-1", "c-mark c-mark-1"]


def test_more_than_thirty_bars_say_so() -> None:
    drawn = draw(Bars("k", "t", "axis", tuple(Bar(f"c{i}", 1.0 - i / 100) for i in range(45))))
    assert "The 30 largest of 45 are drawn." in drawn
    assert drawn.count('class="c-bar"') == 30


def test_a_waterfall_ends_where_its_steps_add_up_to() -> None:
    svg = tree(Waterfall("k", "t", "axis", 0.0, (("a", 3.0), ("b", -1.0)), 2.0))
    first, second = (i for i in svg.iter(f"{NS}rect") if i.get("class") in {"c-bar", "c-hatched"})
    assert float(first.get("width", 0)) / float(second.get("width", 0)) == pytest.approx(3, rel=1e-2)
    ends = [float(line.get("x1", 0)) for line in svg.iter(f"{NS}line") if line.get("class") == "c-zero"]
    assert ends[1] == pytest.approx(float(second.get("x", 0)), abs=0.02)


def test_a_swarm_draws_a_dot_for_so_many_people_and_marks_levels_without_colour() -> None:
    drawn = draw(
        Swarm(
            "k",
            "t",
            "axis",
            (-1.0, 0.0, 1.0),
            (
                SwarmRow(
                    "a",
                    ((0, "low", 90), (1, "high", 20)),
                ),
            ),
        )
    )
    assert "up to 10 people" in drawn
    low, hole, high = (
        re.search(rf'd="([^"]*)" class="c-swarm c-swarm-{kind}"', drawn) for kind in ("low", "hole", "high")
    )
    assert low is not None
    assert hole is not None
    assert high is not None
    assert (low[1].count("M"), hole[1], high[1].count("M")) == (9, low[1], 2)


def test_a_level_that_nobody_knows_is_no_markup() -> None:
    drawn = draw(Swarm("k", "t", "axis", (-1.0, 0.0, 1.0), (SwarmRow("a", ((0, '"><script>', 20),)),)))
    assert "<script>" not in drawn
    assert "c-swarm-plain" in drawn


def test_a_logarithmic_line_is_marked_by_powers_of_ten() -> None:
    chart = Lines("k", "t", say("low"), "x", "y", (Line(say("low"), ((0.0, 1e-9), (1.0, 1e-5))),), log=True)
    labels = [item.text for item in tree(chart).iter(f"{NS}text")]
    assert "1e−5" in labels
    assert "1e−9" in labels


def test_drawing_is_deterministic() -> None:
    assert [draw(chart, lang) for chart in CHARTS for lang in ("en", "zh")] == [
        draw(chart, lang) for chart in CHARTS for lang in ("en", "zh")
    ]


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", '"><svg onload=x>', "a\u202eb", "\x00", "]]>", "&lt;"])
def test_text_in_a_chart_is_escaped(words: str) -> None:
    for chart in (
        Bars("k", words, words, (Bar(words, 0.1),)),
        Dots("k", words, (Panel(words, (Bar(words, 0.1),)),)),
    ):
        svg = tree(chart)
        assert not [item for item in svg.iter() if item.tag in {f"{NS}script", f"{NS}svg"}][1:]
        assert "onload" not in {name for item in svg.iter() for name in item.attrib}


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_inside(low: float, size: float) -> None:
    high = low + size
    values, places = ticks(low, high)
    tolerance = 1e-6 * max(1.0, abs(low), abs(high))
    assert 1 <= len(values) <= 6
    assert all(low - tolerance <= value <= high + tolerance for value in values)
    assert places >= 0


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e7, 1e7))
def test_a_scale_never_leaves_its_ends(low: float, high: float, value: float) -> None:
    assert 9.999 <= Scale(low, high, 10.0, 100.0)(value) <= 100.001


@pytest.mark.parametrize(
    ("label", "lines"),
    [
        ("age", ("age",)),
        ("Amer-Indian-Eskimo × Female", ("Amer-Indian-Eskimo", "× Female")),
        (
            "marital-status = Married-civ-spouse and capital-gain below 500",
            ("marital-status =", "Married-civ-spouse", "and capital-gain", "below 500"),
        ),
        ("South-South-West-of-the-River", ("South-South-West-", "of-the-River")),
        ("一二三四五六七八九十", ("一二三四五六七八九", "十")),
        ("", ("",)),
    ],
)
def test_a_long_label_goes_on_in_the_next_line(label: str, lines: tuple[str, ...]) -> None:
    assert wrapped(label, "en", 18) == lines


@given(st.text(alphabet="ab-/_ ×一\u0644", max_size=90))
def test_no_line_is_wider_than_its_room_and_no_letter_is_lost(label: str) -> None:
    lines = wrapped(label, "en", 18)
    assert all(sum(2 if letter == "一" else 1 for letter in line) <= 18 for line in lines)
    if not lines[-1].endswith("…"):
        assert "".join(lines).replace(" ", "") == label.replace(" ", "")
    else:
        assert len(lines) == 6


def test_groups_of_two_columns_are_told_apart_in_the_chart() -> None:
    names = ("Amer-Indian-Eskimo × Female", "Amer-Indian-Eskimo × Male")
    drawn = draw(Dots("g", "Groups", (Panel(say("AUC"), tuple(Bar(name, 0.5) for name in names)),)))
    assert "…" not in drawn
    assert "× Female" in drawn
    assert "× Male" in drawn
