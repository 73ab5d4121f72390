"""PROTECT, the privacy room: what a training may cost, what was spent, and what an attacker finds.

:class:`Plan` couples sampling, clipping, noise and steps; :func:`epsilon` accounts for them, twice if asked;
:class:`Ledger` holds a data set's budget over everything ever done with it; :func:`membership_bound` measures from
below what the accountants bound from above. Importing this costs no more than the standard library.
"""

from typing import TYPE_CHECKING, Any

from pellucid.privacy import accounting
from pellucid.privacy.accounting import epsilon, rdp
from pellucid.privacy.adaptive import adaptive_split
from pellucid.privacy.banded import banded_coefficients, correlate, prefix_error
from pellucid.privacy.boosting import BoostPlan
from pellucid.privacy.budget import Ledger, check_new_budget, ledgers_of
from pellucid.privacy.folding import purposes_with_budgets, related
from pellucid.privacy.plan import Plan
from pellucid.privacy.plans import AnyPlan, LedgerPlan, plan_from_record
from pellucid.privacy.spending import Budget, RunSpending, order_for
from pellucid.privacy.statistics import Statistic, StatisticsPlan
from pellucid.privacy.tuning import TuningPlan

if TYPE_CHECKING:
    from pellucid.privacy.attack import AttackBound, membership_bound

__all__ = [
    "AnyPlan",
    "AttackBound",
    "BoostPlan",
    "Budget",
    "Ledger",
    "LedgerPlan",
    "Plan",
    "RunSpending",
    "Statistic",
    "StatisticsPlan",
    "TuningPlan",
    "accounting",
    "adaptive_split",
    "banded_coefficients",
    "check_new_budget",
    "correlate",
    "epsilon",
    "ledgers_of",
    "membership_bound",
    "order_for",
    "plan_from_record",
    "prefix_error",
    "purposes_with_budgets",
    "rdp",
    "related",
]


def __getattr__(name: str) -> Any:
    if name in ("AttackBound", "membership_bound"):  # numpy costs more than all the rest
        from pellucid.privacy import attack

        return getattr(attack, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
