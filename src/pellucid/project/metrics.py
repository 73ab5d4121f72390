"""Scores of a model on private people, released: paid from the data set's budget, so that they may be looked at.

:func:`release_evaluation` is an evaluation that a guarantee covers; :func:`release_scores` judges a model on its way,
so that a training may stop early by what it says. Both come from one noisy histogram (:mod:`pellucid.privacy.scores`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pellucid.errors import BadPlan, UnsupportedModel
from pellucid.evidence import Estimate, Evidence, Subject
from pellucid.privacy import StatisticsPlan
from pellucid.privacy.scores import of_model, rates, roc_area
from pellucid.project.project import Project, stamp
from pellucid.project.scoring import cells, judged
from pellucid.project.statistics import claim, how, paid, plan_for

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pellucid.project import data
    from pellucid.project.model import Trained

__all__ = ["Scores", "release_evaluation", "release_scores"]

_ERROR = {"confidence": 0.95, "interval": "of noise, people held out and ties in a bin together; one at a time"}


@dataclass(frozen=True, slots=True)
class Scores:
    """What was released: a model's scores, with intervals.

    Attributes:
        label: Of the release.
        plan: What was reserved for it.
        accuracy: Of the people held out.
        auc: The same, of two classes; else None.
        base_rate: Share of the last class, of two.
    """

    label: str
    plan: StatisticsPlan
    accuracy: Estimate
    auc: Estimate | None = None
    base_rate: Estimate | None = None

    def values(self) -> dict[str, Any]:
        """By name, as evidence has them."""
        named = {"accuracy": self.accuracy, "auc": self.auc, "base_rate": self.base_rate}
        return {name: estimate.values() for name, estimate in named.items() if estimate is not None}


def release_evaluation(trained: Trained, *, epsilon: float, delta: float | None = None) -> Evidence:
    """Evidence of the model's quality that a guarantee of its own covers.

    Raises:
        UnsupportedModel: The model tells apart more than two classes.
        BadPlan, BudgetExceeded, Denied: As of :func:`release_scores`.
    """
    if len(trained.encoding.classes) != 2:
        raise UnsupportedModel(
            "a released evaluation is of two classes", where="model", fix="evaluate() without release"
        )
    x, y = trained.held_out()
    scores = _release(
        trained.project,
        trained.sealed,
        trained.subject.name,
        trained.module,
        x,
        y,
        purpose=trained.purpose,
        test=trained.test,
        epsilon=epsilon,
        delta=delta,
        ranked=True,
    )
    values = {
        **scores.values(),
        "majority_accuracy": _majority(scores.base_rate or scores.accuracy).values(),
        "released": {"name": scores.label, **claim(scores.plan, trained.sealed)},
    }
    made = how(scores.plan, trained.sealed)
    return Evidence("evaluation", trained.subject, values, made, "own-release", _ERROR, tier="auditor")


def release_scores(
    project: Project,
    sealed: data.Sealed,
    label: str,
    module: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    purpose: str,
    test: float,
    epsilon: float,
    delta: float | None = None,
    ranked: bool = False,
) -> Scores:
    """Scores of a model as it is, left as evidence of a release about the data set.

    Args:
        project: Where.
        sealed: The data set version whose held-out people are scored.
        label: Of the model.
        module: The model: post-processing of what was released or paid for already.
        x: Inputs of all people held out, one row of each.
        y: Their targets.
        purpose: What for.
        test: The share held out.
        epsilon: The most that this release may cost.
        delta: At this delta; default that of the budget.
        ranked: Whether the AUC is wanted too, of two classes, at the price of more noise on the accuracy.

    Raises:
        BadPlan: Nobody is held out, or the price cannot be meant.
        BudgetExceeded: The budget does not hold it.
        Denied: The policy says no.
    """
    numbers: dict[str, Any] = {"purpose": purpose, "test": test, "epsilon": epsilon, "delta": delta, "ranked": ranked}
    scores = _release(project, sealed, label, module, x, y, **numbers)
    (statistic,) = scores.plan.statistics
    values = {
        "name": scores.label,
        "statistics": [{**statistic.record(), "name": "scores", "estimates": scores.values()}],
        "part": scores.plan.part,
        "test": scores.plan.test,
        **claim(scores.plan, sealed),
    }
    subject = Subject(sealed.label, sealed.manifest_sha256)
    project.publish([Evidence("release", subject, values, stamp(how(scores.plan, sealed)), "own-release", _ERROR)])
    return scores


def _release(
    project: Project,
    sealed: data.Sealed,
    label: str,
    module: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    purpose: str,
    test: float,
    epsilon: float,
    delta: float | None,
    ranked: bool,
) -> Scores:
    if not test:
        raise BadPlan("nobody is held out to score", where="test", fix="plan with a held-out share")
    asked = of_model(label, ranked=ranked)
    plan = plan_for(project, sealed, (asked,), epsilon=epsilon, delta=delta, test=test, part="held-out")
    name = f"{label.rpartition('@')[0][:55]}-scores"
    with paid(project, sealed, plan, name=name, purpose=purpose) as spending:
        noisy = spending.noisy(lambda: cells(judged(module, x, y), ranked=ranked), plan.noise_multiplier)
    people, sigma = round(plan.units * test), plan.noise_multiplier
    found = rates(noisy, sigma, people)
    area = roc_area(noisy, sigma, people) if ranked else None
    return Scores(spending.label, plan, found["accuracy"], area, found.get("base_rate"))


def _majority(base_rate: Estimate) -> Estimate:
    """How right it is always to say the more frequent class."""
    ends = [max(share, 1 - share) for share in (base_rate.low, base_rate.high)]
    low = 0.5 if base_rate.low <= 0.5 <= base_rate.high else min(ends)
    value = max(base_rate.value, 1 - base_rate.value)
    return Estimate(value, low, max(ends), base_rate.n)
