"""DP-AdamBC against its formula, and against Adam where there is no noise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import BadPlan, Misuse
from pellucid.privacy import Plan
from pellucid.train import private
from pellucid.train.adam import DPAdamBC, noise_variance


def drawn(steps: int, size: int = 7) -> torch.Tensor:
    return torch.randn(steps, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def run(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradients: torch.Tensor) -> torch.Tensor:
    for gradient in gradients:
        weight.grad = gradient.to(weight.dtype)
        optimizer.step()
    return weight.detach()


@given(
    steps=st.integers(1, 20),
    lr=st.floats(1e-4, 1),
    betas=st.tuples(st.floats(0, 0.99), st.floats(0, 0.999)),
    variance=st.floats(0, 2),
    floor=st.none() | st.floats(1e-8, 1),
    decay=st.floats(0, 0.1),
)
def test_step_is_the_formula_written_out(
    steps: int, lr: float, betas: tuple[float, float], variance: float, floor: float | None, decay: float
) -> None:
    gradients = drawn(steps)
    weight = nn.Parameter(torch.ones(7, dtype=torch.float64))
    found = run(
        DPAdamBC([weight], lr, betas, noise_variance=variance, floor=floor, weight_decay=decay), weight, gradients
    )
    first, second = betas
    for i in range(7):
        w = 1.0
        for t in range(1, steps + 1):
            past = [float(g[i]) for g in gradients[:t]]
            m = sum((1 - first) * first ** (t - 1 - k) * g for k, g in enumerate(past)) / (1 - first**t)
            weights = [(1 - second) * second ** (t - 1 - k) / (1 - second**t) for k in range(t)]
            v = sum(share * g * g for share, g in zip(weights, past, strict=True))
            # variance of an average of squared Gaussians: 2·variance² times the sum of squared shares
            least = variance * math.sqrt(2 * sum(s * s for s in weights)) if floor is None else floor
            w = w * (1 - lr * decay) - lr * m / math.sqrt(max(v - variance, least, 1e-16))
        assert float(found[i]) == pytest.approx(w, rel=1e-6, abs=1e-6)


def test_without_noise_it_is_adam() -> None:
    one, other = nn.Parameter(torch.ones(7, dtype=torch.float64)), nn.Parameter(torch.ones(7, dtype=torch.float64))
    ours = run(DPAdamBC([one], 0.01, noise_variance=0.0), one, drawn(30))
    adam = run(torch.optim.Adam([other], 0.01, eps=0.0), other, drawn(30))
    torch.testing.assert_close(ours, adam, rtol=1e-9, atol=1e-9)


def test_weight_decay_is_that_of_adamw() -> None:
    one, other = nn.Parameter(torch.ones(7, dtype=torch.float64)), nn.Parameter(torch.ones(7, dtype=torch.float64))
    ours = run(DPAdamBC([one], 0.01, noise_variance=0.0, weight_decay=0.3), one, drawn(30))
    adam = run(torch.optim.AdamW([other], 0.01, eps=0.0, weight_decay=0.3), other, drawn(30))
    torch.testing.assert_close(ours, adam, rtol=1e-9, atol=1e-9)


def test_the_second_moment_is_that_of_the_gradient_without_noise() -> None:
    """Adam's step falls with the noise; ours is the step that the gradient alone would have made."""
    generator = torch.Generator().manual_seed(5)
    signal, std, steps = 1.0, 2.0, 2000
    moved = {}
    for name in ("adam", "ours"):
        weight = nn.Parameter(torch.zeros(500, dtype=torch.float64))
        made: torch.optim.Optimizer = torch.optim.Adam([weight], 1.0)
        if name == "ours":
            made = DPAdamBC([weight], 1.0, noise_variance=std**2)
        gradients = signal + std * torch.randn(steps, 500, dtype=torch.float64, generator=generator)
        halfway = run(made, weight, gradients[: steps // 2]).clone()
        moved[name] = float((run(made, weight, gradients[steps // 2 :]) - halfway).mean()) / (steps // 2)
    assert moved["ours"] == pytest.approx(-1.0, abs=0.15)
    assert moved["adam"] == pytest.approx(-signal / math.sqrt(signal**2 + std**2), abs=0.05)


def test_a_gradient_of_noise_alone_is_bounded_by_the_floor() -> None:
    weight = nn.Parameter(torch.zeros(100, dtype=torch.float64))
    optimizer = DPAdamBC([weight], 1.0, noise_variance=4.0)
    before = weight.detach().clone()
    for t, gradient in enumerate(2.0 * drawn(300, 100), 1):
        weight.grad = gradient
        optimizer.step()
        m = optimizer.state[weight]["exp_avg"] / (1 - 0.9**t)
        shares = torch.tensor([0.001 * 0.999**k for k in range(t)], dtype=torch.float64) / (1 - 0.999**t)
        floor = 4.0 * float((2 * shares.square().sum()).sqrt())
        moved = (weight.detach() - before).abs()
        assert bool((moved <= m.abs() / math.sqrt(floor) * (1 + 1e-9) + 1e-12).all())
        before = weight.detach().clone()


def test_variance_is_that_of_the_noise_the_engine_adds() -> None:
    plan = Plan(epsilon=1.0, delta=1e-6, units=6400, test=0.0, batch=160, epochs=1.0, clip=3.0, noise_multiplier=2.0)
    assert noise_variance(plan) == pytest.approx((2.0 * 3.0 / 160) ** 2)


def test_private_accepts_it_and_steps_it() -> None:
    plan = Plan(epsilon=1.0, delta=1e-6, units=64, test=0.0, batch=16, epochs=1.0, clip=1.0, noise_multiplier=1.0)
    module = nn.Linear(5, 3)
    made = DPAdamBC(module.parameters(), 0.1, noise_variance=noise_variance(plan))
    model, optimizer, batches = private(module, made, plan, torch.rand(64, 5), torch.randint(0, 3, (64,)))
    for rows, targets in batches:
        before = module.weight.detach().clone()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), targets).backward()
        optimizer.step()
        assert not torch.equal(module.weight.detach(), before)
    batches.close()
    assert float(made.state[module.weight]["step"]) == plan.steps


def test_state_survives_and_half_weights_have_float_moments() -> None:
    weight = nn.Parameter(torch.ones(7, dtype=torch.bfloat16))
    optimizer = DPAdamBC([weight], 0.01, noise_variance=0.1)
    run(optimizer, weight, drawn(3))
    assert optimizer.state[weight]["exp_avg_sq"].dtype == torch.float32
    one, other = nn.Parameter(torch.ones(7)), nn.Parameter(torch.ones(7))
    first = DPAdamBC([one], 0.01, noise_variance=0.1)
    whole = run(first, one, drawn(6))
    start = DPAdamBC([other], 0.01, noise_variance=0.1)
    run(start, other, drawn(6)[:3])
    onward = DPAdamBC([other], 0.5, noise_variance=0.0)
    onward.load_state_dict(start.state_dict())
    assert torch.equal(run(onward, other, drawn(6)[3:]), whole)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", -1.0),
        ("lr", math.nan),
        ("noise_variance", -1e-9),
        ("noise_variance", math.inf),
        ("floor", -1.0),
        ("weight_decay", math.nan),
        ("betas", (0.9, 1.0)),
        ("betas", (math.nan, 0.9)),
    ],
)
def test_refuses_numbers_out_of_range(name: str, value: object) -> None:
    arguments: dict[str, object] = {"noise_variance": 1.0, name: value}
    with pytest.raises(BadPlan, match=name):
        DPAdamBC([nn.Parameter(torch.ones(1))], **arguments)  # type: ignore[arg-type]


def test_refuses_a_closure() -> None:
    optimizer = DPAdamBC([nn.Parameter(torch.ones(1))], noise_variance=1.0)
    with pytest.raises(Misuse, match="closure"):
        optimizer.step(lambda: 0.0)


def test_skips_weights_without_gradient() -> None:
    one, idle = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = DPAdamBC([one, idle], 0.1, noise_variance=0.0)
    one.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(idle.detach(), torch.ones(2))
    assert not torch.equal(one.detach(), torch.ones(2))
