"""Adam for noisy gradients: the noise's variance is known, so it is taken out of the second moment.

Tang, Shpilevskiy and Lécuyer (2024, arXiv 2312.14334): under DP the second moment is mostly the noise's own variance,
the same for every weight, which turns Adam into SGD with momentum. Subtracting it costs no privacy: it is public.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from pellucid.errors import BadPlan, Misuse

if TYPE_CHECKING:
    from pellucid.privacy import Plan

__all__ = ["DPAdamBC", "noise_variance"]

LEAST = 1e-16  # the square of Adam's epsilon: what is divided by is never zero


def noise_variance(plan: Plan) -> float:
    """Variance of the noise in every coordinate of the gradient that the optimizer sees: ``(sigma·C / batch)²``.

    Raises:
        BadPlan: It differs from step to step: the clip moves, or noise is correlated over steps.
    """
    if plan.clipping == "adaptive" or plan.mechanism != "gaussian":
        raise BadPlan(
            "the variance of the noise is not the same in every step",
            where="clipping" if plan.clipping == "adaptive" else "mechanism",
            fix="use DPAdamBC with a constant clip and independent noise",
        )
    return (plan.noise_multiplier * plan.clip / plan.normaliser) ** 2


class DPAdamBC(torch.optim.Optimizer):
    """DP-AdamBC: ``w -= lr · m / sqrt(max(v - noise_variance, floor))`` with m and v as in Adam, corrected for start.

    Args:
        params: As for any optimizer of torch.
        lr: Learning rate, at least 0.
        betas: Decay of first and second moment, each in [0, 1).
        noise_variance: Of each coordinate of the gradient, as :func:`noise_variance` says of a plan; 0 gives Adam.
        floor: Least value under the root (the paper's gamma'), which bounds the step of weights whose gradient drowns
            in noise. None takes the standard deviation of what noise alone makes of v after t steps, ``Phi·sqrt(2·S)``
            with ``S = (1-b)(1+b^t) / ((1+b)(1-b^t))``, b the second beta: v - Phi below it says nothing. That needs no
            tuning, which would cost privacy.
        weight_decay: Decoupled, as in AdamW, at least 0.

    Raises:
        BadPlan: A number is out of its range; ``where`` names it.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        noise_variance: float,
        floor: float | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        numbers = {"lr": lr, "noise_variance": noise_variance, "floor": floor or 0.0, "weight_decay": weight_decay}
        for name, number in numbers.items():
            if not (math.isfinite(number) and number >= 0):
                raise BadPlan("this must be finite and at least 0", where=name)
        if not all(0 <= beta < 1 for beta in betas):
            raise BadPlan("both must be at least 0 and below 1", where="betas")
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "noise_variance": noise_variance,
                "floor": floor,
                "weight_decay": weight_decay,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure, no loss
        """One step on the gradients as they are.

        Raises:
            Misuse: A closure is given; it would look at the data again.
        """
        if closure is not None:
            raise Misuse("a closure would look at the data again", where="optimizer.step", fix="call step() without")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group)

    def _move(self, p: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            # float32 at least: the difference of two like numbers has no digits left in a half type
            kind = torch.promote_types(p.dtype, torch.float32)
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(p, dtype=kind)
            state["exp_avg_sq"] = torch.zeros_like(p, dtype=kind)
        first, second = group["betas"]
        m, v = state["exp_avg"], state["exp_avg_sq"]
        gradient = gradient.to(m.dtype)
        state["step"] += 1
        steps = int(state["step"])
        m.lerp_(gradient, 1 - first)
        v.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = v.div(1 - second**steps).sub_(group["noise_variance"])
        scale.clamp_(min=_floor(group["floor"], group["noise_variance"], second, steps)).sqrt_()
        update = m.div(scale).mul_(-group["lr"] / (1 - first**steps))
        p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.to(p.dtype))


def _floor(floor: float | None, variance: float, beta: float, steps: int) -> float:
    if floor is None:
        past = beta**steps
        floor = variance * math.sqrt(2 * (1 - beta) * (1 + past) / ((1 + beta) * (1 - past)))
    return max(floor, LEAST)
