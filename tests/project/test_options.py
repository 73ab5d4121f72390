"""One-line options of a run: averages, losses held to their word, little memory, and plans of every kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.project.conftest import Place, make_plan
from tests.project.test_own_loop import module_of, of, start
from torch import nn

from pellucid import Project
from pellucid.check import check
from pellucid.errors import Misuse
from pellucid.project.run import Run


def train(run: Run, **options: Any) -> nn.Module:
    module = module_of(run)
    model, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.5), **options)
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return module


def test_the_average_of_the_weights_is_what_the_run_saves(sealed: Place) -> None:
    with sealed.open("sid") as project, start(project) as run:
        module = train(run, average=0.9, memory="low", loss=nn.CrossEntropyLoss())
        saved = run.finish().module
        live = nn.utils.parameters_to_vector(module.parameters())
        assert not torch.equal(nn.utils.parameters_to_vector(saved.parameters()), live)
    assert of(sealed.open(), "training")["optimizer"]["average"] == 0.9


def test_a_loss_that_is_not_what_it_is_said_to_be_is_refused_before_the_first_step(sealed: Place) -> None:
    coupled = lambda out, y: nn.functional.cross_entropy(out - out.mean(0), y)  # noqa: E731 - three like it
    summed = nn.CrossEntropyLoss(reduction="sum")
    for loss, reduction, said in (
        (summed, "mean", "average"),
        (nn.CrossEntropyLoss(), "sum", "sum"),
        (coupled, "mean", "depends on the other rows"),
    ):
        with pytest.raises(Misuse, match=said), start(sealed.open("sid")) as run:
            train(run, loss=loss, reduction=reduction)
        assert run.steps_taken == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"clipping": "automatic"},
        {"clipping": "per_layer"},
        {"clipping": "adaptive"},
        {"mechanism": "banded", "bands": 3},
        {"augmentations": 2},
    ],
    ids=lambda changed: "-".join(map(str, changed.values())),
)
def test_a_plan_of_every_kind_trains_and_its_bundle_verifies(sealed: Place, changed: dict[str, Any]) -> None:
    plan = make_plan(**changed)
    with sealed.open("sid") as project:
        with start(project, plan=plan) as run:
            train(run)
        bundle = project.bundle("mine")
    owner: Project = sealed.open()
    result = check(bundle, sealed.policy, owners=[owner.owner])
    assert result.verification.ok
    values = of(owner, "training")
    assert all(values[name] == value for name, value in changed.items())


def test_a_recipe_with_every_lever_trains_and_says_so(sealed: Place) -> None:
    text = sealed.recipe.read_text(encoding="utf-8")
    text = text.replace(
        "[train]\n", '[train]\noptimizer = "dp-adam"\nschedule = "cosine"\nwarm_up = 0.1\naverage = 0.9\n', 1
    )
    kept = [line for line in text.splitlines() if not line.startswith(("momentum", 'optimizer = "sgd"'))]
    sealed.recipe.write_text("\n".join(kept), encoding="utf-8")
    sealed.train()
    values = of(sealed.open(), "training")
    assert values["optimizer"]["name"] == "DPAdamBC"
    assert values["optimizer"]["average"] == 0.9
    assert values["recipe"]["train"]["schedule"] == "cosine"
    assert values["status"] == "complete"
