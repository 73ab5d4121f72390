"""Training without writing code: a recipe, a governed run, and the evidence that a report needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.privacy import Plan
from pellucid.project import data
from pellucid.project.project import Project
from pellucid.project.run import Run

__all__ = ["Outcome", "train"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a governed training left behind."""

    model: str
    digest: str
    epsilon: float
    delta: float
    steps: int
    status: str

    def document(self) -> dict[str, Any]:
        """The ``--json`` document of ``pellucid train``."""
        return {name: getattr(self, name) for name in self.__slots__}


def train(
    project: Project,
    name: str,
    *,
    dataset: str,
    purpose: str,
    recipe: Path,
    on_step: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Train by a recipe: plan, decide, reserve, train, evaluate, explain, settle.

    Args:
        project: Where.
        name: The model's name; a name used before makes its next version.
        dataset: The sealed data set.
        purpose: What for.
        recipe: The recipe's file.
        on_step: Called with steps done and steps in all.

    Raises:
        BadFile, BadPlan: The recipe does not parse or cannot be meant.
        Denied, BudgetExceeded: The policy or the budget says no; nothing was decrypted.
    """
    from pellucid.train import Recipe, build, fit

    parsed = Recipe.read(recipe)
    sealed = data.dataset(project, dataset)
    plan = Plan.calibrate(**parsed.plan_arguments(sealed.schema.units))
    run = Run(
        project,
        name,
        data=dataset,
        purpose=purpose,
        plan=plan,
        features=parsed.features,
        recipe=parsed,
        on_step=on_step,
    )
    with run:
        module = build(parsed, run.encoding)
        fit(*run.private(module, parsed.make_optimizer(module)))
        trained = run.finish()
        run.evaluate()
        run.explain()
        status = "complete" if run.steps_taken == plan.steps else "stopped"
    return Outcome(run.label, trained.subject.sha256, plan.epsilon, plan.delta, run.steps_taken, status)
