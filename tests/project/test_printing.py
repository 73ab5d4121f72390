"""A report on paper, through the browser that is there; without one, exit 2 that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.errors import BadFile, MissingExtra
from pellucid.project import printing


def test_a_page_is_printed_beside_itself(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<!doctype html><title>t</title><p style='break-after: page'>one<p>two", encoding="utf-8")
    made = printing.print_pdf(page)
    assert made == tmp_path / "report.pdf"
    content = made.read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"/Count 2" in content


def test_a_page_named_from_here_is_printed_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "out #1").mkdir()
    monkeypatch.chdir(tmp_path)
    page = Path("out #1") / "report.html"
    page.write_text("<!doctype html><title>t</title><p>one", encoding="utf-8")
    assert printing.print_pdf(page).read_bytes().startswith(b"%PDF-")


def test_without_a_browser_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(printing.VARIABLE, raising=False)
    with pytest.raises(MissingExtra, match="printing needs Chromium") as error:
        printing.browser()
    assert error.value.exit_code == 2
    monkeypatch.setenv(printing.VARIABLE, "nothing-of-that-name")
    with pytest.raises(MissingExtra, match="nothing-of-that-name is not there"):
        printing.browser()


def test_a_browser_that_fails_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("x", encoding="utf-8")
    monkeypatch.setenv(printing.VARIABLE, "false")
    with pytest.raises(BadFile, match="could not print"):
        printing.print_pdf(page)
    assert not page.with_suffix(".pdf").exists()
