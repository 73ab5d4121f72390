"""The guarantee in words: what NIST SP 800-226 (2025) asks whoever claims differential privacy to say. Pure functions.

It asks for the unit, who counts as a neighbour, epsilon and delta, how the data was really sampled, what trusts whom,
and what the guarantee does not cover. Everything is said from the values of the evidence, so that who reads the report
and who verifies it read one statement. A sentence keeps its template and its parts, so that a page in another language
says the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any, Final

from pellucid.privacy import sentences as say
from pellucid.privacy.sentences import Words

__all__ = ["TOPICS", "Sentence", "distribution_of", "guarantee", "in_words", "is_score", "not_covered"]

TOPICS: Final = (
    *("promise", "unit", "neighbours", "strength", "delta"),
    *("sampling", "noise", "accounting", "trust", "not covered"),
)
"""What is said, in this order; a topic may have several sentences."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the statement, and what it is about, a name of :data:`TOPICS`."""

    topic: str
    words: Words

    @property
    def text(self) -> str:
        """The sentence in English."""
        return str(self.words)


def guarantee(privacy: Mapping[str, Any], training: Mapping[str, Any] | None = None) -> tuple[Sentence, ...]:
    """The statement of the guarantee that the values of a ``privacy`` statement make.

    Args:
        privacy: Values of the evidence; only what is there is said.
        training: Values of the ``training`` evidence, for what was trained and whether it ran to the end.
    """
    one = say.ONE[_unit(privacy)]
    epsilon, delta = privacy["epsilon"], privacy["delta"]
    adjacency = str(privacy["adjacency"])
    neighbours = say.NEIGHBOURS.get(adjacency)
    said: list[tuple[str, Words]] = [
        ("promise", say.PROMISE.of(unit=one, epsilon=epsilon, delta=delta)),
        ("unit", _unit_words(privacy)),
        ("neighbours", neighbours.of(unit=one) if neighbours else say.OTHER_NEIGHBOURS.of(adjacency=adjacency)),
        ("strength", say.STRENGTH.of(epsilon=epsilon, delta=delta, unit=one)),
    ]
    others = [(float(d), e) for d, e in (privacy.get("epsilon_at") or {}).items() if float(d) != delta]
    said += [("strength", say.ALSO.of(epsilon=e, delta=d)) for d, e in others]
    said.append(("delta", say.DELTA.of(delta=delta)))
    said += [("sampling", words) for event in privacy["events"] for words in in_words(event, privacy)]
    if privacy.get("sampling") == "user" and _rows(privacy) > 1:
        said.append(("sampling", say.WHOLE_PERSON))
    said += [("noise", _noise(privacy, training or {})), ("accounting", _accounting(privacy))]
    if training is not None and training.get("status") == "stopped":
        said.append(("accounting", say.STOPPED))
    said.append(("trust", say.TRUST))
    return (*(Sentence(topic, words) for topic, words in said), *not_covered(privacy))


def not_covered(privacy: Mapping[str, Any]) -> tuple[Sentence, ...]:
    """What no guarantee of this kind covers; the last part of :func:`guarantee`."""
    many = say.MANY[_unit(privacy)]
    said = (words.of(units=many) if "{units}" in words.template else words for words in say.NOT_COVERED)
    return tuple(Sentence("not covered", words) for words in said)


def in_words(event: Mapping[str, Any], privacy: Mapping[str, Any]) -> tuple[Words, ...]:
    """What one event was, in sentences: who was drawn how, and of a selection what each of its runs composes.

    Args:
        event: A record in ``events`` of the evidence.
        privacy: Values of the evidence, for the unit and for what was registered of a tuning.
    """
    kind, one = event["kind"], say.ONE[_unit(privacy)]
    count = event["count"]
    if is_score(event, privacy):
        return (say.SCORE.of(noise=float(event["noise_multiplier"]), unit=one),)
    if kind == "gaussian":
        return (say.ONE_GAUSSIAN if count == 1 else say.GAUSSIAN.of(count=count),)
    if kind == "poisson_gaussian":
        return (say.POISSON.of(count=count, unit=one, rate=_about(event["sample_rate"])),)
    if kind == "banded_gaussian":
        bands = event["bands"]
        within = min(Decimal(1), Decimal(str(event["sample_rate"])) * bands)  # the group whose turn it is
        return (say.BANDED.of(unit=one, bands=bands, count=count, rate=_about(within)),)
    if kind == "laplace":
        return (say.LAPLACE.of(count=count),)
    if kind == "truncated_poisson_gaussian":
        return (say.TRUNCATED.of(count=count, unit=one, rate=_about(event["sample_rate"]), most=event["most"]),)
    if kind == "mixture_gaussian":
        return _mixture(event, one)
    return (
        _selection(event, privacy) if kind == "repeat_and_select" else (say.STEPS_OF.of(count=count, kind=str(kind)),)
    )


def _mixture(event: Mapping[str, Any], one: Words) -> tuple[Words, ...]:
    sensitivities = [float(text) for text in event["sensitivities"]]
    chances = [Fraction(text) for text in event["probabilities"]]
    rows = len(sensitivities)
    if sensitivities != list(range(1, rows + 1)):
        return (say.MIXTURE.of(count=event["count"], unit=one, most=sensitivities[-1]),)
    said = say.CHANCES.of(
        rows=rows,
        unit=one,
        none=_about(1 - sum(chances, Fraction(0)), ROUND_FLOOR),
        one=_about(chances[0]),
        more=_about(sum(chances[1:], Fraction(0))),
    )
    return (say.ROWS_DRAWN.of(count=event["count"], unit=one, rows=rows), said)


def _selection(event: Mapping[str, Any], privacy: Mapping[str, Any]) -> tuple[Words, ...]:
    distribution = distribution_of(event)
    mean = float(event["mean"])
    if event["count"] == 1:
        first = say.SELECTED.of(distribution=distribution, mean=mean)
    else:
        first = say.OFTEN_SELECTED.of(count=event["count"], distribution=distribution, mean=mean)
    # of how many runs there were; where nothing is said of a hold there was none
    hold = (privacy.get("tuning") or {}).get("hold", 0.0)
    shown = say.HELD.of(hold=hold) if hold > 0 else say.NOT_HELD
    runs = (say.IN_EACH.of(said=words) for inner in event["events"] for words in in_words(inner, privacy))
    return (first, *runs, shown)


def _unit(privacy: Mapping[str, Any]) -> str:
    return "row" if privacy.get("unit") == "row" else "person"


def _rows(privacy: Mapping[str, Any]) -> int:
    """The most rows of a unit."""
    rows = privacy.get("unit_rows")
    return rows if isinstance(rows, int) else 1


def _unit_words(privacy: Mapping[str, Any]) -> Words:
    if _unit(privacy) == "row":
        return say.ROW
    column = str(privacy.get("unit"))
    rows = _rows(privacy)
    return say.PERSON_OF_ROWS.of(column=column, rows=rows) if rows > 1 else say.PERSON.of(column=column)


def distribution_of(event: Mapping[str, Any]) -> Words:
    """The name of the distribution from which a selection draws how many runs there are."""
    return say.DISTRIBUTIONS.get(math.inf if event["shape"] == "poisson" else float(event["shape"]), say.BINOMIAL)


def is_score(event: Mapping[str, Any], privacy: Mapping[str, Any]) -> bool:
    """Whether an event is the private score by which a tuning chose, and no training."""
    tuning = privacy.get("tuning") or {}
    noise = tuning.get("score_noise")
    if event["kind"] != "gaussian" or noise is None or float(event["noise_multiplier"]) != noise:
        return False
    return bool(event["count"] == (tuning.get("trials") if tuning.get("distribution") == "all" else 1))


def _noise(privacy: Mapping[str, Any], training: Mapping[str, Any]) -> Words:
    who = say.ONE["row"] if privacy.get("sampling") == "example" else say.ONE[_unit(privacy)]
    clip, noise = privacy["max_grad_norm"], privacy["noise_multiplier"]
    if training.get("clipping") == "adaptive":
        return say.ADAPTIVE.of(who=who, clip=clip, noise=noise)
    noises = sorted(set(_noises(privacy["events"], privacy)))
    if len(noises) > 1:
        return say.SEVERAL_NOISES.of(who=who, clip=clip, least=noises[0], most=noises[-1])
    return say.NOISE.of(who=who, clip=clip, noise=noise)


def _noises(events: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Iterator[float]:
    """Noise multipliers of all that trained."""
    for event in events:
        if event["kind"] == "repeat_and_select":
            yield from _noises(event["events"], privacy)
        elif not is_score(event, privacy):
            yield float(event["noise_multiplier"])


def _accounting(privacy: Mapping[str, Any]) -> Words:
    by = _accountant(privacy["accountant"])
    second = privacy.get("second_opinion")
    if isinstance(second, Mapping):
        return say.TWO_ACCOUNTANTS.of(by=by, other=_accountant(second["accountant"]), epsilon=second["epsilon"])
    return say.ONE_ACCOUNTANT.of(by=by)


def _accountant(name: Any) -> Words | str:
    return say.BY.get(str(name), str(name))


def _about(chance: str | Decimal | Fraction, rounding: str = ROUND_CEILING) -> float:
    """A chance to four digits, rounded to the side that promises less."""
    exact = Fraction(chance)
    context = Context(prec=4, rounding=rounding)
    return float(context.divide(Decimal(exact.numerator), Decimal(exact.denominator)))
