"""The page: one HTML file without script and without anything to load.

Every text is escaped by the template engine (autoescape is on for all); the only markup that is trusted is the SVG
drawn in :mod:`pellucid.report.charts`, which escapes its own text.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pellucid.report.blocks import Block
from pellucid.report.charts import draw
from pellucid.report.document import FORMAT, render_json
from pellucid.report.inputs import ReportInput
from pellucid.report.model import view
from pellucid.report.sections.appendix import TAGS

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["render_html"]

_JOINT: Final = re.compile(r"[._](?=[A-Za-z])")


def render_html(report: ReportInput) -> str:
    """The report as one HTML file: same input, same text.

    No script, no address that is loaded, a content security policy that forbids both; light and dark, printable,
    readable from 320 pixels on.

    Raises:
        BadFile: A value of the evidence cannot be written as JSON.
        Unverified: A piece of evidence is not of its form.
    """
    twin = render_json(report)
    page = view(report)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(page=page, tags=TAGS, format=FORMAT, twin_sha256=hashlib.sha256(twin).hexdigest())
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # The one place where markup is trusted: our own drawing, whose texts svg.Drawing escapes.
    environment.filters["drawn"] = lambda chart: Markup(draw(chart))  # noqa: S704 - see above
    environment.filters["breakable"] = _breakable
    environment.filters["kind"] = lambda block: _kind(block)
    return environment


def _breakable(words: str) -> Markup:
    """``words``, escaped, with a place to break the line after each dot and underscore of a long dotted name."""
    from markupsafe import Markup, escape

    # Neither character occurs in what escaping writes, so nothing but our own <wbr> is added. A number stays whole.
    return Markup(_JOINT.sub(r"\g<0><wbr>", str(escape(words))))  # noqa: S704 - escaped just before


def _kind(block: Block) -> str:
    return type(block).__name__.lower()
