"""Plans for units with several rows: what may be drawn, what it is accounted as, and how much noise it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pellucid.errors import BadPlan
from pellucid.privacy import accounting
from pellucid.privacy.calibration import gaussian_limit_noise
from pellucid.privacy.checking import check_name, check_number
from pellucid.privacy.choices import SAMPLINGS
from pellucid.privacy.events import MixtureOfGaussians
from pellucid.privacy.parsing import MAX_PARTS

if TYPE_CHECKING:
    from pellucid.privacy.plan import Plan

__all__ = ["MAX_DRAWN", "check_rows", "compared", "draws_rows", "rows_event", "rows_noise"]

_MAX_ROWS: Final = 1000
MAX_DRAWN: Final = MAX_PARTS
"""Most rows of a unit that may be drawn one by one: as many sensitivities as an event has at most."""


def check_rows(plan: Plan) -> None:
    """Refuses rows of a unit, or a way of drawing, that cannot be meant.

    Raises:
        BadPlan: ``where`` names the field.
    """
    check_number(plan, "unit_rows", int, lambda v: 1 <= v <= _MAX_ROWS, f"from 1 to {_MAX_ROWS}")
    check_name(plan, "sampling", SAMPLINGS)
    if plan.sampling == "example":
        if plan.unit_rows == 1:
            raise BadPlan("units with one row each are drawn with it: leave sampling out", where="sampling")
        if plan.unit_rows > MAX_DRAWN:
            raise BadPlan(f"units with more than {MAX_DRAWN} rows can be drawn as a whole only", where="sampling")
        if plan.mechanism != "gaussian" or plan.clipping == "adaptive":
            other = "banded noise" if plan.mechanism != "gaussian" else "adaptive clipping"
            raise BadPlan(f'{other} goes with sampling = "user" only', where="sampling")
    if plan.rows is not None:
        if plan.sampling != "example":
            raise BadPlan('the number of rows counts where rows are drawn, with sampling = "example"', where="rows")
        top = plan.units * plan.unit_rows
        check_number(plan, "rows", int, lambda v: plan.units <= v <= top, f"from {plan.units} to {top}")


def draws_rows(plan: Plan) -> bool:
    """Whether the rows of its units could be drawn one by one."""
    return 1 < plan.unit_rows <= MAX_DRAWN and plan.mechanism == "gaussian" and plan.clipping != "adaptive"


def compared(plan: Plan, epsilon: float, rows: int | None) -> str:
    """What is drawn by a plan for units with several rows, and what the other way would take, in words for a person.

    Args:
        plan: Calibrated.
        epsilon: For this epsilon.
        rows: As of :meth:`~pellucid.privacy.plan.Plan.calibrate`.
    """
    words = {"user": "people with all their rows", "example": "rows one by one"}
    said = f"drawing {words[plan.sampling]}: noise of {plan.relative_noise:.2g} clips on the mean gradient"
    if not draws_rows(plan):
        return said
    other = "example" if plan.sampling == "user" else "user"
    asked = {name: value for name, value in plan.record().items() if name not in ("noise_multiplier", "sampling")}
    twin = type(plan).calibrate(**{**asked, "epsilon": epsilon, "rows": rows, "sampling": other})
    return f"{said}, where {words[other]} would take {twin.relative_noise:.2g}"


def rows_event(plan: Plan, noise: float) -> MixtureOfGaussians:
    """What the steps of a plan that draws rows cost a unit, with this noise multiplier."""
    return MixtureOfGaussians.of_rows(plan.sample_rate, plan.unit_rows, noise, plan.steps)


def rows_noise(plan: Plan) -> float:
    """The least noise multiplier of a plan that draws rows; see :func:`pellucid.privacy.accounting.calibrate_noise`."""
    # where many steps add up, that of all rows drawn together
    start = plan.unit_rows * gaussian_limit_noise(plan.sample_rate, plan.steps, plan.epsilon, plan.delta)
    return accounting.calibrate_noise(
        lambda noise: [rows_event(plan, noise).record()], plan.epsilon, plan.delta, start=start
    )
