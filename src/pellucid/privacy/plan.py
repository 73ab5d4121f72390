"""The plan: the one noun that couples sampling, clipping, noise, steps and what the accountant is told.

Nobody passes a sample rate, a noise multiplier and a number of steps loose. All arithmetic is on public numbers, and
exact: ``0.3`` means three tenths, not the float next to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, Final

from pellucid.errors import BadPlan, Unverified, nearest
from pellucid.privacy import accounting
from pellucid.privacy.events import MAX_COUNT, NOISE_RANGE, Event

__all__ = ["Plan"]

_MAX_UNITS: Final = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One private training, decided before the first step.

    Attributes:
        epsilon: The claim: PLD epsilon of the plan's events at ``delta``, rounded up in millionths. In (0, 500].
        delta: In [1e-12, 1/units).
        units: Public, rounded number of people in the data set, training and test together.
        test: Share of the units that is held out, in [0, 1).
        batch: Expected units in a step's Poisson sample, in [1, train_units); also the normaliser of the summed
            gradients, since the size of a sample is private.
        epochs: Expected passes over the training units, above 0; need not be whole.
        clip: L2 norm to which each unit's gradient is clipped, above 0.
        noise_multiplier: Standard deviation of the noise in multiples of ``clip``, in [1e-3, 1e6].

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

    def __post_init__(self) -> None:
        low, high = NOISE_RANGE
        _check(self, "units", int, lambda v: 1 <= v <= _MAX_UNITS, "a positive whole number, at most 1e12")
        _check(self, "epsilon", float, lambda v: 0 < v <= accounting.MAX_EPSILON, "above 0 and at most 500")
        _check(self, "delta", float, lambda v: v > 0, "above 0")
        _check(self, "delta", float, lambda v: v < 1 / self.units, "below 1/units, or it could give people away")
        _check(self, "delta", float, lambda v: v >= accounting.MIN_DELTA, f"at least {accounting.MIN_DELTA:g}")
        _check(self, "test", float, lambda v: 0 <= v < 1, "a share in [0, 1)")
        _check(
            self,
            "batch",
            int,
            lambda v: 1 <= v < self.train_units,
            f"at least 1 and below {self.train_units} train units",
        )
        _check(self, "epochs", float, lambda v: v > 0 and self.steps <= MAX_COUNT, f"above 0, in {MAX_COUNT:g} steps")
        _check(self, "clip", float, lambda v: v > 0, "above 0")
        _check(self, "noise_multiplier", float, lambda v: low <= v <= high, f"within [{low:g}, {high:g}]")

    @classmethod
    def calibrate(
        cls, *, epsilon: float, delta: float, units: int, test: float, batch: int, epochs: float, clip: float
    ) -> Plan:
        """The plan with the least noise whose claim is at most ``epsilon``.

        The noise multiplier is a whole number of ten-thousandths, at most two of them above the least; the plan's
        ``epsilon`` is what the accountant then finds, so it may be slightly below the one asked for.

        Raises:
            BadPlan: A parameter is out of its range, or no noise is enough.
        """
        asked = cls(
            epsilon=epsilon,
            delta=delta,
            units=units,
            test=test,
            batch=batch,
            epochs=epochs,
            clip=clip,
            noise_multiplier=1.0,  # not yet known; the other fields are checked with any
        )
        noise = _accounted(
            lambda: accounting.calibrate(asked.sample_rate, asked.steps, asked.epsilon, asked.delta), "epsilon"
        )
        return replace(asked, noise_multiplier=noise)._claimed()

    @classmethod
    def of(
        cls, *, noise_multiplier: float, delta: float, units: int, test: float, batch: int, epochs: float, clip: float
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
        )._claimed()

    def _claimed(self) -> Plan:
        return replace(
            self, epsilon=_accounted(lambda: accounting.epsilon(self.events, self.delta), "noise_multiplier")
        )

    @property
    def train_units(self) -> int:
        """Expected, public number of training units: ``floor(units · (1 - test))``."""
        return math.floor(self.units * (1 - _exact(self.test)))

    @property
    def sample_rate(self) -> float:
        """Chance of each training unit to be in a step's sample: the float next to ``batch / train_units``.

        The trainer samples with this very float, and the events carry it without loss.
        """
        return self.batch / self.train_units

    @property
    def steps(self) -> int:
        """Number of noisy steps: ``ceil(epochs · train_units / batch)``."""
        return math.ceil(_exact(self.epochs) * self.train_units / self.batch)

    @property
    def normaliser(self) -> int:
        """What the noisy sum of gradients is divided by: the expected batch, never the private size of a sample."""
        return self.batch

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the accountant composes, as records for evidence and the log."""
        return [Event(self.sample_rate, self.noise_multiplier, self.steps).record()]

    def record(self) -> dict[str, Any]:
        """The plan as JSON: its fields and nothing derived."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, where: str = "plan") -> Plan:
        """The plan in ``record``. Every field is checked; the claim is not recomputed.

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
            if name not in record:
                raise BadPlan("this field is missing", where=f"{where}.{name}")
        try:
            return cls(**record)
        except BadPlan as error:
            raise BadPlan(error.what, where=f"{where}.{error.where}", fix=error.fix) from None


def _exact(number: float) -> Fraction:
    """What a person wrote: the shortest decimal of the float, as a fraction."""
    return Fraction(repr(number))


def _check(plan: Plan, name: str, kind: type[int] | type[float], holds: Callable[[Any], bool], must: str) -> None:
    """Refuses field ``name`` unless it is a finite number for which ``holds``; stores it as an int or a float."""
    value: Any = getattr(plan, name)
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        raise BadPlan(f"{name} must be a {'whole ' if kind is int else ''}number", where=name)
    number: float
    try:
        number = int(value) if kind is int else float(value)  # type: ignore[call-overload]  # typeshed's Real has no int
    except OverflowError:
        number = math.inf
    object.__setattr__(plan, name, number)  # before it is judged: what follows from it needs a plain number
    if not math.isfinite(number) or not holds(number):
        raise BadPlan(f"{name} must be {must}; it is {number:g}", where=name)


def _accounted(compute: Callable[[], float], where: str) -> float:
    """What the accountant says of numbers that a user chose: there a refusal is a bad plan, not bad evidence."""
    try:
        return compute()
    except Unverified as error:
        raise BadPlan(error.what, where=where, fix=error.fix) from None
