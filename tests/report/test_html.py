from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.evidence import COVERAGE, Finding
from pellucid.report import render_html, render_json

Make = Callable[..., Any]
TEMPLATES = Path(__file__).parents[2] / "src" / "pellucid" / "report" / "templates"


def test_the_page_is_well_formed(sample: Make, parse: Make) -> None:
    page = parse(render_html(sample()))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.of("a")]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    for _, attributes in page.elements:
        for label in (attributes.get("aria-labelledby") or "").split():
            assert label in ids


def test_headings_are_in_order_and_landmarks_are_there(sample: Make, parse: Make) -> None:
    page = parse(render_html(sample()))
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    for landmark in ("header", "main", "nav", "footer"):
        assert len(page.of(landmark)) == 1
    assert page.of("html")[0]["lang"] == "en"
    assert page.of("a")[0] == {"class": "skip", "href": "#main"}


def test_the_page_has_one_script_that_its_policy_names_and_loads_nothing(sample: Make, parse: Make) -> None:
    html = render_html(sample())
    page = parse(html)
    names = {name for name, _ in page.elements}
    assert page.of("script") == [{}]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    named = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert not names & {"iframe", "object", "embed", "form", "img", "base", "audio", "video", "source"}
    for _, attributes in page.elements:
        assert not [
            name for name in attributes if name.startswith("on") or name in {"src", "style", "srcset", "action"}
        ]
    assert page.of("link") == [{"rel": "icon", "href": "data:,"}]
    assert "@import" not in page.styles
    assert "url(" not in page.styles
    assert set(re.findall(r"https?://[\w./]+", html)) == {"http://www.w3.org/2000/svg"}
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith(
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{named}'; img-src data:"
    )
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|document\.write|https?:", script)


def test_every_drawing_has_a_name_and_a_table(sample: Make, parse: Make) -> None:
    html = render_html(sample())
    page = parse(html)
    drawings = page.of("svg")
    assert len(drawings) == 10
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert all(f'id="{label}"' in html for label in (drawing["aria-labelledby"] or "").split())
    figures = re.findall(r"<figure[^>]*aria-labelledby.*?</figure>", html, re.DOTALL)
    assert len(figures) == len(drawings)
    assert all("<table" in figure for figure in figures)


def test_every_table_has_a_caption_headers_and_a_name(sample: Make, parse: Make) -> None:
    page = parse(render_html(sample()))
    assert page.captions.keys() == page.tables.keys()
    assert all(caption.strip() for caption in page.captions.values())
    assert all(len({len(row) for row in rows}) == 1 for rows in page.tables.values())
    assert len([t for t in page.of("th") if t.get("scope") == "row"]) == sum(len(r) - 1 for r in page.tables.values())


def test_the_same_input_gives_the_same_bytes(sample: Make) -> None:
    assert render_html(sample()) == render_html(sample())
    assert render_json(sample()) == render_json(sample())


def test_the_footer_names_the_digest_of_the_twin(sample: Make) -> None:
    report = sample()
    assert hashlib.sha256(render_json(report)).hexdigest() in render_html(report)


def test_one_file_below_400_kilobytes(sample: Make) -> None:
    assert len(render_html(sample()).encode()) < 400_000


def test_the_verdict_comes_first(sample: Make) -> None:
    html = render_html(sample())
    assert html.index('id="verdict-title"') < html.index('id="requirements"') < html.index('id="contents-title"')
    assert html.index('id="contents-title"') < html.index('id="identity"')


def test_every_tag_leads_to_the_legend(sample: Make, parse: Make) -> None:
    page = parse(render_html(sample()))
    tags = [a["href"] for a in page.of("a") if "tag" in (a.get("class") or "").split()]
    assert len(tags) > 40
    assert {tag.removeprefix("#coverage-") for tag in tags} <= COVERAGE.keys()


def test_a_number_in_the_page_has_its_tag(sample: Make) -> None:
    html = render_html(sample())
    auc = re.search(r'<table[^>]*id="performance-table".*?</table>', html, re.DOTALL)
    assert auc is not None
    assert "#coverage-uncovered" in auc.group()
    facts = re.findall(r'<td role="cell" data-label="Value"><?[^<]*>?2\.999871.*?</td>', html)
    assert facts
    assert all("#coverage-public" in cell for cell in facts)


def test_text_of_others_is_never_markup(attacked: Any, sample: Make, parse: Make) -> None:
    html = render_html(attacked)
    page = parse(html)
    honest = {name for name, _ in parse(render_html(sample())).elements}
    assert {name for name, _ in page.elements} <= honest | {"strong"}  # an alarm has one
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on") or a == "src"]
    assert page.words.count("<script>") > 50
    assert "49" not in page.words.replace("49,", "").split()
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "[U+202E]" in html


def test_hostile_text_reaches_the_twin_as_text_only(attacked: Any) -> None:
    data = render_json(attacked)
    assert b"\x1b" not in data
    assert "owned" in data.decode()


# --- colours: WCAG 2.2, contrast of text (1.4.3, 4.5:1) and of graphics (1.4.11, 3:1)


def palette(css: str, block: str) -> dict[str, str]:
    found = re.search(block + r"\s*\{(.*?)\}", css, re.DOTALL)
    assert found is not None
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{3,6})\b", found.group(1)))


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_oracle_knows_black_and_white() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("block", [r"^:root", r"dark\)\s*\{\s*:root", r"@media print.*?:root"])
def test_colours_have_contrast_aa(block: str) -> None:
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    colours = palette(css, f"(?ms){block}")
    for ground in ("ground", "sheet", "faint"):
        for ink in ("ink", "soft", "link", "good", "bad", "open"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for mark in ("accent", "mark-1", "mark-2", "mark-3"):
            assert contrast(colours[mark], colours[ground]) >= 3, (mark, ground)
    for tone in ("good", "bad", "open"):
        assert contrast(colours[tone], colours[f"{tone}-ground"]) >= 4.5
        assert contrast(colours["ink"], colours[f"{tone}-ground"]) >= 4.5
        assert contrast(colours["soft"], colours[f"{tone}-ground"]) >= 4.5


def test_the_style_knows_print_dark_and_narrow() -> None:
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    for query in ("@media print", "prefers-color-scheme: dark", "max-width: 44rem", "break-inside: avoid", "72ch"):
        assert query in css


def test_a_long_path_in_a_sentence_of_ours_goes_on_at_its_joints_and_is_escaped(sample: Make) -> None:
    fix = "review.verdict<b>.of_all was not measured"
    finding = Finding("x", "unmeasured", "error", "that", "because", {"review.verdict": None}, fix)
    html = render_html(sample(findings=(finding,), exit_code=3))
    assert "<code>review.<wbr>verdict&lt;b&gt;.<wbr>of_<wbr>all</code> was not measured" in html
    assert "<bdi>review.<wbr>verdict</bdi>: absent" in html
