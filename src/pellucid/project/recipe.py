"""Training without writing code: a recipe, a governed run, and the evidence that a report needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.errors import Misuse
from pellucid.project import data
from pellucid.project.project import Project
from pellucid.project.run import Run

if TYPE_CHECKING:
    from pellucid.train import Recipe

__all__ = ["Outcome", "resume", "train"]

Begin = Callable[[Run], None]
Step = Callable[[int, int], None]
Phase = Callable[[str], None]


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
    on_begin: Begin | None = None,
    on_step: Step | None = None,
    on_phase: Phase | None = None,
    checkpoint_every: int | None = None,
) -> Outcome:
    """Train by a recipe: plan, decide, reserve, train, evaluate, explain, settle.

    Args:
        project: Where.
        name: The model's name; a name used before makes its next version.
        dataset: The sealed data set.
        purpose: What for.
        recipe: The recipe's file.
        on_begin: Called with the run before its first step.
        on_step: Called with steps done and steps in all.
        on_phase: Called with what begins after the last step, in words for a person: the same for every data set.
        checkpoint_every: Steps between checkpoints; 0 for none, None for about once a minute.

    Raises:
        BadFile, BadPlan: The recipe does not parse or cannot be meant.
        Denied, BudgetExceeded: The policy or the budget says no; nothing was decrypted.
    """
    from pellucid.train import Recipe

    parsed = Recipe.read(recipe)
    sealed = data.dataset(project, dataset)
    plan = parsed.make_plan(sealed.schema)
    run = Run(
        project,
        name,
        data=dataset,
        purpose=purpose,
        plan=plan,
        features=parsed.features,
        recipe=parsed,
        on_step=on_step,
        checkpoint_every=checkpoint_every,
    )
    return _carry_out(run, parsed, on_begin, on_phase)


def resume(
    project: Project,
    name: str,
    *,
    dataset: str | None = None,
    purpose: str | None = None,
    recipe: Path | None = None,
    on_begin: Begin | None = None,
    on_step: Step | None = None,
    on_phase: Phase | None = None,
    checkpoint_every: int | None = None,
) -> Outcome:
    """Go on with a training by a recipe that was killed.

    Args:
        project: Where.
        name: The run, with or without version.
        dataset: As :func:`train` was given it, if it shall be held against the checkpoint.
        purpose: The same.
        recipe: The same.
        on_begin: As of :func:`train`.
        on_step: As of :func:`train`.
        on_phase: As of :func:`train`.
        checkpoint_every: As of :func:`train`.

    Raises:
        UnknownName: No such run waits.
        Denied: Somebody else reserved it, or the policy says no by now.
        Misuse: Data set, purpose or recipe are others than the run began with, or it is not by a recipe.
        Tampered: The checkpoint is not what was signed.
    """
    from pellucid.project.resume import resume as resume_run
    from pellucid.train import Recipe

    run = resume_run(project, name, on_step=on_step, checkpoint_every=checkpoint_every)
    if run.recipe is None:
        raise Misuse(
            "this run is not by a recipe", where=run.label, fix="call project.resume in the code that began it"
        )
    given = {
        "--data": dataset is None or dataset in (run.dataset, run.dataset.rpartition("@")[0]),
        "--purpose": purpose is None or purpose == run.purpose,
        "--recipe": recipe is None or Recipe.read(recipe) == run.recipe,
    }
    for option, fits in given.items():
        if not fits:
            raise Misuse("the run began with another; a run goes on as it began", where=option, fix="leave it out")
    return _carry_out(run, run.recipe, on_begin, on_phase)


def _carry_out(run: Run, recipe: Recipe, on_begin: Begin | None, on_phase: Phase | None) -> Outcome:
    say = on_phase or (lambda _: None)
    with run:
        if on_begin is not None:
            on_begin(run)
        _fit(run, recipe)
        say(f"saving {run.label}")
        trained = run.finish()
        say(f"evaluating {run.label} on people held out")
        run.evaluate()
        say(f"explaining {run.label}, and testing the explanation")
        run.explain()
        status = "complete" if run.steps_taken == run.plan.steps else "stopped"
    return Outcome(run.label, trained.subject.sha256, run.plan.epsilon, run.plan.delta, run.steps_taken, status)


def _fit(run: Run, recipe: Recipe) -> None:
    """All steps of the plan, in the recipe's way."""
    from torch.nn import CrossEntropyLoss

    from pellucid.privacy import BoostPlan
    from pellucid.train import build, fit
    from pellucid.train.additive import Additive

    module, plan = build(recipe, run.encoding), run.plan
    if recipe.boosting is not None and isinstance(module, Additive):
        run.boost(module, learning_rate=recipe.learning_rate, leaves=recipe.boosting.leaves)
    elif not isinstance(plan, BoostPlan):
        optimizer = recipe.make_optimizer(module, plan)
        private = run.private(module, optimizer, loss=CrossEntropyLoss(), average=recipe.average or None)
        schedule = recipe.make_schedule(private[1], plan.steps)
        if schedule is not None:
            run.keep("schedule", schedule)
        fit(*private, schedule)
