"""The ledger over time as one picture that stands alone: what was counted after every entry, under the budget."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pellucid.report.svg import Scale, ticks

__all__ = ["Moment", "timeline"]

_WIDTH: Final = 720.0
_HEIGHT: Final = 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 700.0, 44.0, 236.0
_HIGHEST: Final = 3.0  # times what is in force or used: a budget that was higher once is drawn at the upper end
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#1b1b1b}.dim{fill:#555}.grid{stroke:#ddd}"
    ".cap{fill:none;stroke:#a11;stroke-dasharray:6 4}"
    ".used{fill:none;stroke:#14507a;stroke-width:2}.spent{fill:#14507a;fill-opacity:.25}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.dim{fill:#aaa}.grid{stroke:#444}.cap{stroke:#f88}"
    ".used{stroke:#7cc0ee}.spent{fill:#7cc0ee}}"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """The ledger after one entry: when, epsilon spent, epsilon spent or reserved, what happened, and the budget."""

    at: str
    spent: float
    used: float
    what: str
    budget: float | None


def timeline(name: str, epsilon: float | None, delta: float | None, moments: Sequence[Moment]) -> str:
    """An SVG file: a line of what is spent or reserved, an area of what is spent, and the budget of the time.

    Args:
        name: Whose budget.
        epsilon: The budget in force, None if none was set.
        delta: Of it.
        moments: In the order of the log; may be empty.
    """
    used = max((moment.used for moment in moments), default=0.0)
    budget = "no budget was set" if epsilon is None else f"the budget is ε {epsilon:g} at δ {delta:g}"
    says = f"{len(moments)} changes; ε {used:.4f} at most spent or reserved; {budget}."
    least = max(used, epsilon or 0.0)
    earlier = max((moment.budget or 0.0 for moment in moments), default=0.0)
    y = Scale(0.0, max(least, min(earlier, _HIGHEST * least)) * 1.06 or 1.0, _BOTTOM, _TOP)
    times = [dt.datetime.fromisoformat(moment.at).timestamp() for moment in moments]
    x = Scale(times[0] if times else 0.0, times[-1] if times else 1.0, _LEFT, _RIGHT - 24)
    parts = []
    values, places = ticks(y.low, y.high)
    for value in values:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(_text(_LEFT - 6, y(value) + 4, f"{value:.{places}f}", "end"))
    line, area = _steps(moments, times, x, y)
    if line:
        parts.append(f'<path class="spent" d="{area}"/><path class="used" d="{line}"/>')
    for moment, time in zip(moments, times, strict=True):
        title = html.escape(f"{moment.at}: {moment.what}; ε {moment.spent:.4f} spent, {moment.used:.4f} with reserved")
        parts.append(
            f'<circle cx="{x(time):.1f}" cy="{y(moment.used):.1f}" r="3" fill="#14507a"><title>{title}</title></circle>'
        )
    if epsilon is not None:
        parts.append(f'<path class="cap" d="{_caps(moments, times, x, y) or _level(y(epsilon))}"/>')
        parts.append(_text(_RIGHT, 22, f"budget ε {epsilon:g}", "end"))
    if moments:
        first, last = (moments[i].at for i in (0, -1))
        close = times[-1] - times[0] < 2 * 24 * 3600  # days alone would not tell them apart
        for at, place, anchor in ((first, _LEFT, "start"), (last, _RIGHT, "end")):
            parts.append(_text(place, _BOTTOM + 18, f"{at[:10]} {at[11:16]} UTC" if close else at[:10], anchor))
    legend = "line: ε of everything spent or reserved, together · area: spent · dashed: budget"
    parts.append(_text(_LEFT, _BOTTOM + 44, legend, kind="dim"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
        f'aria-labelledby="title says"><title id="title">Privacy budget of {html.escape(name)}</title>'
        f'<desc id="says">{html.escape(says)}</desc><style>{_STYLE}</style>'
        f"{_text(_LEFT, 22, f'Privacy budget of {name}')}{''.join(parts)}</svg>\n"
    )


def _steps(moments: Sequence[Moment], times: Sequence[float], x: Scale, y: Scale) -> tuple[str, str]:
    """The line of what is used and the area of what is spent, both constant between entries."""
    if not moments:
        return "", ""
    line, area = [f"M{x(times[0]):.1f} {y(0):.1f}"], [f"M{x(times[0]):.1f} {y(0):.1f}"]
    for moment, time in zip(moments, times, strict=True):
        line.append(f"H{x(time):.1f}V{y(moment.used):.1f}")
        area.append(f"H{x(time):.1f}V{y(moment.spent):.1f}")
    return "".join([*line, f"H{_RIGHT}"]), "".join([*area, f"H{_RIGHT}V{y(0):.1f}Z"])


def _caps(moments: Sequence[Moment], times: Sequence[float], x: Scale, y: Scale) -> str:
    """The budget that was in force after each entry; one far above everything else is drawn at the upper end."""
    path, drawn = [], False
    for moment, time in zip(moments, times, strict=True):
        if moment.budget is not None:
            here = y(moment.budget)
            path.append(f"H{x(time):.1f}V{here:.1f}" if drawn else f"M{x(time):.1f} {here:.1f}")
            drawn = True
    return "".join([*path, f"H{_RIGHT}"]) if drawn else ""


def _level(height: float) -> str:
    return f"M{_LEFT} {height:.1f}H{_RIGHT}"


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{html.escape(words)}</text>'
