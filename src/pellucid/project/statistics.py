"""Differentially private statistics of sealed data: decided, reserved, noisy, settled, and left as evidence."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pellucid.errors import BadPlan, BudgetExceeded, UnknownName
from pellucid.evidence import Evidence, Subject
from pellucid.keys import identity_name
from pellucid.privacy import Ledger, Statistic, StatisticsPlan, accounting
from pellucid.privacy.estimates import CONFIDENCE, Answer, answers
from pellucid.privacy.mechanism import FINE, gaussian
from pellucid.privacy.statistics import Vector
from pellucid.project import data
from pellucid.project.loading import ONE_ROW, one_row_each, unit_rows
from pellucid.project.project import Project, stamp
from pellucid.project.reserving import Reservation, reserve

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Release", "claim", "fitting", "how", "paid", "plan_for", "release"]

ACTION = "statistics"


@dataclass(frozen=True, slots=True)
class Release:
    """What was released. ``release["mean:age"]`` is an :class:`~pellucid.privacy.estimates.Answer`.

    Attributes:
        label: Its name, such as ``applicants-statistics@1``.
        plan: What was reserved for it.
        answers: In the order in which they were asked for.
    """

    label: str
    plan: StatisticsPlan
    answers: tuple[Answer, ...]

    def __getitem__(self, name: str) -> Answer:
        """The answer of that name (:attr:`Statistic.name`); the first, if two share it."""
        for answer in self.answers:
            if answer.statistic.name == name:
                return answer
        known = [answer.statistic.name for answer in self.answers]
        raise UnknownName(f'"{name}" was not released', where=self.label, fix=f"there are {', '.join(known)}")

    def document(self) -> dict[str, Any]:
        """The ``--json`` document of ``pellucid data release``."""
        return {
            "release": self.label,
            "epsilon": self.plan.epsilon,
            "delta": self.plan.delta,
            "noise_multiplier": self.plan.noise_multiplier,
            "statistics": [answer.record() for answer in self.answers],
        }


def release(
    project: Project,
    dataset: str,
    statistics: Iterable[Statistic | str],
    *,
    purpose: str,
    epsilon: float,
    delta: float | None = None,
    name: str | None = None,
    test: float | None = None,
) -> Release:
    """Release statistics of a data set, paid from its budget.

    Args:
        project: Where.
        dataset: The sealed data set, with or without version.
        statistics: What is asked: :class:`~pellucid.privacy.Statistic`, or text such as ``mean:age``.
        purpose: What for; one of the data set's.
        epsilon: The most that all of it may cost.
        delta: At this delta; default that of the data set's budget.
        name: Of the release; default ``DATASET-statistics``. A name used before makes its next version.
        test: If given, only people are counted who are not among this share of held-out ones.

    Raises:
        BadPlan: What is asked, or its price, cannot be meant; nothing is recorded.
        UnknownName: No such data set or column.
        Denied: The policy says no to the release or to a column; nothing was reserved.
        BudgetExceeded: The budget does not hold it; says which epsilon would fit.
    """
    sealed = data.dataset(project, dataset)
    label = identity_name(f"{sealed.name[:52]}-statistics" if name is None else name)
    asked = tuple(Statistic.of(each, sealed.schema) for each in statistics)
    if any(statistic.kind == "scores" for statistic in asked):
        raise BadPlan("scores are of a model", where="statistics", fix="run.evaluate(release=epsilon) releases them")
    plan = plan_for(project, sealed, asked, epsilon=epsilon, delta=delta, test=test)
    data.require_readable(project, sealed, plan.columns, purpose)
    with paid(project, sealed, plan, name=label, purpose=purpose) as spending:
        noisy = _take(project, sealed, plan, purpose, spending)
        made = Release(spending.label, plan, answers(plan, noisy))
        project.publish([_evidence(sealed, made)])
    return made


def plan_for(
    project: Project,
    sealed: data.Sealed,
    statistics: Iterable[Statistic],
    *,
    epsilon: float,
    delta: float | None,
    test: float | None,
    part: str = "training",
) -> StatisticsPlan:
    """The plan of a release; ``delta`` is by default that of the budget."""
    if delta is None:
        budget = Ledger.fold(project.counted(), sealed.name).budget
        if budget is None:
            raise BudgetExceeded(
                "no privacy budget was ever set, so nothing may be spent",
                where=sealed.name,
                fix=f"an owner sets one: pellucid budget set {sealed.name} --epsilon E --delta D",
            )
        delta = budget.delta
    return StatisticsPlan.calibrate(
        epsilon=epsilon,
        delta=delta,
        units=sealed.schema.units,
        statistics=statistics,
        part="everybody" if test is None else part,
        test=0.0 if test is None else test,
    )


@dataclass(slots=True)
class Spending:
    """A reservation of statistics, and how many of its vectors were taken."""

    reservation: Reservation
    taken: int = 0

    @property
    def label(self) -> str:
        """What the release is called."""
        return self.reservation.label

    def noisy(self, exact: Callable[[], npt.NDArray[np.int64]], noise_multiplier: float) -> list[float]:
        """The sums of ``exact`` with noise; counted before they are computed, since that they fail tells of people."""
        self.taken += 1
        found: list[float] = gaussian(exact(), noise_multiplier).tolist()
        return found


@contextlib.contextmanager
def paid(project: Project, sealed: data.Sealed, plan: StatisticsPlan, *, name: str, purpose: str) -> Iterator[Spending]:
    """Decide, reserve, and settle at the end with the vectors that were taken."""
    project.decide(ACTION, sealed.resource(), purpose)
    made = reserve(project, sealed.name, plan, name=name, purpose=purpose, fitting=lambda ledger: fitting(ledger, plan))
    spending = Spending(made)
    try:
        yield spending
    finally:
        made.settle("complete" if spending.taken == plan.steps else "stopped", spending.taken)


def fitting(ledger: Ledger, plan: StatisticsPlan) -> str:
    """The largest epsilon, in thousandths, at which the same questions would fit, as advice."""
    owner = "ask an owner for a larger budget"

    def fits(other: StatisticsPlan) -> bool:
        try:
            ledger.admit(other)
        except BudgetExceeded:
            return False
        return True

    low, high = plan.noise_multiplier, 1e5
    if not fits(plan.with_noise(high)):
        return f"nothing fits any more; {owner}"
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(plan.with_noise(round(middle, 4))) else (middle, high)
    epsilon = math.floor(plan.with_noise(round(high, 4)).epsilon * 1000) / 1000
    return f"ask for less: these statistics fit with epsilon {epsilon:g}; or {owner}" if epsilon else owner


def _take(
    project: Project, sealed: data.Sealed, plan: StatisticsPlan, purpose: str, spending: Spending
) -> Mapping[Vector, list[float]]:
    """Decrypt, sum up and add noise; nothing exact leaves here."""
    from pellucid import vault

    columns = plan.columns or (_any_column(project, sealed, purpose),)
    apart, several = plan.part != "everybody", unit_rows(sealed.schema) != 1
    table = data.read(project, sealed.label, columns, purpose=purpose, tags=apart or several)
    if several:
        table = table.take(one_row_each(table.column(data.TAG).to_numpy()))
    if apart:
        table = table.filter(~vault.in_test(table.column(data.TAG).to_numpy(), plan.test))
    noisy = {}
    for vector in plan.vectors:
        exact = partial(vault.aggregate, table, sealed.schema, vector, FINE)
        noisy[vector] = spending.noisy(exact, plan.noise_multiplier)
    return noisy


def _any_column(project: Project, sealed: data.Sealed, purpose: str) -> str:
    """A column that may be read, to count its rows; the first, to be denied, if there is none."""
    names = list(sealed.schema.columns)
    return next((n for n in names if project.ask("read", sealed.column(n), purpose).allowed), names[0])


def claim(plan: StatisticsPlan, sealed: data.Sealed) -> dict[str, Any]:
    """What a release states of its price, as evidence has it; a person is counted once."""
    return {
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "noise_multiplier": plan.noise_multiplier,
        "adjacency": accounting.ADJACENCY,
        "unit": sealed.schema.unit,
        "accountant": accounting.claimant(plan.events),
        "second_opinion": accounting.second_opinion(plan.events, plan.delta),
        "events": plan.events,
    }


def how(plan: StatisticsPlan, sealed: data.Sealed) -> dict[str, Any]:
    """How it was made."""
    return {
        "method": "sums over people with discrete Gaussian noise (Canonne, Kamath & Steinke 2020), one unit of"
        f" sensitivity in {FINE} steps",
        "library": {"opendp": version("opendp")},
        "people": plan.part,
        **({} if unit_rows(sealed.schema) == 1 else {"measured": ONE_ROW}),
        **accounting.how(plan.events),
    }


def _evidence(sealed: data.Sealed, made: Release) -> Evidence:
    plan = made.plan
    values = {
        "name": made.label,
        "statistics": [answer.record() for answer in made.answers],
        "part": plan.part,
        **({"test": plan.test} if plan.test else {}),
        **claim(plan, sealed),
    }
    error = {"confidence": CONFIDENCE, "interval": "of the noise, about the people who were counted; one at a time"}
    subject = Subject(sealed.label, sealed.manifest_sha256)
    return Evidence("release", subject, values, stamp(how(plan, sealed)), "own-release", error)
