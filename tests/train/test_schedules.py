"""Learning-rate schedules over the steps of a plan."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import BadPlan, UnknownName
from pellucid.privacy import Plan
from pellucid.train import private
from pellucid.train.schedules import factor, schedule

KINDS = ("constant", "linear", "cosine")


def rates(steps: int, kind: str, warm_up: int, last: float = 0.0, more: int = 0) -> list[float]:
    """What the optimizer's rate is in each step."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=3.0)
    made = schedule(optimizer, steps, kind, warm_up=warm_up, last=last)
    found = []
    for _ in range(steps + more):
        found.append(optimizer.param_groups[0]["lr"])
        weight.grad = torch.ones(1)
        optimizer.step()
        made.step()
    return found


@given(st.data(), st.integers(1, 60), st.sampled_from(KINDS), st.floats(0, 1))
def test_rises_then_falls_and_stays_above_zero_within_the_plan(
    data: st.DataObject, steps: int, kind: str, last: float
) -> None:
    warm_up = data.draw(st.integers(0, steps - 1))
    found = rates(steps, kind, warm_up, last)
    assert found[warm_up] == 3.0
    assert all(0 < rate <= 3.0 for rate in found)
    assert found[: warm_up + 1] == sorted(found[: warm_up + 1])
    assert found[warm_up:] == sorted(found[warm_up:], reverse=True)
    assert all(rate >= last * 3.0 * (1 - 1e-12) for rate in found[warm_up:])


def test_values_are_those_of_the_formulas() -> None:
    assert rates(4, "constant", 0) == [3.0] * 4
    assert rates(4, "linear", 0) == pytest.approx([3.0, 2.25, 1.5, 0.75])
    assert rates(4, "cosine", 0) == pytest.approx([1.5 * (1 + math.cos(math.pi * t / 4)) for t in range(4)])
    assert rates(6, "linear", 2, last=0.5) == pytest.approx([1.0, 2.0, 3.0, 2.625, 2.25, 1.875])
    assert rates(5, "constant", 3) == pytest.approx([0.75, 1.5, 2.25, 3.0, 3.0])


@given(st.sampled_from(KINDS), st.integers(1, 30), st.floats(0, 1), st.integers(0, 50))
def test_stays_at_its_end_after_the_last_step(kind: str, steps: int, last: float, beyond: int) -> None:
    end = 1.0 if kind == "constant" else last
    assert factor(steps + beyond, steps=steps, kind=kind, warm_up=0, last=last) == pytest.approx(end, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_works_on_the_optimizer_that_private_returns(kind: str) -> None:
    plan = Plan(epsilon=1.0, delta=1e-6, units=64, test=0.0, batch=16, epochs=1.5, clip=1.0, noise_multiplier=1.0)
    module = nn.Linear(5, 3)
    x, y = torch.rand(64, 5), torch.randint(0, 3, (64,))
    model, optimizer, batches = private(module, torch.optim.SGD(module.parameters(), lr=3.0), plan, x, y)
    made = schedule(optimizer, plan.steps, kind, warm_up=2)
    found = []
    for rows, targets in batches:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), targets).backward()
        before = module.weight.detach().clone()
        optimizer.step()
        # the rate is the one the step is taken with
        torch.testing.assert_close(before - module.weight.detach(), found[-1] * module.weight.grad)
        made.step()
    batches.close()
    assert found == pytest.approx(rates(plan.steps, kind, 2))


def test_refuses_an_unknown_kind_and_names_the_nearest() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(UnknownName, match='did you mean "cosine"'):
        schedule(optimizer, 10, "cosin")


@pytest.mark.parametrize(
    ("steps", "warm_up", "last", "where"),
    [
        (0, 0, 0.0, "steps"),
        (10, 10, 0.0, "warm_up"),
        (10, -1, 0.0, "warm_up"),
        (10, 0, 1.5, "last"),
        (10, 0, math.nan, "last"),
    ],
)
def test_refuses_numbers_out_of_range(steps: int, warm_up: int, last: float, where: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(BadPlan, match=where):
        schedule(optimizer, steps, "linear", warm_up=warm_up, last=last)
