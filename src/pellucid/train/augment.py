"""Augmentation multiplicity: several views of a unit in one step, whose gradients are averaged before clipping.

De et al. (2022, arXiv 2204.13650, section 3.2; Fort et al. 2021, arXiv 2105.13343). A unit still has one gradient,
clipped once, so that sensitivity and accounting are those of a run without. In one line: a plan with
``augmentations=8`` and ``private(…, augment=chain(flip, shift))``. The engine gives every row eight times, next to each
other, and here each copy is made into a view of its own.

Which views are drawn may be public: the bound holds whatever they are. So torch's global generator is good enough here,
unlike for noise and sampling, and ``torch.manual_seed`` makes the views repeatable without taking privacy away.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pellucid.errors import BadData

__all__ = ["chain", "flip", "shift"]

Transform = Callable[[torch.Tensor], torch.Tensor]


def chain(*transforms: Transform) -> Transform:
    """Transforms one after the other, as one.

    Args:
        transforms: Each takes rows ``(R, …)`` and gives as many, each made from its own row alone, such as
            :func:`flip`. A blend of several rows (mixup) would spread one person over several units.

    Returns:
        A transform that does not write to its input if the first one does not.

    Raises:
        BadData: When called: a transform changed the number of rows.
    """

    def apply(rows: torch.Tensor) -> torch.Tensor:
        for transform in transforms:
            changed = transform(rows)
            if len(changed) != len(rows):
                raise BadData(
                    "a transform must give one row for each row", where=getattr(transform, "__name__", repr(transform))
                )
            rows = changed
        return rows

    return apply


def flip(x: torch.Tensor) -> torch.Tensor:
    """Each image of ``(R, C, H, W)``, mirrored left to right with probability one half."""
    mirrored = torch.rand(len(x), device=x.device) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def shift(x: torch.Tensor, pixels: int = 4, *, mode: str = "reflect") -> torch.Tensor:
    """Each image of ``(R, C, H, W)``, moved by whole pixels, uniform in ``[-pixels, pixels]`` in both directions.

    Args:
        x: Images.
        pixels: At least 0; below height and width if ``mode`` is ``reflect``. ``functools.partial`` sets it in a chain.
        mode: What comes in at the border, as in ``torch.nn.functional.pad``: ``reflect``, ``replicate``, ``constant``
            (zeros) or ``circular``.
    """
    batch, _, height, width = x.shape
    padded = nn.functional.pad(x, (pixels,) * 4, mode=mode)
    down, right = torch.randint(0, 2 * pixels + 1, (2, batch, 1), device=x.device)
    rows = down + torch.arange(height, device=x.device)
    columns = right + torch.arange(width, device=x.device)
    units = torch.arange(batch, device=x.device)[:, None, None]
    # the indices stand around a slice, so that channels come last
    return padded[units, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
