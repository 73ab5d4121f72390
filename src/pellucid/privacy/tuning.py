"""The plan of a tuning: what many trials cost together, decided before the first one.

Two ways, and whoever tunes registers one of them beforehand:

* Private selection (Papernot & Steinke 2022, arXiv 2110.03620). The number of trials is drawn at random before the
  first look, each trial draws its configuration independently, and only the one with the best score is released. Its
  cost grows with the logarithm of the expected number of trials, if nothing of the others ever shows: neither their
  scores, nor their weights, nor how many there were.
* All of them (``all``): a fixed number of trials, every one of which may be seen. They compose.

A score is of public data, or is itself a differentially private release that every trial pays for.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, Final, Protocol

from pellucid.errors import BadPlan, Unverified, nearest
from pellucid.privacy import accounting
from pellucid.privacy.boosting import BoostPlan
from pellucid.privacy.checking import check_name, check_number
from pellucid.privacy.events import NOISE_RANGE, Event, RepeatAndSelect
from pellucid.privacy.parsing import parse_events
from pellucid.privacy.plan import Plan
from pellucid.privacy.selection import stopping_rate

__all__ = ["DISTRIBUTIONS", "TuningPlan", "draw_trials"]

MECHANISM: Final = "tuning"
DISTRIBUTIONS: Final[Mapping[str, float]] = {"logarithmic": 0.0, "geometric": 1.0, "poisson": math.inf, "all": math.nan}
"""How many trials there are, by the shape of the truncated negative binomial distribution; ``all`` is no draw."""
MAX_TRIALS: Final = 1000
_BITS: Final = 256
_DIGITS: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPlan:
    """One tuning, decided before its first trial.

    Attributes:
        epsilon: The claim of the whole at ``delta``, rounded up in millionths. In (0, 500].
        delta: That of ``base``.
        base: One trial. What it claims alone takes no part in the claim of the whole.
        trials: Expected number of trials, in [1, 1000]; with ``all`` it is their number.
        distribution: A name of :data:`DISTRIBUTIONS`.
        score_noise: Noise multiplier of the score of a trial, whose sensitivity is 1; None of a score of public data.

    Raises:
        BadPlan: A field is out of its range; ``where`` names it.
    """

    epsilon: float
    delta: float
    base: Plan | BoostPlan
    trials: float
    distribution: str
    score_noise: float | None

    def __post_init__(self) -> None:
        low, high = NOISE_RANGE
        check_number(self, "epsilon", float, lambda v: 0 < v <= accounting.MAX_EPSILON, "above 0 and at most 500")
        if not isinstance(self.base, Plan | BoostPlan):
            raise BadPlan("the plan of a trial is one that makes a model", where="base")
        check_number(self, "delta", float, lambda v: v == self.base.delta, "that of the plan of a trial")
        check_name(self, "distribution", tuple(DISTRIBUTIONS))
        check_number(self, "trials", float, lambda v: 1 <= v <= MAX_TRIALS, f"from 1 to {MAX_TRIALS}")
        if self.distribution == "all":
            check_number(self, "trials", float, lambda v: v >= 2 and v.is_integer(), "a whole number from 2")
        elif self.trials == 1:
            raise BadPlan("one trial is no choice", where="trials", fix="expect at least 2, or train once")
        if self.score_noise is not None:
            check_number(self, "score_noise", float, lambda v: low <= v <= high, f"within [{low:g}, {high:g}]")

    @classmethod
    def of(
        cls, base: Plan | BoostPlan, *, trials: float, distribution: str = "logarithmic", score_noise: float | None
    ) -> TuningPlan:
        """The tuning of such trials, and the claim that follows.

        Raises:
            BadPlan: A parameter is out of its range, or the whole costs more than can be stated.
        """
        asked = cls(
            epsilon=1.0,  # not yet known
            delta=base.delta,
            base=base,
            trials=trials,
            distribution=distribution,
            score_noise=score_noise,
        )
        try:
            return replace(asked, epsilon=accounting.epsilon(asked.events, asked.delta))
        except Unverified as error:
            raise BadPlan(error.what, where="trials", fix=error.fix) from None

    @classmethod
    def calibrate(
        cls,
        base: Plan | BoostPlan,
        *,
        epsilon: float,
        trials: float,
        distribution: str = "logarithmic",
        score_noise: float | None,
    ) -> TuningPlan:
        """The tuning with the least noise in each trial whose whole claim is at most ``epsilon``.

        Args:
            base: As each trial shall be, but for its noise.
            epsilon: Of the whole.
            trials: As of the plan.
            distribution: As of the plan.
            score_noise: As of the plan; it is not changed.

        Raises:
            BadPlan: A parameter is out of its range, or no noise is enough.
        """
        asked = cls(
            epsilon=epsilon,
            delta=base.delta,
            base=base,
            trials=trials,
            distribution=distribution,
            score_noise=score_noise,
        )

        def events(noise: float) -> list[dict[str, Any]]:
            return replace(asked, base=with_noise(base, noise)).events

        try:
            noise = accounting.calibrate_noise(events, asked.epsilon, asked.delta, start=base.noise_multiplier)
            trial = with_noise(base, noise)
            trial = replace(trial, epsilon=accounting.epsilon(trial.events, trial.delta))
        except Unverified as error:
            raise BadPlan(error.what, where="epsilon", fix=error.fix) from None
        except BadPlan as error:  # with all noise there is, a trial costs what its score does
            scored = "" if score_noise is None else f"a score_noise above {score_noise:g}, "
            raise BadPlan(
                f"{error.what} with {trials:g} trials",
                where=error.where,
                fix=f"{scored}fewer trials or a larger epsilon",
            ) from None
        return cls.of(trial, trials=trials, distribution=distribution, score_noise=score_noise)

    @property
    def mechanism(self) -> str:
        """``tuning``: tells its record from those of other plans."""
        return MECHANISM

    @property
    def units(self) -> int:
        """Public, rounded number of people in the data set."""
        return self.base.units

    @property
    def hidden(self) -> bool:
        """Whether everything but the best trial has to stay hidden."""
        return self.distribution != "all"

    @property
    def trial(self) -> list[dict[str, Any]]:
        """What one trial composes: its training, and its score if that is of private people."""
        score = [] if self.score_noise is None else [Event(1.0, self.score_noise, 1).record()]
        return [*self.base.events, *score]

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the accountant composes."""
        if self.hidden:
            return [RepeatAndSelect(parse_events(self.trial), self.trials, DISTRIBUTIONS[self.distribution]).record()]
        return [{**event, "count": event["count"] * int(self.trials)} for event in self.trial]

    @property
    def steps(self) -> int:
        """How many mechanisms are run: the one selection, or the steps and scores of all trials."""
        return sum(int(event["count"]) for event in self.events)

    @property
    def noise_multiplier(self) -> float:
        """Of the base."""
        return self.base.noise_multiplier

    @property
    def sample_rate(self) -> float:
        """Of the base."""
        return self.base.sample_rate

    @property
    def clip(self) -> float:
        """Of the base."""
        return self.base.clip

    def record(self) -> dict[str, Any]:
        """The plan as JSON: its fields, and the mechanism."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"mechanism": MECHANISM, **plain, "base": self.base.record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, where: str = "plan") -> TuningPlan:
        """The plan in ``record``. Every field is checked; the claim is not recomputed.

        Raises:
            BadPlan: A field is missing, unknown or out of its range.
        """
        names = [f.name for f in fields(cls)]
        given = {name: value for name, value in record.items() if name != "mechanism"}
        if record.get("mechanism") != MECHANISM:
            raise BadPlan(f'the mechanism must be "{MECHANISM}"', where=f"{where}.mechanism")
        for name in given:
            if name not in names:
                raise BadPlan(f'a plan of tuning has no field "{name}"{nearest(str(name), names)}', where=where)
        for name in names:
            if name not in given:
                raise BadPlan("this field is missing", where=f"{where}.{name}")
        base = given["base"]
        boosted = isinstance(base, Mapping) and base.get("mechanism") == "boosting"
        read: Plan | BoostPlan = (BoostPlan if boosted else Plan).from_record(base, where=f"{where}.base")
        try:
            return cls(**{**given, "base": read})
        except BadPlan as error:
            raise BadPlan(error.what, where=f"{where}.{error.where}", fix=error.fix) from None


class _Random(Protocol):
    def __call__(self, bits: int, /) -> int: ...


def draw_trials(plan: TuningPlan, random: _Random = secrets.randbits) -> int:
    """How many trials there are: drawn before the first, and told to nobody.

    By inversion, in 90 digits from 256 random bits: the distribution is the one accounted for to within 1e-70 in total
    variation. Its parameter is the one that the accountant found for the mean, rounded the same way.

    Args:
        plan: Registered.
        random: So many random bits; only tests give one.

    Returns:
        At least 1; of ``poisson`` at least 0.
    """
    if not plan.hidden:
        return int(plan.trials)
    shape = DISTRIBUTIONS[plan.distribution]
    with localcontext() as context:
        context.prec = _DIGITS
        u = (Decimal(random(_BITS)) + Decimal("0.5")) / Decimal(2) ** _BITS
        if shape == math.inf:
            mean = Decimal(plan.trials)
            k, chance = 0, (-mean).exp()
            ratio: Callable[[int], Decimal] = lambda k: mean / (k + 1)  # noqa: E731 - two of one name
        else:
            gamma, eta = Decimal(stopping_rate(plan.trials, shape)), Decimal(shape)
            fail = 1 - gamma
            first = fail / -gamma.ln() if eta == 0 else fail * eta / ((-eta * gamma.ln()).exp() - 1)
            k, chance = 1, first
            ratio = lambda k: fail * (k + eta) / (k + 1)  # noqa: E731
        reached = chance
        while reached < u and chance > 0:
            chance *= ratio(k)
            reached += chance
            k += 1
        return k


def with_noise(base: Plan | BoostPlan, noise: float) -> Plan | BoostPlan:
    """``base`` with another noise multiplier; of boosting, its counts keep their share of the budget."""
    if isinstance(base, Plan):
        return replace(base, noise_multiplier=noise)
    ratio = Fraction(noise) / Fraction(base.noise_multiplier)
    low, high = NOISE_RANGE
    counts = min(high, max(low, math.ceil(Fraction(base.count_noise) * ratio * 10_000) / 10_000))
    return replace(base, noise_multiplier=noise, count_noise=counts)
