"""Reserving a plan: in one transaction with the look at what is left, before anything private is seen."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from pellucid.errors import BudgetExceeded
from pellucid.log.entries import Entry, seal_record
from pellucid.privacy import Ledger, LedgerPlan, ledgers_of
from pellucid.project.budgets import alert
from pellucid.project.drawer import destroy
from pellucid.project.project import Project
from pellucid.project.reservations import clear, folder, lock, settle, unlock

__all__ = ["Reservation", "reserve"]


@dataclass(slots=True)
class Reservation:
    """A plan that the ledger counts.

    Attributes:
        project: Where.
        name: In the log.
        label: What it makes, as ``credit-risk@1``.
        index: The entry of the log.
        lock: Held while this process lives, so that others can tell a dead reservation from a live one.
    """

    project: Project
    name: str
    label: str
    index: int
    lock: TextIO

    def settle(self, status: str, steps: int) -> None:
        """Record what was taken, and end. What nobody may read is destroyed first: whoever is killed leaves no key."""
        destroy(folder(self.project, self.name))
        try:
            settle(self.project, self.label, self.name, status=status, steps=steps)
        except BaseException:
            self.lock.close()  # as of a process that died: its whole plan counts
            raise
        clear(self.project, self.name)
        unlock(self.project, self.name, self.lock)


def reserve(
    project: Project,
    dataset: str,
    plan: LedgerPlan,
    *,
    name: str,
    purpose: str,
    fitting: Callable[[Ledger], str] | None = None,
) -> Reservation:
    """Write the whole plan into the ledger of ``dataset``.

    It has to fit every budget it counts against: the data set's, that of the purpose, and those of data sets that share
    people with it.

    Args:
        project: Where.
        dataset: Its name, without version.
        plan: What will be done.
        name: Of what it makes, without version.
        purpose: What for.
        fitting: What to do if the budget does not hold the plan, in words; default the ledger's own.

    Raises:
        BudgetExceeded: It does not; nothing is reserved.
    """
    reservation = secrets.token_hex(8)
    held = lock(project, reservation)
    try:
        with project.writing() as writer:
            entries = project.counted()
            affected = ledgers_of(entries, dataset, purpose)
            for ledger in affected:
                try:
                    ledger.admit(plan, purpose)
                except BudgetExceeded as error:
                    if fitting is not None and ledger.budget is not None:
                        error.fix = fitting(ledger)
                    raise
            label = f"{name}@{_next_version(entries, name)}"
            fields = {
                "reservation": reservation,
                "dataset": dataset,
                "run": label,
                "plan": plan.record(),
                "events": plan.events,
                "epsilon": plan.epsilon,
                "delta": plan.delta,
                "purpose": purpose,
            }
            index = writer.append(seal_record("reserve", fields, project.identity.signing, project.moment()))
    except BaseException:
        unlock(project, reservation, held)
        raise
    alert(project, affected)
    return Reservation(project, reservation, label, index, held)


def _next_version(entries: Sequence[Entry], name: str) -> int:
    taken = [
        int(entry.body["run"].rpartition("@")[2])
        for entry in entries
        if entry.kind == "reserve" and entry.body["run"].rpartition("@")[0] == name
    ]
    return max(taken, default=0) + 1
