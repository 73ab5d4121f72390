"""The page: one HTML file with nothing to load, complete without its script.

Every text is escaped. The markup that is trusted is our own: the SVG drawn in :mod:`pellucid.report.charts`, which
escapes its texts, and the isolation of names in :func:`_worded`. The script only adds (sorting, filtering, values under
the pointer); the content security policy of the page names its digest, so no other script can run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pellucid.report.blocks import Block
from pellucid.report.charts import draw
from pellucid.report.document import FORMAT, render_json
from pellucid.report.inputs import ReportInput
from pellucid.report.language import LANGUAGES, Said, check_language, say, tell, translate
from pellucid.report.model import view
from pellucid.report.sections.appendix import TAGS

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["render_html"]

_TEMPLATES: Final = Path(__file__).parent / "templates"
_JOINT: Final = re.compile(r"[._](?=[A-Za-z])")
_PART: Final = re.compile(r"\{(\w+)\}")
_LETTERS: Final = re.compile(r"[A-Za-z]{2}")
_TYPED: Final = frozenset({"bundle", "call", "command", "file", "key", "path", "place"})  # parts that one types


def render_html(report: ReportInput, lang: str = "en") -> str:
    """The report as one HTML file: same input, same text.

    No address that is loaded, a content security policy that forbids it and any script but our own; light and dark,
    printable, readable from 320 pixels on.

    Args:
        report: What the report is made from.
        lang: A name of :data:`pellucid.report.language.LANGUAGES`.

    Raises:
        BadFile: There is no such language, or a value of the evidence cannot be written as JSON.
        Unverified: A piece of evidence is not of its form.
    """
    twin = render_json(report, check_language(lang))
    page = translate(view(report), lang)
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        _environment(lang)
        .get_template("report.html.j2")
        .render(
            page=page,
            tags={name: tell(words, lang) for name, words in TAGS.items()},
            format=FORMAT,
            tag=LANGUAGES[lang],
            script=script,
            script_sha256=digest,
            twin_sha256=hashlib.sha256(twin).hexdigest(),
        )
    )


@cache
def _environment(lang: str) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # The places where markup is trusted: our own drawing, script and style, and what _worded isolates and escapes.
    environment.filters["drawn"] = lambda chart: Markup(draw(chart, lang))  # noqa: S704 - svg.Drawing escapes
    environment.filters["ours"] = lambda script: Markup(script)  # noqa: S704 - a file of this package
    environment.filters["worded"] = lambda words: _worded(words, lang)
    environment.filters["kind"] = lambda block: _kind(block)
    environment.globals["say"] = lambda template, **parts: tell(say(template, **parts), lang)
    return environment


def _worded(words: str, lang: str) -> Markup:
    """Text, escaped. In words of ours every name of others is isolated, so that its direction stays its own."""
    from markupsafe import Markup, escape

    if not isinstance(words, Said):
        return _isolated(words, lang)
    found = Markup("")
    for place, piece in enumerate(_PART.split(words.template)):
        if place % 2:
            part = words.parts[piece]
            if isinstance(part, Said):
                found += _worded(part, lang)
            elif piece in _TYPED:
                found += Markup("<code>{}</code>").format(_jointed(part))
            else:
                found += _isolated(part, lang) if _LETTERS.search(part) else _bare(part)
        else:
            found += escape(piece)
    return found


def _bare(part: str) -> Markup:
    """A part without Latin letters: a number as it is, a name isolated."""
    from markupsafe import escape

    return escape(part) if part.isascii() or part[:1] in "−+" else _isolated(part, "")


def _isolated(words: str, lang: str) -> Markup:
    """A name or text of others; on a page that is not English, one of Latin letters is marked as English."""
    from markupsafe import Markup

    english = lang not in ("", "en") and words.isascii() and _LETTERS.search(words) is not None
    isolated = Markup('<bdi lang="en">{}</bdi>') if english else Markup("<bdi>{}</bdi>")
    return isolated.format(_jointed(words))


def _jointed(words: str) -> Markup:
    """Escaped, and a long name may go on in the next line at its joints.

    Neither character of ``_JOINT`` occurs in what escaping writes, so nothing but our own ``<wbr>`` is added.
    """
    from markupsafe import Markup, escape

    return Markup(_JOINT.sub(r"\g<0><wbr>", str(escape(words))))  # noqa: S704 - escaped


def _kind(block: Block) -> Any:
    return type(block).__name__.lower()
