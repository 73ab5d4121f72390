"""The plan of private boosting: noisy histograms of every column, then rounds of noisy sums over leaves. Pure numbers.

The mechanism (Nori et al. 2021, arXiv 2106.09680, Algorithm 2, without its normalisation by a private count):

1. For each column, a histogram over bins that the schema declares. A person adds 1 to one cell of it.
2. In each round, for each column in turn: its bins are cut into leaves at random places, and for each leaf the
   residuals ``y - p`` of the people in it are added up. A person adds a number of at most 1 to one leaf.

Every such vector has the L2 sensitivity 1 for adding or removing one person, however the earlier ones came out, and
gets independent Gaussian noise. So the training is an adaptive composition of Gaussian mechanisms on everybody: as many
as there are columns at one noise multiplier, and columns × rounds at another. No other number about the people is
looked at, not even how many there are: leaves are divided by noisy counts, and the least size of a bin follows from the
declared units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from pellucid.errors import BadPlan, Unverified, nearest
from pellucid.privacy import accounting
from pellucid.privacy.checking import check_number, exact
from pellucid.privacy.events import MAX_COUNT, NOISE_RANGE, Event

__all__ = ["BoostPlan"]

MECHANISM: Final = "boosting"
SHARE: Final = 0.05
"""Of the budget (as 1/σ², which adds up) that goes to the histograms: leaves are divided by sums over many cells."""
_MAX_UNITS: Final = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostPlan:
    """One private boosting, decided before the first histogram.

    Attributes:
        epsilon: The claim: PLD epsilon of the plan's events at ``delta``, rounded up in millionths. In (0, 500].
        delta: In [1e-12, 1/units).
        units: Public, rounded number of people in the data set, training and test together.
        test: Share of the units that is held out, in [0, 1).
        columns: Feature columns, at least 1.
        rounds: How often every column has its turn, at least 1.
        noise_multiplier: Standard deviation of the noise on the sums of a leaf, whose sensitivity is 1.
        count_noise: Standard deviation of the noise on the cells of a histogram, whose sensitivity is 1.

    Raises:
        BadPlan: A field is out of its range; ``where`` names it.
    """

    epsilon: float
    delta: float
    units: int
    test: float
    columns: int
    rounds: int
    noise_multiplier: float
    count_noise: float

    def __post_init__(self) -> None:
        low, high = NOISE_RANGE
        check_number(self, "units", int, lambda v: 1 <= v <= _MAX_UNITS, "a positive whole number, at most 1e12")
        check_number(self, "epsilon", float, lambda v: 0 < v <= accounting.MAX_EPSILON, "above 0 and at most 500")
        check_number(self, "delta", float, lambda v: v > 0, "above 0")
        check_number(self, "delta", float, lambda v: v < 1 / self.units, "below 1/units, or it could give people away")
        check_number(self, "delta", float, lambda v: v >= accounting.MIN_DELTA, f"at least {accounting.MIN_DELTA:g}")
        check_number(self, "test", float, lambda v: 0 <= v < 1, "a share in [0, 1)")
        check_number(self, "columns", int, lambda v: v >= 1, "at least 1")
        few = f"at least 1, in {MAX_COUNT:g} steps"
        check_number(self, "rounds", int, lambda v: v >= 1 and self.columns * (v + 1) <= MAX_COUNT, few)
        for name in ("noise_multiplier", "count_noise"):
            check_number(self, name, float, lambda v: low <= v <= high, f"within [{low:g}, {high:g}]")
        if self.train_units < 1:
            raise BadPlan("nobody is left to train on", where="test", fix="hold out a smaller share")

    @classmethod
    def calibrate(
        cls, *, epsilon: float, delta: float, units: int, test: float, columns: int, rounds: int
    ) -> BoostPlan:
        """The plan with the least noise whose claim is at most ``epsilon``, :data:`SHARE` of it for histograms.

        Gaussian mechanisms compose to the one whose 1/σ² is the sum of theirs (Dong, Roth & Su 2019, arXiv 1905.02383,
        Corollary 3.3): that one is calibrated, and its noise divided up, rounded up to ten-thousandths.

        Raises:
            BadPlan: A parameter is out of its range, or no noise is enough.
        """
        asked = cls(
            epsilon=epsilon,
            delta=delta,
            units=units,
            test=test,
            columns=columns,
            rounds=rounds,
            noise_multiplier=1.0,  # these two are not yet known
            count_noise=1.0,
        )
        try:
            whole = accounting.calibrate(1.0, 1, asked.epsilon, asked.delta)
        except Unverified as error:
            raise BadPlan(error.what, where="epsilon", fix=error.fix) from None
        return replace(
            asked,
            noise_multiplier=_up(whole * math.sqrt(asked.columns * asked.rounds / (1 - SHARE))),
            count_noise=_up(whole * math.sqrt(asked.columns / SHARE)),
        )._claimed()

    def _claimed(self) -> BoostPlan:
        try:
            return replace(self, epsilon=accounting.epsilon(self.events, self.delta))
        except Unverified as error:
            raise BadPlan(error.what, where="noise_multiplier", fix=error.fix) from None

    @property
    def mechanism(self) -> str:
        """``boosting``: tells its record from that of a :class:`~pellucid.privacy.plan.Plan`."""
        return MECHANISM

    @property
    def train_units(self) -> int:
        """Expected, public number of training units: ``floor(units · (1 - test))``."""
        return math.floor(self.units * (1 - exact(self.test)))

    @property
    def sample_rate(self) -> float:
        """1: everybody is in every step."""
        return 1.0

    @property
    def clip(self) -> float:
        """1: what one person adds at most, in a histogram as in a sum of residuals. Nothing has to be clipped."""
        return 1.0

    @property
    def batch(self) -> int:
        """Expected people in a step: all of :attr:`train_units`."""
        return self.train_units

    @property
    def epochs(self) -> float:
        """Rounds, as passes over the training units by each column."""
        return float(self.rounds)

    @property
    def steps(self) -> int:
        """Number of noisy vectors: the histogram of every column, and its leaves in every round."""
        return self.columns * (self.rounds + 1)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the accountant composes, in the order in which it is taken."""
        return [
            Event(1.0, self.count_noise, self.columns).record(),
            Event(1.0, self.noise_multiplier, self.columns * self.rounds).record(),
        ]

    def record(self) -> dict[str, Any]:
        """The plan as JSON: its fields, and the mechanism."""
        return {"mechanism": MECHANISM, **{field.name: getattr(self, field.name) for field in fields(self)}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, where: str = "plan") -> BoostPlan:
        """The plan in ``record``. Every field is checked; the claim is not recomputed.

        Raises:
            BadPlan: A field is missing, unknown or out of its range.
        """
        names = [field.name for field in fields(cls)]
        given = {name: value for name, value in record.items() if name != "mechanism"}
        if record.get("mechanism") != MECHANISM:
            raise BadPlan(f'the mechanism must be "{MECHANISM}"', where=f"{where}.mechanism")
        for name in given:
            if name not in names:
                raise BadPlan(f'a plan of boosting has no field "{name}"{nearest(str(name), names)}', where=where)
        for name in names:
            if name not in given:
                raise BadPlan("this field is missing", where=f"{where}.{name}")
        try:
            return cls(**given)
        except BadPlan as error:
            raise BadPlan(error.what, where=f"{where}.{error.where}", fix=error.fix) from None


def _up(noise: float) -> float:
    """``noise`` in ten-thousandths, rounded up."""
    return math.ceil(noise * 10_000) / 10_000
