"""From the entries of the log to what was reserved and taken: the fold behind the ledger.

Data sets that share people share what was spent on them. Which do, is what their stewards recorded as ``lineage``: this
version was made of those. Two data sets are related if one is made of the other, or both of a third, over however many
steps and merges; what one spends then counts in the other's ledger.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pellucid.errors import BadPlan, Unverified
from pellucid.privacy.parsing import parse_events
from pellucid.privacy.plans import plan_from_record
from pellucid.privacy.spending import STATUSES, Budget, RunSpending, check_numbers

if TYPE_CHECKING:
    from pellucid.log.entries import Entry

__all__ = ["fold_spending", "matching_member", "purposes_with_budgets", "related"]


def related(entries: Iterable[Entry], dataset: str) -> frozenset[str]:
    """The data sets that share people with ``dataset``, with itself."""
    parents: dict[str, set[str]] = {}
    for entry in entries:
        if entry.kind == "lineage":
            names = {parent["dataset"] for parent in entry.body["parents"]}
            parents.setdefault(entry.body["dataset"], set()).update(names)

    def origins(name: str) -> set[str]:
        found, open_ = {name}, [name]
        while open_:
            new = parents.get(open_.pop(), set()) - found
            found |= new
            open_ += new
        return found

    own = origins(dataset)
    names = {dataset, *parents, *(name for group in parents.values() for name in group)}
    return frozenset(name for name in names if origins(name) & own)


def purposes_with_budgets(entries: Iterable[Entry], dataset: str) -> tuple[str, ...]:
    """The purposes for which ``dataset`` has a budget of their own, in order of name."""
    found = {e.body["purpose"] for e in entries if e.kind == "purpose-budget" and e.body["dataset"] == dataset}
    return tuple(sorted(found))


def fold_spending(
    entries: Sequence[Entry], dataset: str, purpose: str | None = None
) -> tuple[Budget | None, tuple[RunSpending, ...], float | None]:
    """The budget in force, everything that counts against it in the order of the log, and the order that is fixed.

    A later budget replaces an earlier one, but for the order. That is fixed as soon as anything is reserved of anybody
    who is in the data, for whatever purpose: choosing it after seeing results would undo the filter. Where there was no
    budget then, of this purpose or of this data set, the order is that of the budget which the reservation was held to.

    Args:
        entries: The whole log in order.
        dataset: Whose people.
        purpose: The budget and spending of one purpose alone; None is everything.

    Raises:
        Unverified: As :meth:`pellucid.privacy.Ledger.fold`.
    """
    kin = related(entries, dataset)
    budget: Budget | None = None
    fixed: float | None = None
    orders: dict[str, float] = {}  # of the budgets of whole data sets
    runs: dict[str, RunSpending] = {}
    waiting: dict[str, RunSpending] = {}  # members of sets that nobody took up yet
    names: set[str] = set()
    for entry in entries:
        where, body = f"log entry {entry.index}", entry.body
        if fixed is None and entry.kind in ("register", "reserve") and body["dataset"] in kin:
            fixed = budget.order if budget is not None else orders.get(body["dataset"])
        if entry.kind == "budget":
            orders[body["dataset"]] = body["order"]
        if entry.kind == ("budget" if purpose is None else "purpose-budget") and body["dataset"] == dataset:
            if purpose is None or body["purpose"] == purpose:
                budget = _budget(body["epsilon"], body["delta"], fixed or body["order"], where)
        elif entry.kind == "register":
            for i, member in enumerate(body["plans"]):
                name = f"{body['registration']}/{i}"
                _new(names, name, where)
                if body["dataset"] in kin and purpose in (None, member["purpose"]):
                    _needs_budget(body, budget, dataset, purpose, where)
                    waiting[name] = runs[name] = _registered(body, member, name, budget, where)
        elif entry.kind == "reserve":
            _new(names, body["reservation"], where)
            if body["dataset"] in kin and purpose in (None, body["purpose"]):
                _needs_budget(body, budget, dataset, purpose, where)
                run = _reserved(body, budget, where)
                member_of = matching_member(waiting.values(), body["dataset"], body["plan"], body["purpose"])
                if member_of is not None:
                    run = replace(run, registration=member_of.registration, under=member_of.under)
                    del runs[member_of.reservation], waiting[member_of.reservation]
                runs[run.reservation] = run
        elif entry.kind == "settle":
            if body["reservation"] not in names:
                raise Unverified("a settlement of what was never reserved", where=where)
            if body["reservation"] in runs:
                runs[body["reservation"]] = _settled(runs[body["reservation"]], body, where)
    return budget, tuple(runs.values()), fixed


def matching_member(
    runs: Iterable[RunSpending], dataset: str, plan: Mapping[str, Any] | None, purpose: str
) -> RunSpending | None:
    """The first member of a pre-registered set that nobody took up yet and that is this very plan, or None."""
    for run in runs:
        if run.status == "registered" and (run.dataset, run.plan, run.purpose) == (dataset, plan, purpose):
            return run
    return None


def _new(names: set[str], name: str, where: str) -> None:
    if name in names:
        raise Unverified(f"reservation {name} is there twice", where=where)
    names.add(name)


def _needs_budget(
    body: Mapping[str, Any], budget: Budget | None, dataset: str, purpose: str | None, where: str
) -> None:
    if budget is None and purpose is None and body["dataset"] == dataset:
        raise Unverified("a reservation without a budget", where=where)


def _budget(epsilon: Any, delta: Any, order: Any, where: str) -> Budget:
    try:
        check_numbers(epsilon, delta)
    except BadPlan as error:
        raise Unverified(error.what, where=where) from None
    if isinstance(order, bool) or not isinstance(order, int | float) or not 1.01 < order < math.inf:
        raise Unverified("order must be a number above 1.01", where=where)
    return Budget(float(epsilon), float(delta), float(order))


def _registered(
    body: Mapping[str, Any], member: Mapping[str, Any], name: str, budget: Budget | None, where: str
) -> RunSpending:
    record = {**member, "reservation": name, "run": "", "dataset": body["dataset"], "at": body["at"]}
    run = _reserved(record, budget, where)
    return replace(
        run, run=f"set {name[:6]}, {name.rpartition('/')[2]}", status="registered", registration=body["registration"]
    )


def _reserved(body: Mapping[str, Any], budget: Budget | None, where: str) -> RunSpending:
    stated = {name: body[name] for name in ("plan", "events", "epsilon", "delta")}
    try:
        steps = _steps_of(json.dumps(stated, sort_keys=True))
    except Unverified as error:
        raise Unverified(error.what, where=f"{where}: {error.where}" if error.where else where) from None
    return RunSpending(
        reservation=body["reservation"],
        run=body["run"],
        epsilon=float(body["epsilon"]),
        delta=float(body["delta"]),
        steps_planned=steps,
        steps_taken=None,
        status="reserved",
        events=body["events"],
        under=budget,
        purpose=body["purpose"],
        dataset=body["dataset"],
        reserved_at=body["at"],
        plan=body["plan"],
    )


@lru_cache(maxsize=4096)
def _steps_of(stated: str) -> int:
    """How many steps a reservation is for, after everything it says has been held against everything else.

    Args:
        stated: ``plan``, ``events``, ``epsilon`` and ``delta``, as JSON.

    Raises:
        Unverified: It cannot be.
    """
    body = json.loads(stated)
    events = parse_events(body["events"])
    try:
        check_numbers(body["epsilon"], body["delta"])
        plan = None if body["plan"] is None else plan_from_record(body["plan"])
    except BadPlan as error:
        raise Unverified(error.what, where=error.where) from None
    if plan is not None and (plan.events, plan.epsilon, plan.delta) != (
        body["events"],
        body["epsilon"],
        body["delta"],
    ):
        raise Unverified("the events or the claim are not the plan's")
    return sum(event.count for event in events)


def _settled(run: RunSpending, body: Mapping[str, Any], where: str) -> RunSpending:
    """After a crash a run may settle twice: what was taken is then the most, and abandoned stays abandoned."""
    status, steps = body["status"], body["steps"]
    if status not in STATUSES:
        raise Unverified(f"a run settles as {', '.join(STATUSES)}", where=where)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= run.steps_planned:
        raise Unverified(f"steps must be a whole number from 0 to the {run.steps_planned} reserved", where=where)
    if "abandoned" in (run.status, status):
        status = "abandoned"
    elif "complete" in (run.status, status):
        status = "complete"
    return replace(run, status=status, steps_taken=max(steps, run.steps_taken or 0), settled_at=body["at"])
