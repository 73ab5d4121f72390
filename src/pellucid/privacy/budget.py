"""The ledger: a data set's privacy budget, over everything ever done with it. A fold over log entries.

Plans are chosen after seeing what earlier plans gave, so that adding up their epsilons, or composing them as if they
had been fixed beforehand, proves nothing. What does is a Rényi filter: at one order that was fixed before the first
plan, the divergences of all that was ever reserved may add up to what the budget converts to, however the plans were
chosen (Feldman & Zrnic 2021, arXiv 2008.11193; fixed budgets of adaptive mechanisms: Rogers et al. 2016, arXiv
1605.08294). Plans that were all fixed before anything was released are not adaptive, a single one or a pre-registered
set, and may be held to the tighter PLD of their composition instead. docs/budget.md tells it at length.

Sums are rounded up and what is left is rounded down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import BadPlan, Unverified
from pellucid.privacy import accounting
from pellucid.privacy.admission import admit
from pellucid.privacy.events import round_epsilon_down, round_epsilon_up
from pellucid.privacy.folding import fold_spending, purposes_with_budgets, related
from pellucid.privacy.plans import LedgerPlan
from pellucid.privacy.spending import Budget, RunSpending, order_for, sum_up

if TYPE_CHECKING:
    from pellucid.log.entries import Entry

__all__ = ["ALERTS", "Ledger", "check_new_budget", "ledgers_of"]

ALERTS: Final = (0.5, 0.8, 0.95)
"""Shares of a budget, spent and reserved, at which whoever reserves is told."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The budget of one data set, or of one purpose in it, and all that counts against it.

    ``spent + reserved + left`` is the budget's epsilon up to rounding. They are epsilons at the budget's delta of the
    joint Rényi total, so the first run seems dearer than the next: converting has a price that is paid once.

    Attributes:
        dataset: Whose people.
        budget: What is in force; None where none was set.
        runs: What was reserved or registered, in the order of the log, of all data sets that share people.
        purpose: The one purpose that this is the budget of; None is everything.
        order: The Rényi order that every budget to come has to keep; None while nothing was ever reserved.
    """

    dataset: str
    budget: Budget | None
    runs: tuple[RunSpending, ...] = ()
    purpose: str | None = None
    order: float | None = None

    @classmethod
    def fold(cls, entries: Iterable[Entry], dataset: str, purpose: str | None = None) -> Ledger:
        """The ledger of ``dataset`` after ``entries``, the whole log in order.

        Raises:
            Unverified: An entry of the ledger that cannot be: no number where one belongs, events that do not follow
                from the plan, a reservation twice, without a budget or settled unknown, more steps than reserved.
        """
        budget, runs, order = fold_spending(tuple(entries), dataset, purpose)
        return cls(dataset, budget, runs, purpose, order)

    @property
    def name(self) -> str:
        """What it is the budget of, for messages."""
        return self.dataset if self.purpose is None else f'{self.dataset}, purpose "{self.purpose}"'

    @property
    def spent(self) -> float:
        """Epsilon of the settled runs, in millionths, rounded up. 0 if nothing was taken."""
        return min(self._up(self._settled()), self._up(self.runs))  # of a part, another accountant may be tighter

    @property
    def reserved(self) -> float:
        """What open runs and registered plans add to ``spent``, rounded up: they count whole until they settle."""
        return float(Decimal(repr(self._up(self.runs))) - Decimal(repr(self.spent)))

    @property
    def left(self) -> float | None:
        """The budget less ``spent`` and ``reserved``, rounded down, never below 0; None where no budget was set."""
        return self._left(self._up(self.runs))

    @property
    def alert(self) -> float | None:
        """The largest of :data:`ALERTS` that is reached, or None."""
        return self._alert(self._up(self.runs))

    @property
    def untouched(self) -> bool:
        """Whether nothing counts: no step was ever taken, reserved or registered."""
        return not any(run.counted_steps() for run in self.runs)

    def divergence(self) -> float:
        """The Rényi total at the budget's order, rounded up; 0 without a budget."""
        return 0.0 if self.budget is None else sum_up([run.divergence(self.budget.order) for run in self.runs])

    def epsilon(self, runs: Sequence[RunSpending], budget: Budget | None = None) -> float:
        """Epsilon of ``runs`` together, not rounded, under ``budget``, by default the one in force; may be inf.

        By Rényi; where all that counts was fixed before anything was released, by PLD if that is tighter.
        """
        budget = budget or self.budget
        if budget is None or not runs:
            return 0.0
        found = budget.epsilon_of(sum_up([run.divergence(budget.order) for run in runs]))
        counted = [run for run in runs if run.counted_steps()]
        if counted and _fixed_together([run for run in self.runs if run.counted_steps()]):
            found = min(found, _joint(counted, budget.delta))
        return found

    def admit(self, plan: LedgerPlan, purpose: str | None = None) -> None:
        """Returns if the budget holds ``plan`` too; call it with the log locked, and reserve before unlocking.

        Either the Rényi total at the fixed order, of everything that counts and the whole plan, stays within the cap;
        or no step was ever taken or reserved, and the plan's PLD epsilon at the budget's delta is within the budget; or
        it is a member of a pre-registered set that nobody took up yet, for this purpose.

        Raises:
            BudgetExceeded: None holds, or no budget was set. Says what is spent, asked and left, and what fits.
        """
        admit(self, [plan], purpose)

    def admit_together(self, plans: Sequence[LedgerPlan]) -> None:
        """Returns if the budget holds all of ``plans``, fixed now: as :meth:`admit`, of their composition.

        Raises:
            BudgetExceeded: It does not.
        """
        admit(self, plans, None)

    def document(self) -> dict[str, Any]:
        """The ledger as ``pellucid budget --json`` prints it."""
        used = self._up(self.runs)
        settled = self._settled()
        spent = used if len(settled) == len(self.runs) else min(self._up(settled), used)
        return {
            "dataset": self.dataset,
            "epsilon": None if self.budget is None else self.budget.epsilon,
            "delta": None if self.budget is None else self.budget.delta,
            "spent": spent,
            "reserved": float(Decimal(repr(used)) - Decimal(repr(spent))),
            "left": self._left(used),
            "alert": self._alert(used),
            "runs": [run.document() for run in self.runs],
        }

    def _settled(self) -> list[RunSpending]:
        return [run for run in self.runs if run.status not in ("reserved", "registered")]

    def _left(self, used: float) -> float | None:
        if self.budget is None:
            return None
        return round_epsilon_down(float(max(Decimal(repr(self.budget.epsilon)) - Decimal(repr(used)), Decimal(0))))

    def _alert(self, used: float) -> float | None:
        if self.budget is None:
            return None
        return max((level for level in ALERTS if used / self.budget.epsilon >= level), default=None)

    def _up(self, runs: Sequence[RunSpending]) -> float:
        epsilon = self.epsilon(runs)
        if not math.isfinite(epsilon):
            # nothing more is admitted; what to show is what their claims add up to, at deltas that add up too
            epsilon = math.fsum(run.epsilon for run in runs if run.counted_steps())
        return round_epsilon_up(epsilon) if epsilon > 0 else 0.0


def ledgers_of(entries: Sequence[Entry], dataset: str, purpose: str) -> list[Ledger]:
    """Every ledger that a plan on ``dataset`` for ``purpose`` counts in, and so has to fit.

    The data set's own first; that of the purpose where a steward gave it one; and those of all data sets that share
    people with it, where one was set.

    Raises:
        Unverified: As :meth:`Ledger.fold`.
    """
    found = [Ledger.fold(entries, dataset)]
    others = sorted(related(entries, dataset) - {dataset})
    for name in (dataset, *others):
        ledger = Ledger.fold(entries, name) if name != dataset else None
        if ledger is not None and ledger.budget is not None:
            found.append(ledger)
        if purpose in purposes_with_budgets(entries, name):
            found.append(Ledger.fold(entries, name, purpose))
    return found


def check_new_budget(ledger: Ledger, epsilon: float, delta: float, *, units: int | None = None) -> None:
    """Returns if ``epsilon`` and ``delta`` may become the budget of ``ledger``.

    Raises:
        BadPlan: Out of range, a delta of 1/units or more, or less than is spent and reserved already.
    """
    order = order_for(epsilon, delta)
    if units is not None and delta * units >= 1:
        raise BadPlan(
            f"delta must be below 1/{units}, or it could give people away",
            where="delta",
            fix=f"a tenth of that or less, such as {10.0 ** math.floor(math.log10(0.1 / units)):g}",
        )
    if not ledger.untouched:
        new = Budget(float(epsilon), float(delta), ledger.order or order)
        used = ledger.epsilon(ledger.runs, new)
        if sum_up([run.divergence(new.order) for run in ledger.runs]) > new.cap and used > new.epsilon:
            raise BadPlan(
                f"epsilon {round_epsilon_up(used)} at delta {delta} is spent or reserved already, and cannot be taken"
                " back"
                if math.isfinite(used)
                else "what is spent cannot be held to this budget",
                where="epsilon",
                fix=f"a budget of at least {round_epsilon_up(used)}" if math.isfinite(used) else "leave the budget",
            )


def _fixed_together(runs: Sequence[RunSpending]) -> bool:
    """Whether a single plan, or plans of one pre-registered set, is all there is."""
    return len(runs) == 1 or (runs[0].registration is not None and len({run.registration for run in runs}) == 1)


def _joint(runs: Sequence[RunSpending], delta: float) -> float:
    """Epsilon at ``delta`` of ``runs`` composed, whole; inf where no accountant can or there is no privacy to state."""
    if len(runs) == 1 and runs[0].delta <= delta:
        return runs[0].epsilon
    try:
        return accounting.epsilon([event for run in runs for event in run.events], delta)
    except Unverified:
        return math.inf
