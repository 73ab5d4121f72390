"""One training by a recipe, from encoded rows to a plain module, which leaves nothing behind but that module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from pellucid.errors import Misuse
from pellucid.privacy import AnyPlan, BoostPlan
from pellucid.schema import Encoding
from pellucid.train.additive import Additive
from pellucid.train.averaging import MovingAverage
from pellucid.train.ebm import Boosting
from pellucid.train.engine import private, standard
from pellucid.train.recipes import Recipe, build, fit

__all__ = ["trial"]


def trial(
    recipe: Recipe,
    plan: AnyPlan,
    encoding: Encoding,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    people: torch.Tensor | None = None,
    on_step: Callable[[int], None] | None = None,
) -> nn.Module:
    """The module that ``recipe`` makes of the rows, all steps of ``plan``.

    Args:
        recipe: What is built and how it learns. Of its privacy nothing is used.
        plan: Sampling, noise and steps; its clip is the recipe's.
        encoding: Of the rows.
        x: (N, ``encoding.width``) float32.
        y: (N,) int64.
        people: As of :func:`~pellucid.train.engine.private`.
        on_step: Called after each step with how many were taken.

    Returns:
        A plain module in evaluation mode.

    Raises:
        Misuse: The plan is for another kind of model.
    """
    module = build(recipe, encoding)
    if recipe.boosting is not None:
        if not isinstance(plan, BoostPlan) or not isinstance(module, Additive):
            raise Misuse("this recipe is boosted, and the plan is for gradients", where="plan")
        boosting = Boosting(
            module,
            plan,
            x,
            y,
            learning_rate=recipe.learning_rate,
            leaves=recipe.boosting.leaves,
            on_step=on_step,
        )
        boosting.run()
        boosting.close()
        return module.eval()
    if isinstance(plan, BoostPlan):
        raise Misuse("this plan is for boosting, and the recipe takes gradients", where="plan")
    plan = replace(plan, clip=recipe.clip)
    average = MovingAverage(module, recipe.average) if recipe.average else None

    def after(step: int) -> None:
        if average is not None:
            average.update()
        if on_step is not None:
            on_step(step)

    optimizer = recipe.make_optimizer(module, plan)
    loss = nn.CrossEntropyLoss()
    model, stepper, batches = private(module, optimizer, plan, x, y, loss=loss, people=people, on_step=after)
    fit(model, stepper, batches, recipe.make_schedule(stepper, plan.steps))
    plain = standard(model)
    return plain if average is None else average.copy(plain)
