"""What the accountant composed, event by event, and among how many runs a model was chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from pellucid.errors import Unverified
from pellucid.privacy.guarantee import distribution_of, is_score
from pellucid.privacy.parsing import parse_events
from pellucid.report.blocks import ABSENT, DASH, Cell, Table, text
from pellucid.report.elsewhere import retold
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.reading import Reader, flatten

__all__ = ["chosen", "composed", "known"]

_DRAWN: Final = {
    "logarithmic": say("drawn from a logarithmic distribution before the first run, and secret"),
    "geometric": say("drawn from a geometric distribution before the first run, and secret"),
    "poisson": say("drawn from a Poisson distribution before the first run, and secret"),
    "all": say("as many as planned; all of them may be seen"),
}


def known(privacy: Reader) -> bool:
    """Whether the events are such that an accountant would read them."""
    try:
        parse_events([event.values for event in privacy.readers("events")])
    except Unverified:
        return False
    return True


_ON: Final = {
    "public data": say("public data"),
    "people held out, by a private release": say("people held out, by a private release that each run pays for"),
}


def composed(privacy: Reader) -> tuple[Table, ...]:
    """One row an event; below a selection, what each of its runs composes."""
    reads = _reads if known(privacy) else _unknown
    rows = tuple(_rows(privacy.readers("events"), privacy, reads))
    if not rows:
        return ()
    columns = (say("Event"), say("Reads as"), say("Sample rate"), say("Noise multiplier"), say("Count"))
    return (Table("privacy-events", say("What the accountant composed"), columns, rows),)


def chosen(report: ReportInput, privacy: Reader) -> tuple[Table, ...]:
    """Of a tuned model: the runs that it was chosen from, as they were registered before the first."""
    evidence = report.last("tuning")
    stated = Reader({}, "public", "tuning") if evidence is None else Reader.of(evidence)
    tuning = privacy.reader("tuning")
    if tuning is None:
        return ()
    drawn = str(tuning.get("distribution"))
    trials = say("Runs to choose from") if drawn == "all" else say("Runs to choose from, on average")
    hold = tuning.number("hold")
    by = stated.reader("score")
    on = None if by is None else str(by.get("on"))
    rows = (
        (text(say("Chosen by")), ABSENT if by is None else by.words("name")),
        (text(say("Measured on")), ABSENT if on is None else text(_ON.get(on, on))),
        (text(trials), tuning.exact("trials")),
        (text(say("How many there were")), text(_DRAWN.get(drawn, drawn))),
        (
            text(say("Noise on the score of a run, in multiples of what one person changes")),
            tuning.exact("score_noise") if tuning.get("score_noise") is not None else text(say("none: public data")),
        ),
        (
            text(say("The end was not recorded before, in seconds")),
            tuning.exact("hold") if hold else text(say("not held back")),
        ),
    )
    columns = (say("What"), say("Value"))
    found = Table("privacy-tuning", say("How the model was chosen"), columns, rows, "facts")
    space = stated.reader("space")
    tried = () if space is None else tuple((text(name, "code"), _choices(space, name)) for name in space.values)
    if not tried:
        return (found,)
    caption = say("Settings that runs drew from, each run on its own")
    return (found, Table("privacy-space", caption, (say("Setting"), say("Values")), tried, "facts"))


def _choices(space: Reader, name: str) -> Cell:
    value = space.get(name)
    if not isinstance(value, Mapping):
        return next(iter(flatten(value, space.coverage)))[1]
    between = Reader(value, space.coverage, f"{space.where}.{name}")
    low, high = between.number("low"), between.number("high")
    if low is None or high is None:
        return ABSENT
    words = say("{low} to {high}", low=exact(low), high=exact(high))
    if between.get("scale") == "log":
        words = say("{some}, by powers", some=words)
    return Cell(words, dict(value), (space.coverage,))


def _rows(
    events: Sequence[Reader], privacy: Reader, reads: Callable[[Reader, Reader], Said], *, inner: bool = False
) -> Iterator[tuple[Cell, ...]]:
    for event in events:
        kind = plain(str(event.get("kind")))
        name = Cell(say("in each run: {kind}", kind=kind)) if inner else text(kind, "code")
        rate, noise = _rate(event, privacy), _digits(event, "noise_multiplier")
        if kind == "repeat_and_select":
            noise = DASH
        yield name, text(reads(event, privacy)), rate, noise, event.exact("count")
        if kind == "repeat_and_select":
            yield from _rows(event.readers("events"), privacy, reads, inner=True)


def _rate(event: Reader, privacy: Reader) -> Cell:
    kind = event.get("kind")
    if kind in ("gaussian", "laplace"):
        return text(say("everybody"))
    if kind == "repeat_and_select":
        return DASH
    if kind == "mixture_gaussian":  # the event holds what follows from it, row by row
        drawn = privacy.get("sampling") == "example"
        return privacy.exact("sample_rate") if drawn else DASH
    return _digits(event, "sample_rate")


def _digits(event: Reader, key: str) -> Cell:
    """A decimal string of an event, digit by digit."""
    value = event.get(key)
    return ABSENT if value is None else Cell(plain(str(value)), value, (event.coverage,))


def _reads(event: Reader, privacy: Reader) -> Said:
    kind, person = event.get("kind"), privacy.get("unit") != "row"
    if kind == "gaussian":
        if is_score(event.values, privacy.values):
            return say("the score of a run, by which the best was chosen")
        return say("noisy sums over everybody")
    if kind == "poisson_gaussian":
        return say("every person drawn alone") if person else say("every row drawn alone")
    if kind == "banded_gaussian":
        return say("{bands} groups take turns; noise correlated over {bands} steps", bands=str(event.get("bands")))
    if kind == "truncated_poisson_gaussian":
        return say("drawn alone; of more than {most} a random {most}", most=str(event.get("most")))
    if kind == "laplace":
        return say("numbers with Laplace noise")
    if kind == "mixture_gaussian":
        return _chances(event)
    if kind == "repeat_and_select":
        shape, mean = retold(distribution_of(event.values)), exact(float(str(event.get("mean"))))
        return say(
            "the best of a random number of runs: {mean} on average, {shape} distribution", mean=mean, shape=shape
        )
    return _unknown(event, privacy)


def _unknown(event: Reader, privacy: Reader) -> Said:
    return say("not known")


def _chances(event: Reader) -> Said:
    """How far a person may move a step, and how likely: of rows, how many of theirs are drawn."""
    chances = [float(text) for text in event.texts("probabilities") or ()]
    rows = [float(text) for text in event.texts("sensitivities") or ()]
    if rows != list(range(1, len(rows) + 1)):
        return say("a person moves a step by a random number of clipping norms")
    told = [
        say("{rows} with chance {chance}", rows=exact(row), chance=_chance(chance))
        for row, chance in zip(rows[:3], chances[:3], strict=False)
    ]
    if len(chances) > len(told):
        rest = _chance(sum(chances[len(told) :]))
        told.append(say("more with chance {chance}", chance=rest))
    first = say("every row drawn alone; of a person with {rows} rows a step draws", rows=str(len(rows)))
    found = say("{first}: {one}", first=first, one=told[0])
    for one in told[1:]:
        found = say("{some}, {more}", some=found, more=one)
    return found


def _chance(chance: float) -> str:
    return fixed(chance, 6, "up")
