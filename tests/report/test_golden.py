"""The page and its twin, byte by byte. After a change that is meant, write both anew and read the difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.report import render_html, render_json

GOLDEN = Path(__file__).parent / "golden"


def rendered(name: str, sample: Callable[..., Any]) -> bytes:
    report = sample()
    lang = "zh" if ".zh." in name else "en"
    return render_json(report) if name.endswith("json") else render_html(report, lang).encode()


@pytest.mark.parametrize("name", ["report.html", "report.json", "report.zh.html"])
def test_the_page_is_the_golden_one_byte_for_byte(name: str, sample: Callable[..., Any]) -> None:
    assert rendered(name, sample) == (GOLDEN / name).read_bytes(), f"{name} differs from tests/report/golden/{name}"
