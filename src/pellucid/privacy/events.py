"""Events: what the accountant composed, as evidence and the log carry it, and the two directed roundings.

One event is ``{"kind": "poisson_gaussian", "sample_rate": "0.02…", "noise_multiplier": "1.1", "count": 880}``; the
kinds and their fields are those of the classes here. Rates, multipliers and probabilities are decimal strings, so that
the trainer, the accountant and a verifier in any language read one number. :mod:`pellucid.privacy.parsing` reads them.

Noise multipliers are over the sensitivity to adding or removing one unit. Replacing one is removing and adding, and
:mod:`pellucid.privacy.accounting` knows that it moves a sum twice as far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, TypeAlias

from pellucid.privacy.mixture import rows_parts

__all__ = [
    "KINDS",
    "MAX_COUNT",
    "MAX_EVENTS",
    "NOISE_RANGE",
    "AnyEvent",
    "Event",
    "Laplace",
    "MixtureOfGaussians",
    "RepeatAndSelect",
    "TruncatedPoisson",
    "as_composed",
    "decimal_text",
    "merged",
    "round_epsilon_down",
    "round_epsilon_up",
]

KINDS: Final = (
    "poisson_gaussian",
    "banded_gaussian",
    "gaussian",
    "laplace",
    "truncated_poisson_gaussian",
    "mixture_gaussian",
    "repeat_and_select",
)
MAX_COUNT: Final = 10**9
"""Most steps in one event: no training is longer, and integers of JSON stay exact."""
MAX_EVENTS: Final = 256
"""Most events in one list, so that hostile evidence cannot hold a verifier for hours."""
NOISE_RANGE: Final = (1e-3, 1e6)
"""Noise multipliers that the accountants compute without overflow; below there is no privacy, above no signal."""

_MILLIONTH: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """``count`` steps of the Gaussian mechanism on Poisson samples.

    Attributes:
        sample_rate: Chance of each unit to be in a step's sample, over its group and the sample, in (0, 1]; 1 without
            bands is the Gaussian mechanism on everybody, and its record has no rate.
        noise_multiplier: Standard deviation of the noise over the L2 sensitivity, in :data:`NOISE_RANGE`.
        count: Steps, in [1, :data:`MAX_COUNT`].
        bands: Of the noise's strategy matrix, and as many groups take turns; 1 is independent noise and no groups.
    """

    sample_rate: float
    noise_multiplier: float
    count: int
    bands: int = 1

    @property
    def kind(self) -> str:
        """``gaussian``, ``poisson_gaussian`` or ``banded_gaussian``."""
        if self.bands != 1:
            return "banded_gaussian"
        return "gaussian" if self.sample_rate == 1 else "poisson_gaussian"

    def record(self) -> dict[str, Any]:
        """The event as JSON."""
        common = {"noise_multiplier": decimal_text(self.noise_multiplier), "count": self.count}
        if self.kind == "gaussian":
            return {"kind": self.kind, **common}
        rated = {"kind": self.kind, "sample_rate": decimal_text(self.sample_rate), **common}
        return rated if self.bands == 1 else {**rated, "bands": self.bands}

    def poisson(self) -> Event:
        """The event of independent noise that costs as much: its dominating pairs dominate this one's too.

        ``ceil(count / bands)`` steps at rate ``min(1, sample_rate · bands)``: a unit's turn comes once in ``bands``
        steps, and the noise that hides one turn of it hides no other. The theorem, what it needs and why are in
        :mod:`pellucid.privacy.banded`. The rate is that very float, with which the trainer samples.
        """
        if self.bands == 1:
            return self
        return Event(min(1.0, self.sample_rate * self.bands), self.noise_multiplier, -(-self.count // self.bands))


@dataclass(frozen=True, slots=True)
class Laplace:
    """``count`` releases with Laplace noise: of one number each, or of a vector in which a unit changes one entry.

    Attributes:
        noise_multiplier: Scale of the noise over the sensitivity, in :data:`NOISE_RANGE`; one release is
            1/noise_multiplier-differentially private.
        count: Releases, in [1, :data:`MAX_COUNT`].
    """

    noise_multiplier: float
    count: int

    @property
    def kind(self) -> str:
        """``laplace``."""
        return "laplace"

    def record(self) -> dict[str, Any]:
        """The event as JSON."""
        return {"kind": self.kind, "noise_multiplier": decimal_text(self.noise_multiplier), "count": self.count}


@dataclass(frozen=True, slots=True)
class TruncatedPoisson:
    """``count`` Gaussian steps on Poisson samples that are cut down to a random ``most`` if larger (arXiv 2508.15089).

    Attributes:
        sample_rate: Chance of each unit to be drawn, in (0, 1].
        noise_multiplier: As of :class:`Event`.
        units: How many units there are, at most, in the larger of two neighbours: public knowledge.
        most: Units that a step takes, at least 1 and at most ``units``.
        count: Steps, in [1, :data:`MAX_COUNT`].
    """

    sample_rate: float
    noise_multiplier: float
    units: int
    most: int
    count: int

    @property
    def kind(self) -> str:
        """``truncated_poisson_gaussian``."""
        return "truncated_poisson_gaussian"

    def record(self) -> dict[str, Any]:
        """The event as JSON."""
        return {
            "kind": self.kind,
            "sample_rate": decimal_text(self.sample_rate),
            "noise_multiplier": decimal_text(self.noise_multiplier),
            "units": self.units,
            "most": self.most,
            "count": self.count,
        }


@dataclass(frozen=True, slots=True)
class MixtureOfGaussians:
    """``count`` Gaussian steps to which a unit adds a vector of random norm; see :mod:`pellucid.privacy.mixture`.

    Attributes:
        noise_multiplier: Standard deviation of the noise, in the unit in which the sensitivities are; in
            :data:`NOISE_RANGE`.
        parts: Pairs of a sensitivity above 0, rising, and its probability; the rest of probability adds nothing.
        count: Steps, in [1, :data:`MAX_COUNT`].
    """

    noise_multiplier: float
    parts: tuple[tuple[float, float], ...]
    count: int

    @classmethod
    def of_rows(cls, sample_rate: float, rows: int, noise_multiplier: float, count: int) -> MixtureOfGaussians:
        """Example-level sampling of a person with at most ``rows`` rows, each clipped alone.

        Args:
            sample_rate: Chance of each row to be in a step's sample, in (0, 1].
            rows: Most rows of a person, at least 1.
            noise_multiplier: Standard deviation of the noise over the norm to which a row is clipped.
            count: Steps.
        """
        return cls(noise_multiplier, rows_parts(sample_rate, rows), count)

    @property
    def kind(self) -> str:
        """``mixture_gaussian``."""
        return "mixture_gaussian"

    def record(self) -> dict[str, Any]:
        """The event as JSON."""
        return {
            "kind": self.kind,
            "noise_multiplier": decimal_text(self.noise_multiplier),
            "sensitivities": [decimal_text(c) for c, _ in self.parts],
            "probabilities": [decimal_text(p) for _, p in self.parts],
            "count": self.count,
        }


@dataclass(frozen=True, slots=True)
class RepeatAndSelect:
    """``count`` times: run a mechanism a random number of times and release the best result alone (arXiv 2110.03620).

    Attributes:
        events: What one run composes, at least one event, in a canonical order.
        mean: Of the number of runs, which is drawn before the first; at least 1.
        shape: Of its distribution: 0 logarithmic, 1 geometric, between and above truncated negative binomial, inf
            Poisson.
        count: Selections, in [1, :data:`MAX_COUNT`].
    """

    events: tuple[AnyEvent, ...]
    mean: float
    shape: float
    count: int = 1

    @property
    def kind(self) -> str:
        """``repeat_and_select``."""
        return "repeat_and_select"

    def record(self) -> dict[str, Any]:
        """The event as JSON."""
        return {
            "kind": self.kind,
            "events": [event.record() for event in self.events],
            "mean": decimal_text(self.mean),
            "shape": {0: "0", math.inf: "poisson"}.get(self.shape) or decimal_text(self.shape),
            "count": self.count,
        }


AnyEvent: TypeAlias = Event | Laplace | TruncatedPoisson | MixtureOfGaussians | RepeatAndSelect


def decimal_text(number: float) -> str:
    """The shortest plain decimal (no exponent) whose ``float`` is exactly ``number``."""
    return format(Decimal(repr(float(number))), "f")


def round_epsilon_up(epsilon: float) -> float:
    """``epsilon`` in millionths, never less than given and never 0. Idempotent.

    The shortest decimal of the float is rounded, not its binary expansion: the latter would add a millionth to a
    number that is one already.
    """
    return float(max(Decimal(repr(float(epsilon))).quantize(_MILLIONTH, ROUND_CEILING), _MILLIONTH))


def round_epsilon_down(epsilon: float) -> float:
    """``epsilon`` in millionths, never more than given and never below 0. Idempotent."""
    return float(max(Decimal(repr(float(epsilon))).quantize(_MILLIONTH, ROUND_FLOOR), Decimal(0)))


def merged(events: Iterable[AnyEvent]) -> tuple[AnyEvent, ...]:
    """Equal mechanisms as one with the sum of their counts, in a canonical order: composition knows no order.

    Banded events stay apart: two runs of 2 steps with 4 bands may meet a unit twice, and one run of 4 steps only once.
    """
    counts: dict[AnyEvent, int] = {}
    apart: list[Event] = []
    for event in events:
        if isinstance(event, Event) and event.bands != 1:
            apart.append(event)
        else:
            one = replace(event, count=1)
            counts[one] = counts.get(one, 0) + event.count
    found: Sequence[AnyEvent] = [replace(event, count=count) for event, count in counts.items()]
    gaussian = sorted([*(event for event in found if isinstance(event, Event)), *apart])
    return (*gaussian, *sorted((event for event in found if not isinstance(event, Event)), key=repr))


def as_composed(events: Iterable[AnyEvent]) -> tuple[AnyEvent, ...]:
    """What the accountants compose: banded events as :meth:`Event.poisson`, equal ones merged, in a canonical order."""

    def plain(event: AnyEvent) -> AnyEvent:
        if isinstance(event, RepeatAndSelect):
            return replace(event, events=as_composed(event.events))
        return event.poisson() if isinstance(event, Event) else event

    return merged(plain(event) for event in events)
