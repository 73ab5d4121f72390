"""Averages of weights over the steps: less noise in the released model, at no cost of privacy.

The weights of all steps are covered by the plan's epsilon together, so any function of them is too (post-processing).
De et al. (2022, arXiv 2204.13650, section 3) found an exponential moving average to help DP-SGD at every epsilon.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from pellucid.errors import BadData, BadPlan, Misuse

__all__ = ["MovingAverage"]


class MovingAverage:
    """Follows the trainable weights of a module; the module itself is only read.

    In one line, as ``private(…, on_step=average.update)``; afterwards ``average.copy()`` is the model to release. The
    update number t, from 0, is ``average += (1 - d)·(weights - average)`` with ``d = min(decay, (1 + t)/(10 + t))``, so
    that a short run is not held to its start.

    Args:
        module: A plain module, before or after it is made private: the parameters are the same. Buffers and frozen
            parameters are taken as they are when asked for.
        decay: In [0, 1): about ``1/(1 - decay)`` steps are averaged.
        warm_up: Whether the decay grows with t; without it, it is ``decay`` from the start.

    Raises:
        BadPlan: ``decay`` is out of its range.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999, *, warm_up: bool = True) -> None:
        if not 0 <= decay < 1:
            raise BadPlan("the decay must be at least 0 and below 1", where="decay")
        self.decay = decay
        self.warm_up = warm_up
        self._module = module
        self._updates = 0
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        # half types would lose the small differences that an average is made of
        self._averages = {
            name: p.detach().to(torch.promote_types(p.dtype, torch.float32), copy=True)
            for name, p in self._live.items()
        }

    def __repr__(self) -> str:
        return f"MovingAverage(decay={self.decay!r}, warm_up={self.warm_up}, updates={self._updates})"

    @property
    def updates(self) -> int:
        """How many updates were made."""
        return self._updates

    @torch.no_grad()
    def update(self, steps: int | None = None) -> None:
        """Take in the present weights, once after each step.

        Args:
            steps: Ignored; it lets this method be the ``on_step`` of a run.
        """
        t = self._updates
        decay = min(self.decay, (1 + t) / (10 + t)) if self.warm_up else self.decay
        for name, average in self._averages.items():
            average.lerp_(self._live[name].to(average.dtype), 1 - decay)
        self._updates += 1

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of the averages by the module's names of its trainable parameters, in the parameters' types."""
        return {name: average.to(self._live[name].dtype, copy=True) for name, average in self._averages.items()}

    def copy(self, plain: nn.Module | None = None) -> nn.Module:
        """A module with the averaged weights, in evaluation mode; the live one goes on.

        Args:
            plain: A plain copy of the module to write into, such as ``standard(model)`` of the private one; without
                it, the module itself is copied.

        Raises:
            Misuse: ``plain`` shares a parameter with the live module.
            BadData: ``plain`` does not have the module's parameters.
        """
        plain = copy.deepcopy(self._module) if plain is None else plain
        found = dict(plain.named_parameters())
        live = {p.data_ptr() for p in self._live.values()}
        for name, average in self._averages.items():
            if name not in found or found[name].shape != average.shape:
                raise BadData("no parameter of this name and shape", where=name, fix="copy the averaged module")
            if found[name].data_ptr() in live:
                raise Misuse(
                    "the averages may not be written into the module that learns",
                    where=name,
                    fix="pass a copy, such as standard(model)",
                )
        with torch.no_grad():
            for name, average in self._averages.items():
                found[name].copy_(average)
        for p in plain.parameters():
            p.grad = None
        return plain.eval()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What a checkpoint needs: the averages, and ``updates`` as an int64 tensor."""
        averages = {f"average.{name}": average.clone() for name, average in self._averages.items()}
        return {**averages, "updates": torch.tensor(self._updates)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadData: The state is not that of such a module. Nothing is changed then.
        """
        expected = self.state_dict()
        for name in sorted(state.keys() | expected.keys()):
            here, there = state.get(name), expected.get(name)
            if here is None or there is None or here.shape != there.shape or here.dtype != there.dtype:
                raise BadData("missing, left over, or of another shape or type", where=name)
        for name, average in self._averages.items():
            average.copy_(state[f"average.{name}"])
        self._updates = int(state["updates"])
