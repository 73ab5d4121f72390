"""What a browser makes of the page: nothing hostile runs, our script adds, and axe-core finds nothing to mend.

axe-core comes with the package axe-playwright-python (requirements/browser-tests.txt), of which only that file is used.
Its script is put into a copy of the page whose policy is taken out; the page itself would not let it run.
"""

from __future__ import annotations

import html as html_
import importlib.util
import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.report.test_promise import CASES

from pellucid.project.printing import browser, print_pdf
from pellucid.report import render_html

Make = Callable[..., Any]
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
DARK = ["--blink-settings=preferredColorScheme=0"]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


class Names(HTMLParser):
    """The names of all elements; what stands inside an attribute is none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


def dom(html: str, folder: Path, *options: str) -> str:
    """The page as the browser has it after its scripts ran."""
    page = folder / "page.html"
    page.write_text(html, encoding="utf-8")
    command = [browser(), *QUIET, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    return done.stdout


def violations(html: str, folder: Path, *options: str) -> list[str]:
    """What axe-core finds against WCAG 2.2 A and AA and its best practices, one line each."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None, "make setup installs axe-core for the tests"
    assert found.origin is not None
    axe = (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    ask = (
        f"axe.run(document, {{runOnly: {json.dumps(RULES)}, resultTypes: ['violations']}}).then((r) => {{"
        "const p = document.createElement('pre'); p.id = 'axe'; p.textContent = JSON.stringify(r.violations.map("
        "(v) => v.id + ': ' + v.nodes.length + ' ' + v.nodes[0].html.slice(0, 200) + ' ' + v.nodes[0].failureSummary));"
        "document.body.append(p); });"
    )
    plain, taken = POLICY.subn("", html)
    assert taken == 1
    said = dom(
        plain + f"<script>{axe}</script><script>{ask}</script>", folder, "--virtual-time-budget=120000", *options
    )
    told = re.search(r'<pre id="axe">(.*?)</pre>', said, re.DOTALL)
    assert told is not None, "axe did not come to an end"
    return list(json.loads(html_.unescape(told.group(1))))


@pytest.mark.slow
@pytest.mark.parametrize(("lang", "options"), [("en", []), ("en", DARK), ("zh", []), ("en", ["--window-size=390,844"])])
def test_axe_finds_no_barrier(sample: Make, tmp_path: Path, lang: str, options: list[str]) -> None:
    assert violations(render_html(sample(), lang), tmp_path, *options) == []


@pytest.mark.slow
def test_axe_finds_no_barrier_where_a_model_was_tuned_and_is_read_out(
    sample: Make, make_evidence: Make, tmp_path: Path
) -> None:
    shape = {"adds": [-1.5, 0.25, 1.0], "scale": "linear", "at": [30, 54, 78], "edges": [18, 42, 66, 90]}
    levels = {"adds": [-0.07, 0.09], "names": ["baker", "nurse"]}
    readout = {"kind": "additive", "intercept": 0.03, "columns": {"age": shape, "job": levels}}
    privacy = make_evidence("privacy", values=CASES["selection"])
    explained = make_evidence("explanation", values={"readout": readout})
    report = sample(evidence=(privacy, explained))
    assert violations(render_html(report), tmp_path, "--window-size=390,844") == []


@pytest.mark.slow
def test_axe_finds_no_barrier_in_the_committed_sample(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "reports" / "sample" / "report.html"
    assert page.stat().st_size < 2_000_000
    assert violations(page.read_text(encoding="utf-8"), tmp_path) == []


@pytest.mark.slow
def test_axe_would_find_a_barrier(sample: Make, tmp_path: Path) -> None:
    broken = render_html(sample()).replace("--soft: #545d66", "--soft: #d0d0d0").replace('<html lang="en">', "<html>")
    said = " ".join(violations(broken, tmp_path))
    assert "color-contrast" in said
    assert "html-has-lang" in said


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_browser_runs_nothing_in_a_hostile_page(attacked: Any, tmp_path: Path, lang: str) -> None:
    said = dom(render_html(attacked, lang), tmp_path)
    assert "<title>owned</title>" not in said
    names = Names()
    names.feed(said)
    assert names.found.count("script") == 1
    assert not {"img", "iframe", "object", "embed", "form", "base"} & set(names.found)
    assert 'class="verdict v1"' in said


@pytest.mark.slow
def test_the_script_adds_sorting_and_filters_under_the_policy_of_the_page(sample: Make, tmp_path: Path) -> None:
    html = render_html(sample())
    said = dom(html, tmp_path)
    assert 'class="sort"' not in html.replace(re.findall(r"<style>.*?</style>", html, re.DOTALL)[0], "")
    assert said.count('class="sort"') > 20
    assert said.count('type="search"') >= 1
    changed = html.replace('"use strict";', '"use strict"; document.title = "owned";')
    assert "<title>owned</title>" not in dom(changed, tmp_path)  # another script than the one that is named


@pytest.mark.slow
def test_the_page_prints_whole_and_opens_what_is_folded(sample: Make, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html(sample()), encoding="utf-8")
    made = print_pdf(page).read_bytes()
    pages = max(int(n) for n in re.findall(rb"/Count (\d+)", made))
    assert 8 <= pages <= 60
