"""The plan: the one noun that couples sampling, clipping, noise, steps and what the accountant is told.

Nobody passes a sample rate, a noise multiplier and a number of steps loose. All arithmetic is on public numbers, and
exact: ``0.3`` means three tenths, not the float next to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, Final, Unpack

from pellucid.errors import BadPlan, Unverified, nearest
from pellucid.privacy import accounting
from pellucid.privacy.adaptive import adaptive_split
from pellucid.privacy.checking import check_name, check_number, exact
from pellucid.privacy.choices import CLIPPINGS, MECHANISMS, Options
from pellucid.privacy.events import MAX_COUNT, NOISE_RANGE, Event
from pellucid.privacy.rows import check_rows, draws_rows, rows_event, rows_noise

__all__ = ["CLIP_RANGE", "Plan"]

_MAX_UNITS: Final = 10**12
_MAX_VIEWS: Final = 1000
CLIP_RANGE: Final = (1e-12, 1e12)
"""Far outside of what anybody clips to: beyond, sums with noise leave what 32-bit numbers can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One private training, decided before the first step.

    Attributes:
        epsilon: The claim: PLD epsilon of the plan's events at ``delta``, rounded up in millionths. In (0, 500].
        delta: In [1e-12, 1/units).
        units: Public, rounded number of people in the data set, training and test together.
        test: Share of the units that is held out, in [0, 1).
        batch: Expected units in a step's Poisson sample, in [1, train_units); also the normaliser of the summed
            gradients, since the size of a sample is private. Where rows are drawn, the units whose rows they would be.
        epochs: Expected passes over the training units, above 0; need not be whole.
        clip: L2 norm to which each unit's gradient is clipped, of :data:`CLIP_RANGE`.
        noise_multiplier: Standard deviation of the noise in multiples of ``clip``, in [1e-3, 1e6]: what the accountant
            is told. With adaptive clipping it is that of sum and count together, and has to be below ``batch / 10``.
        clipping: One of :data:`~pellucid.privacy.choices.CLIPPINGS`.
        mechanism: One of :data:`~pellucid.privacy.choices.MECHANISMS`.
        bands: 1 for gaussian; for banded from 2 to ``min(steps, train_units / batch)``, so that the expected batch is
            ``batch`` still. Not together with adaptive clipping: noise cancels that was scaled alike.
        augmentations: Views of a unit in a step, whose gradients are averaged before they are clipped: no privacy cost
            (De et al. 2022, arXiv 2204.13650). In [1, 1000].
        unit_rows: The most rows of a unit, in [1, 1000].
        sampling: One of :data:`~pellucid.privacy.choices.SAMPLINGS`; ``example`` for units with several rows only, and
            with neither adaptive clipping nor banded noise.
        rows: Public, rounded number of rows, in [units, units · unit_rows]; None where units are drawn, or all of them
            are taken to have as many rows as they may.

    A field from ``clipping`` on that has its default value is left out of records, which so are what they always were.

    Raises:
        BadPlan: A field is out of its range; ``where`` names it.
    """

    epsilon: float
    delta: float
    units: int
    test: float
    batch: int
    epochs: float
    clip: float
    noise_multiplier: float
    clipping: str = "flat"
    mechanism: str = "gaussian"
    bands: int = 1
    augmentations: int = 1
    unit_rows: int = 1
    sampling: str = "user"
    rows: int | None = None

    def __post_init__(self) -> None:
        low, high = NOISE_RANGE
        check_number(self, "units", int, lambda v: 1 <= v <= _MAX_UNITS, "a positive whole number, at most 1e12")
        check_number(self, "epsilon", float, lambda v: 0 < v <= accounting.MAX_EPSILON, "above 0 and at most 500")
        check_number(self, "delta", float, lambda v: v > 0, "above 0")
        check_number(self, "delta", float, lambda v: v < 1 / self.units, "below 1/units, or it could give people away")
        check_number(self, "delta", float, lambda v: v >= accounting.MIN_DELTA, f"at least {accounting.MIN_DELTA:g}")
        check_number(self, "test", float, lambda v: 0 <= v < 1, "a share in [0, 1)")
        below = f"at least 1 and below {self.train_units} train units"
        check_number(self, "batch", int, lambda v: 1 <= v < self.train_units, below)
        few = f"above 0, and at most {MAX_COUNT:g} steps"
        check_number(self, "epochs", float, lambda v: v > 0 and self.steps <= MAX_COUNT, few)
        least, most = CLIP_RANGE
        check_number(self, "clip", float, lambda v: least <= v <= most, f"within [{least:g}, {most:g}]")
        check_number(self, "noise_multiplier", float, lambda v: low <= v <= high, f"within [{low:g}, {high:g}]")
        check_name(self, "clipping", CLIPPINGS)
        check_name(self, "mechanism", MECHANISMS)
        if self.mechanism == "gaussian":
            check_number(self, "bands", int, lambda v: v == 1, '1, unless the mechanism is "banded"')
        else:
            top = min(self.steps, self.train_units // self.batch)
            must = f"from 2 to {top}, the lesser of steps and train units / batch"
            check_number(self, "bands", int, lambda v: 2 <= v <= top, must)
        check_number(self, "augmentations", int, lambda v: 1 <= v <= _MAX_VIEWS, f"from 1 to {_MAX_VIEWS}")
        if self.clipping == "adaptive" and self.mechanism == "banded":
            raise BadPlan("adaptive clipping and banded noise do not go together", where="clipping")
        check_rows(self)
        if self.clipping == "adaptive":
            adaptive_split(self.noise_multiplier, self.batch)

    @classmethod
    def calibrate(
        cls,
        *,
        epsilon: float,
        delta: float,
        units: int,
        test: float,
        batch: int,
        epochs: float,
        clip: float,
        sampling: str | None = None,
        **options: Unpack[Options],
    ) -> Plan:
        """The plan with the least noise whose claim is at most ``epsilon``.

        The noise multiplier is a whole number of ten-thousandths, at most two of them above the least; the plan's
        ``epsilon`` is what the accountant then finds, so it may be slightly below the one asked for.

        Where units have several rows and ``sampling`` is left out, both ways are calibrated, and the one with less
        :attr:`relative_noise` is taken: they draw as many rows in a step, in as many steps.

        Raises:
            BadPlan: A parameter is out of its range, or no noise is enough, or the least is too much for adaptive
                clipping to count with.
        """
        if sampling is None:
            common = {"epsilon": epsilon, "delta": delta, "test": test, "epochs": epochs, "clip": clip}
            return cls._least({**common, "units": units, "batch": batch, **options})
        if sampling == "user":
            options["rows"] = None
        asked = cls(
            epsilon=epsilon,
            delta=delta,
            units=units,
            test=test,
            batch=batch,
            epochs=epochs,
            clip=clip,
            noise_multiplier=NOISE_RANGE[0],  # not yet known; the other fields are checked with the least
            sampling=sampling,
            **options,
        )
        if asked.sampling == "user":
            numbers = (asked.sample_rate, asked.steps, asked.epsilon, asked.delta, asked.bands)
            noise = _accounted(lambda: accounting.calibrate(*numbers), "epsilon")
        else:
            noise = _accounted(lambda: rows_noise(asked), "epsilon")
        return replace(asked, noise_multiplier=noise)._claimed()

    @classmethod
    def _least(cls, asked: Mapping[str, Any]) -> Plan:
        """The way of drawing with less noise; ``user`` where there is no choice."""
        plans = [cls.calibrate(**asked, sampling="user")]
        if draws_rows(plans[0]):
            plans.append(cls.calibrate(**asked, sampling="example"))
        return min(plans, key=lambda plan: plan.relative_noise)

    @classmethod
    def of(
        cls,
        *,
        noise_multiplier: float,
        delta: float,
        units: int,
        test: float,
        batch: int,
        epochs: float,
        clip: float,
        sampling: str = "user",
        **options: Unpack[Options],
    ) -> Plan:
        """The plan with this noise; its ``epsilon`` is computed.

        Raises:
            BadPlan: A parameter is out of its range, or so little noise that there is no privacy to state.
        """
        return cls(
            epsilon=1.0,  # not yet known
            delta=delta,
            units=units,
            test=test,
            batch=batch,
            epochs=epochs,
            clip=clip,
            noise_multiplier=noise_multiplier,
            sampling=sampling,
            **options,
        )._claimed()

    def _claimed(self) -> Plan:
        return replace(
            self, epsilon=_accounted(lambda: accounting.epsilon(self.events, self.delta), "noise_multiplier")
        )

    @property
    def train_units(self) -> int:
        """Expected, public number of training units: ``floor(units · (1 - test))``."""
        return math.floor(self.units * (1 - exact(self.test)))

    @property
    def sample_rate(self) -> float:
        """Chance of each training unit, or row, to be in a step's sample: the float next to ``batch / train_units``.

        The trainer samples with this very float, and the events carry it without loss; within the group whose turn it
        is, if the mechanism is banded, with the float :attr:`group_rate`.
        """
        return self.batch / self.train_units

    @property
    def group_rate(self) -> float:
        """Chance of a unit to be in the sample of a step in which its group has its turn: what the accountant takes."""
        return min(1.0, self.sample_rate * self.bands)

    @property
    def steps(self) -> int:
        """Number of noisy steps: ``ceil(epochs · train_units / batch)``."""
        return math.ceil(exact(self.epochs) * self.train_units / self.batch)

    @property
    def normaliser(self) -> int:
        """What the noisy sum of gradients is divided by: the expected batch, never the private size of a sample.

        Where rows are drawn, the rows of so many units: ``floor(batch · rows / units)``.
        """
        if self.sampling == "user":
            return self.batch
        return self.batch * (self.rows or self.units * self.unit_rows) // self.units

    @property
    def relative_noise(self) -> float:
        """Standard deviation of the noise on the mean gradient that a step releases, in multiples of the clip.

        What compares the ways of drawing: a smaller noise multiplier of a smaller sum is no gain.
        """
        return self.noise_multiplier / self.normaliser

    @property
    def gradient_noise_multiplier(self) -> float:
        """Standard deviation of the noise on the clipped sum, in multiples of the clip in force.

        The noise multiplier, or more where a count is paid for too; banded noise is correlated after this scaling.
        """
        if self.clipping != "adaptive":
            return self.noise_multiplier
        return adaptive_split(self.noise_multiplier, self.batch)[0]

    @property
    def count_noise(self) -> float | None:
        """Standard deviation of the noise on the sum of centred bits, in units; None unless clipping is adaptive.

        A sampled unit's bit is 1/2 if its norm was within the clip, and -1/2 if not.
        """
        return adaptive_split(self.noise_multiplier, self.batch)[1] if self.clipping == "adaptive" else None

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the accountant composes, as records for evidence and the log."""
        if self.sampling == "example":
            return [rows_event(self, self.noise_multiplier).record()]
        return [Event(self.sample_rate, self.noise_multiplier, self.steps, self.bands).record()]

    def record(self) -> dict[str, Any]:
        """The plan as JSON: its fields and nothing derived; without those that have their default value."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if _DEFAULTS.get(name) != value}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, where: str = "plan") -> Plan:
        """The plan in ``record``. Every field is checked; the claim is not recomputed.

        Args:
            record: As :meth:`record` gives it, now or before there were mechanisms to choose.
            where: What the record is, for errors.

        Raises:
            BadPlan: A field is missing, unknown or out of its range.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(record, Mapping):
            raise BadPlan("a plan must be a table", where=where)
        for name in record:
            if name not in names:
                raise BadPlan(f'a plan has no field "{name}"{nearest(str(name), names)}', where=where)
        for name in names:
            if name not in record and name not in _DEFAULTS:
                raise BadPlan("this field is missing", where=f"{where}.{name}")
        try:
            return cls(**record)
        except BadPlan as error:
            raise BadPlan(error.what, where=f"{where}.{error.where}", fix=error.fix) from None


_DEFAULTS: Final[Mapping[str, Any]] = {f.name: f.default for f in fields(Plan) if f.default is not MISSING}


def _accounted(compute: Callable[[], float], where: str) -> float:
    """What the accountant says of numbers that a user chose: there a refusal is a bad plan, not bad evidence."""
    try:
        return compute()
    except Unverified as error:
        raise BadPlan(error.what, where=where, fix=error.fix) from None
