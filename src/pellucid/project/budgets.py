"""What stewards and scientists do with a ledger: set budgets, register plans before the first of them, end a run.

Every change is decided by the access policy and written in one transaction with the look at what it rests on, so that
a steward who edits a budget and a run that reserves at the same moment see each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pellucid.errors import BadFile, BadPlan, Misuse
from pellucid.log.entries import Entry, seal_record
from pellucid.privacy import Ledger, LedgerPlan, accounting, check_new_budget, ledgers_of, order_for
from pellucid.privacy.events import round_epsilon_up
from pellucid.privacy.folding import purposes_with_budgets, related
from pellucid.privacy.forecast import Forecast, forecast
from pellucid.project import data
from pellucid.project.project import Project, tell, unknown

if TYPE_CHECKING:
    from pellucid.privacy import AnyPlan, TuningPlan
    from pellucid.report.timeline import Moment

__all__ = [
    "alert",
    "check_plan",
    "draw",
    "forecasts",
    "halt",
    "history",
    "ledgers",
    "open_runs",
    "planned",
    "register",
    "set_budget",
]

MOMENTS: Final = 200
"""Most points of a ledger's picture."""


def ledgers(project: Project, name: str) -> list[Ledger]:
    """The ledger of a data set, and those of the purposes that have a budget of their own.

    Raises:
        UnknownName: It was never sealed.
    """
    whole, entries = data.ledger(project, name), project.counted()
    return [whole, *(Ledger.fold(entries, whole.dataset, p) for p in purposes_with_budgets(entries, whole.dataset))]


def set_budget(project: Project, name: str, epsilon: float, delta: float, *, purpose: str | None = None) -> None:
    """Set what everything ever done with the data, or all that is done for one purpose, may cost together.

    Raises:
        BadPlan: Not a budget, or below what is spent or reserved already.
        UnknownName: The data was not collected for this purpose.
        Denied: Who acts may not.
    """
    sealed = data.dataset(project, name)
    if purpose is not None and purpose not in sealed.schema.purposes:
        raise unknown("purpose", purpose, sealed.schema.purposes, "the schema lists what the data was collected for")

    def check() -> None:
        ledger = Ledger.fold(project.counted(), sealed.name, purpose)
        check_new_budget(ledger, epsilon, delta, units=sealed.schema.units)

    check()  # before anything is decided, and again with the log locked: a run may have been reserved since
    project.decide("budget", sealed.resource())
    fields = {"dataset": sealed.name, "epsilon": epsilon, "delta": delta, "order": order_for(epsilon, delta)}
    with project.writing() as writer:
        check()
        kind, fields = ("budget", fields) if purpose is None else ("purpose-budget", {**fields, "purpose": purpose})
        writer.append(seal_record(kind, fields, project.identity.signing, project.moment()))
    _tell_of_order(Ledger.fold(project.counted(), sealed.name, purpose))


def _tell_of_order(ledger: Ledger) -> None:
    """Of a budget that is held to an order fixed before it, at which nothing that was chosen after looking fits."""
    budget = ledger.budget
    if budget is not None and budget.cap <= 0:
        tell(
            "this budget holds what is fixed beforehand, one plan or one registered set, and nothing after it: the"
            f" order at which {ledger.dataset} adds up was fixed before, and at {budget.order:g} several plans need"
            f" more than epsilon {round_epsilon_up(budget.epsilon - budget.cap):.4g}"
        )


def register(project: Project, name: str, plans: Sequence[LedgerPlan], *, purpose: str) -> str:
    """Fix plans before the first of them runs, and reserve them all: what is run by one of them takes its place.

    Args:
        project: Where.
        name: The data set.
        plans: At least one; the same plan twice is two runs.
        purpose: What for.

    Returns:
        The registration's name.

    Raises:
        BadPlan: No plan, or one that is none for this data or claims less than its events cost.
        BudgetExceeded: A budget does not hold them all; nothing is reserved.
        Denied: Who acts may not train on this data for this purpose.
    """
    sealed = data.dataset(project, name)
    if not plans:
        raise BadPlan("there is no plan to register", where="plans")
    for place, plan in enumerate(plans):
        check_plan(plan, sealed.schema.units, where=f"plans[{place}]")
    joint = accounting.epsilon([event for plan in plans for event in plan.events], plans[0].delta)
    project.decide("train", sealed.resource(), purpose)
    registration = secrets.token_hex(8)
    members = [
        {
            "plan": plan.record(),
            "events": plan.events,
            "epsilon": plan.epsilon,
            "delta": plan.delta,
            "purpose": purpose,
        }
        for plan in plans
    ]
    fields = {"registration": registration, "dataset": sealed.name, "plans": members}
    with project.writing() as writer:
        affected = ledgers_of(project.counted(), sealed.name, purpose)
        for ledger in affected:
            ledger.admit_together(plans)
        record = {**fields, "epsilon": joint, "delta": plans[0].delta}
        writer.append(seal_record("register", record, project.identity.signing, project.moment()))
    alert(project, affected)
    return registration


def check_plan(plan: LedgerPlan, units: int, *, where: str = "plan") -> None:
    """Refuses a plan for another number of people, or one that claims less than its events cost.

    Raises:
        BadPlan: It is one.
    """
    counted = getattr(plan, "units", units)
    if counted != units:
        raise BadPlan(
            f"the plan counts {counted} people and the data set declares {units}",
            where=f"{where}.units",
            fix=f"calibrate the plan with units={units}",
        )
    cost = accounting.epsilon(plan.events, plan.delta)
    if plan.epsilon < cost:
        raise BadPlan(
            f"the plan claims epsilon {plan.epsilon:g} and its events cost {cost:g}",
            where=f"{where}.epsilon",
            fix="make the plan with Plan.calibrate or Plan.of",
        )


def open_runs(project: Project) -> dict[str, Entry]:
    """The reservations that no settlement ended, by what they make."""
    entries = project.counted()
    settled = {entry.body["reservation"] for entry in entries if entry.kind == "settle"}
    return {
        entry.body["run"]: entry
        for entry in entries
        if entry.kind == "reserve" and entry.body["reservation"] not in settled
    }


def halt(project: Project, run: str) -> None:
    """End a run that is under way: it stops before its next step, keeps its model and settles what it took.

    Args:
        project: Where.
        run: As ``credit-risk@3``.

    Raises:
        UnknownName: There is no such run that is open.
        Denied: Who acts may not.
    """
    open_ = open_runs(project)
    if run not in open_:
        if any(entry.kind == "reserve" and entry.body["run"] == run for entry in project.counted()):
            raise Misuse("this run is settled already", where=run, fix="nothing is left to stop")
        raise unknown("run", run, sorted(open_), "pellucid budget NAME lists the runs")
    body = open_[run].body
    project.decide("budget", data.dataset(project, body["dataset"]).resource())
    project.record("halt", reservation=body["reservation"])


def alert(project: Project, before: Sequence[Ledger]) -> None:
    """Tell of every budget that reached a further one of :data:`~pellucid.privacy.budget.ALERTS` since ``before``."""
    entries = project.counted()
    for old in before:
        new = Ledger.fold(entries, old.dataset, old.purpose)
        if new.alert is not None and new.alert != old.alert and new.budget is not None:
            tell(
                f"{new.name}: {new.alert:.0%} or more of the budget is spent or reserved,"
                f" {new.left:g} of {new.budget.epsilon:g} left"
            )


def planned(
    project: Project,
    name: str,
    recipe: Path,
    purpose: str | None,
    *,
    space: Path | None = None,
    public: Path | None = None,
) -> tuple[str, AnyPlan | TuningPlan]:
    """The plan that ``recipe`` makes for a data set, and what for: the one purpose there is, if none is named.

    Args:
        project: Where.
        name: The data set.
        recipe: The recipe.
        purpose: What for.
        space: What may vary, for a tuning over it.
        public: Public data that the tuning scores on.

    Raises:
        BadFile, BadPlan: The recipe, or the space, cannot be meant.
        Misuse: Several purposes are declared, and none was named.
        UnknownName: The data was not collected for this purpose.
    """
    from pellucid.train.recipes import Recipe

    sealed = data.dataset(project, name)
    purposes = sealed.schema.purposes
    if purpose is None and len(purposes) != 1:
        several = ", ".join(purposes)
        raise Misuse(f"several purposes are declared: {several}", where="purpose", fix="name one: --purpose P")
    chosen = purposes[0] if purpose is None else purpose
    if chosen not in purposes:
        raise unknown("purpose", chosen, purposes, "the schema lists what the data was collected for")
    if space is None:
        return chosen, Recipe.read(recipe).make_plan(sealed.schema)
    from pellucid.project.asked import prepare
    from pellucid.train.space import read

    varied, settings = read(space)
    asked, _ = prepare(project, varied, dataset=name, purpose=chosen, recipe=recipe, public=public, **settings)
    return chosen, asked.plan


def forecasts(project: Project, name: str, plan: LedgerPlan, purpose: str) -> list[Forecast]:
    """What ``plan`` would do to every budget it counts against, without reserving it.

    Raises:
        BadPlan: It is no plan for this data.
        UnknownName: There is no such data.
    """
    sealed = data.dataset(project, name)
    check_plan(plan, sealed.schema.units)
    return forecast(ledgers_of(project.counted(), sealed.name, purpose), plan, purpose)


def draw(project: Project, ledger: Ledger, path: Path) -> None:
    """Write a ledger over time as an SVG file.

    Raises:
        BadFile: It does not end in .svg, or cannot be written.
    """
    from pellucid.report.timeline import timeline

    if path.suffix != ".svg":
        raise BadFile("the picture is an SVG file", where=str(path), fix="name it NAME.svg")
    budget = ledger.budget
    epsilon, delta = (None, None) if budget is None else (budget.epsilon, budget.delta)
    told = timeline(ledger.name, epsilon, delta, history(project.counted(), ledger.dataset))
    try:
        path.write_text(told, encoding="utf-8")
    except OSError as error:
        raise BadFile(f"this cannot be written: {error.strerror}", where=str(path)) from None


def history(entries: Sequence[Entry], dataset: str) -> list[Moment]:
    """The ledger after each entry that touches it; of many, after :data:`MOMENTS` of them and the last."""
    from pellucid.report.timeline import Moment

    kin = related(entries, dataset)
    ours = {e.body["reservation"] for e in entries if e.kind == "reserve" and e.body["dataset"] in kin}
    places = [
        i
        for i, e in enumerate(entries)
        if (e.kind in ("reserve", "register") and e.body["dataset"] in kin)
        or (e.kind == "budget" and e.body["dataset"] == dataset)
        or (e.kind == "settle" and e.body["reservation"] in ours)
    ]
    every = max(1, -(-len(places) // MOMENTS))
    shown = [*places[::every], *([places[-1]] if places and (len(places) - 1) % every else [])]
    moments = []
    for place in shown:
        document = Ledger.fold(entries[: place + 1], dataset).document()
        body, kind = entries[place].body, entries[place].kind
        what = {
            "budget": lambda b: f"budget {b['epsilon']:g}",
            "reserve": lambda b: f"{b['run']} reserved",
            "register": lambda b: f"{len(b['plans'])} plan{'s' * (len(b['plans']) != 1)} registered",
            "settle": lambda b: f"a run settled as {b['status']}",
        }[kind](body)
        used = document["spent"] + document["reserved"]
        moments.append(Moment(body["at"], document["spent"], used, what, document["epsilon"]))
    return moments
