"""The ledger: a data set's privacy budget, over everything ever done with it. A fold over log entries.

Plans are chosen after seeing what earlier plans gave, so that adding up their epsilons, or composing them as if they
had been fixed beforehand, proves nothing. What does is a Rényi filter: at one order that was fixed before the first
plan, the divergences of all that was ever reserved may add up to what the budget converts to, however the plans were
chosen (Feldman & Zrnic 2021, arXiv 2008.11193; fixed budgets of adaptive mechanisms: Rogers et al. 2016, arXiv
1605.08294). A single plan that nothing preceded is not adaptive, and may be held to the tighter PLD instead.

Sums are rounded up and what is left is rounded down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pellucid.errors import BadPlan, BudgetExceeded, Unverified
from pellucid.privacy import accounting
from pellucid.privacy.calibration import least_noise
from pellucid.privacy.events import round_epsilon_down, round_epsilon_up
from pellucid.privacy.parsing import parse_events
from pellucid.privacy.plan import Plan
from pellucid.privacy.plans import LedgerPlan, plan_from_record
from pellucid.privacy.spending import STATUSES, Budget, RunSpending, check_numbers, divergence_of, order_for, sum_up

if TYPE_CHECKING:
    from pellucid.log.entries import Entry

__all__ = ["Ledger", "check_new_budget"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The budget of one data set and all that was reserved from it.

    ``spent + reserved + left`` is the budget's epsilon up to rounding. They are epsilons at the budget's delta of the
    joint Rényi total, so the first run seems dearer than the next: converting has a price that is paid once.
    """

    dataset: str
    budget: Budget | None
    runs: tuple[RunSpending, ...] = ()

    @classmethod
    def fold(cls, entries: Iterable[Entry], dataset: str) -> Ledger:
        """The ledger of ``dataset`` after ``entries``, the whole log in order.

        A later budget replaces an earlier one, but for the order, which stays what it was when the first plan was
        reserved: choosing it after seeing results would undo the filter.

        Raises:
            Unverified: An entry of the ledger that cannot be: no number where one belongs, events that do not follow
                from the plan, a reservation twice, without a budget or settled unknown, more steps than reserved.
        """
        budget: Budget | None = None
        runs: dict[str, RunSpending] = {}
        elsewhere: set[str] = set()
        for entry in entries:
            where, body = f"log entry {entry.index}", entry.body
            if entry.kind == "budget" and body["dataset"] == dataset:
                order = next(iter(runs.values())).under.order if runs else body["order"]
                budget = _budget(body["epsilon"], body["delta"], order, where)
            elif entry.kind == "reserve":
                name = body["reservation"]
                if name in runs or name in elsewhere:
                    raise Unverified(f"reservation {name} is there twice", where=where)
                if body["dataset"] != dataset:
                    elsewhere.add(name)
                    continue
                if budget is None:
                    raise Unverified("a reservation without a budget", where=where)
                runs[name] = _reserved(body, budget, where)
            elif entry.kind == "settle" and body["reservation"] not in elsewhere:
                if body["reservation"] not in runs:
                    raise Unverified("a settlement of what was never reserved", where=where)
                runs[body["reservation"]] = _settled(runs[body["reservation"]], body, where)
        return cls(dataset, budget, tuple(runs.values()))

    @property
    def spent(self) -> float:
        """Epsilon of the settled runs, in millionths, rounded up. 0 if nothing was taken."""
        return _up(self._epsilon([run for run in self.runs if run.status != "reserved"]))

    @property
    def reserved(self) -> float:
        """What the open runs add to ``spent``, rounded up: they count whole until they settle."""
        return float(Decimal(repr(_up(self._epsilon(self.runs)))) - Decimal(repr(self.spent)))

    @property
    def left(self) -> float | None:
        """The budget less ``spent`` and ``reserved``, rounded down, never below 0; None where no budget was set."""
        if self.budget is None:
            return None
        used = Decimal(repr(_up(self._epsilon(self.runs))))
        return round_epsilon_down(float(max(Decimal(repr(self.budget.epsilon)) - used, Decimal(0))))

    def admit(self, plan: LedgerPlan) -> None:
        """Returns if the budget holds ``plan`` too; call it with the log locked, and reserve before unlocking.

        Either the Rényi total at the fixed order, of everything that counts and the whole plan, stays within the cap;
        or no step was ever taken or reserved, and the plan's PLD epsilon at the budget's delta is within the budget.

        Raises:
            BudgetExceeded: Neither holds, or no budget was set. Says what is spent, asked and left, and what fits.
        """
        if self.budget is None:
            raise BudgetExceeded(
                "no privacy budget was ever set, so nothing may be spent",
                where=self.dataset,
                fix=f"an owner sets one: pellucid budget set {self.dataset} --epsilon E --delta D",
            )
        total = self._total(self.runs)
        joint = sum_up([total, divergence_of(plan.events, plan.steps, self.budget.order)])
        if joint <= self.budget.cap:
            return
        first = not any(run.counted_steps() for run in self.runs)
        if first:
            asked = accounting.epsilon(plan.events, self.budget.delta)
            if asked <= self.budget.epsilon:
                return
        else:
            asked = self.budget.epsilon_of(joint) - self._epsilon(self.runs)
        raise BudgetExceeded(
            f"the plan asks for epsilon {_up(asked)} and {self.left} is left of {self.budget.epsilon}"
            f" ({self.spent} spent, {self.reserved} reserved)",
            where=self.dataset,
            fix=self._fitting(plan, self.budget, total, first=first),
        )

    def document(self) -> dict[str, Any]:
        """The ledger as ``pellucid budget --json`` prints it."""
        return {
            "dataset": self.dataset,
            "epsilon": None if self.budget is None else self.budget.epsilon,
            "delta": None if self.budget is None else self.budget.delta,
            "spent": self.spent,
            "reserved": self.reserved,
            "left": self.left,
            "runs": [run.document() for run in self.runs],
        }

    def _total(self, runs: Sequence[RunSpending]) -> float:
        return 0.0 if self.budget is None else sum_up([run.divergence(self.budget.order) for run in runs])

    def _epsilon(self, runs: Sequence[RunSpending], budget: Budget | None = None) -> float:
        """Epsilon of ``runs`` together, not rounded; of a single plan ever, its own claim where that is tighter."""
        budget = budget or self.budget
        if budget is None or not runs:
            return 0.0
        found = budget.epsilon_of(sum_up([run.divergence(budget.order) for run in runs]))
        counted = [run for run in self.runs if run.counted_steps()]
        if len(counted) == 1 and counted[0] in runs:
            (only,) = counted
            alone = only.epsilon if only.delta <= budget.delta else accounting.epsilon(only.events, budget.delta)
            found = min(found, alone)
        return found

    def _fitting(self, plan: LedgerPlan, budget: Budget, total: float, *, first: bool) -> str:
        """What of the same kind would fit, as advice."""
        owner = "ask an owner for a larger budget"
        if first:
            return f"calibrate the plan to epsilon {budget.epsilon} at delta {budget.delta}, or {owner}"
        if not isinstance(plan, Plan):
            return f"calibrate it to a smaller epsilon, or {owner}"
        room = budget.cap - total
        one = divergence_of(plan.events, 1, budget.order)
        steps = int(room / one * (1 - 1e-9)) * plan.bands if room > 0 else 0
        if steps < 1:
            return f"not one step of it fits any more; {owner}"

        def divergence(noise: float) -> float:
            return divergence_of(replace(plan, noise_multiplier=noise).events, plan.steps, budget.order)

        try:
            noise = f"a noise multiplier of {least_noise(divergence, room, plan.noise_multiplier)} fits, or "
        except BadPlan:
            noise = ""
        return f"{noise}{steps} of its {plan.steps} steps fit; or {owner}"


def check_new_budget(ledger: Ledger, epsilon: float, delta: float, *, units: int | None = None) -> None:
    """Returns if ``epsilon`` and ``delta`` may become the budget of ``ledger``.

    Raises:
        BadPlan: Out of range, a delta of 1/units or more, or less than is spent and reserved already.
    """
    order_for(epsilon, delta)
    if units is not None and delta * units >= 1:
        raise BadPlan(f"delta must be below 1/{units}, or it could give people away", where="delta")
    if ledger.runs:
        new = Budget(float(epsilon), float(delta), ledger.runs[0].under.order)
        used = ledger._epsilon(ledger.runs, new)
        if sum_up([run.divergence(new.order) for run in ledger.runs]) > new.cap and used > new.epsilon:
            raise BadPlan(
                f"epsilon {_up(used)} at delta {delta} is spent or reserved already, and cannot be taken back",
                where="epsilon",
                fix=f"a budget of at least {_up(used)}",
            )


def _up(epsilon: float) -> float:
    if not math.isfinite(epsilon):
        raise Unverified("the spending has no finite epsilon at the budget's order", where="ledger")
    return round_epsilon_up(epsilon) if epsilon > 0 else 0.0


def _budget(epsilon: Any, delta: Any, order: Any, where: str) -> Budget:
    try:
        check_numbers(epsilon, delta)
    except BadPlan as error:
        raise Unverified(error.what, where=where) from None
    if isinstance(order, bool) or not isinstance(order, int | float) or not 1.01 < order < math.inf:
        raise Unverified("order must be a number above 1.01", where=where)
    return Budget(float(epsilon), float(delta), float(order))


def _reserved(body: Mapping[str, Any], budget: Budget, where: str) -> RunSpending:
    events = parse_events(body["events"], where=f"{where}: events")
    _budget(body["epsilon"], body["delta"], budget.order, where)
    if body["plan"] is not None:
        try:
            plan = plan_from_record(body["plan"])
        except BadPlan as error:
            raise Unverified(error.what, where=f"{where}: {error.where}") from None
        if (plan.events, plan.epsilon, plan.delta) != (body["events"], body["epsilon"], body["delta"]):
            raise Unverified("the events or the claim are not the plan's", where=where)
    return RunSpending(
        reservation=body["reservation"],
        run=body["run"],
        epsilon=float(body["epsilon"]),
        delta=float(body["delta"]),
        steps_planned=sum(event.count for event in events),
        steps_taken=None,
        status="reserved",
        events=body["events"],
        under=budget,
    )


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
    return replace(run, status=status, steps_taken=max(steps, run.steps_taken or 0))
