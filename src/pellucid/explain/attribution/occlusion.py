"""What is lost when one field is put back to its baseline? No gradient is needed, and nothing adds up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from pellucid.explain.answers import SLOTS, fitting, scored
from pellucid.explain.attribution.path import Score
from pellucid.explain.attribution.question import Answer, Question
from pellucid.explain.fields import Fields
from pellucid.explain.intervals import Floats
from pellucid.explain.model import device_of, untouched

__all__ = ["explain", "occluded"]

PAIRS: Final = 4096  # rows with one field occluded that go through the model at a time


def explain(question: Question) -> Answer:
    """f(x) − f(x with the field at its baseline), for each field (Zeiler and Fergus 2014, ECCV)."""
    device, score = device_of(question.model), scored(question.model, question.target)

    def ask(rows: Tensor) -> tuple[Tensor, Tensor, Score]:
        last = rows.to(device)
        return question.start.to(device).expand_as(last), last, lambda points, _: score(points)

    return Answer(occluded(ask, question.x, question.fields))


def occluded(ask: Callable[[Tensor], tuple[Tensor, Tensor, Score]], x: Tensor, fields: Fields) -> Floats:
    """Attributions (N, fields) by occlusion.

    Args:
        ask: For rows (n, …) of ``x``: where each is without its fields, where with them, both (n, …) with the slots
            of ``fields``, and the score of points between.
        x: (N, …) rows.
        fields: What is occluded together.
    """
    mask = torch.from_numpy(fields.membership() > 0)

    def work(size: int) -> Floats:
        found = []
        for part in torch.split(x, max(1, size // len(fields))):
            first, last, score = ask(part)
            shape, marks = last.shape[1:], mask.to(last.device).reshape(len(fields), *last.shape[1:])
            rows = torch.arange(len(last), device=last.device)
            whole, lost = score(last, rows).double(), []
            for pairs in torch.split(torch.arange(len(last) * len(fields), device=last.device), size):
                row, field = pairs // len(fields), pairs % len(fields)
                points = torch.where(marks[field], first[row], last[row])
                lost.append(score(points.reshape(-1, *shape), row).double())
            found.append((whole[:, None] - torch.cat(lost).reshape(len(last), -1)).cpu())
        return torch.cat(found).numpy()

    with untouched(), torch.inference_mode():
        return fitting(max(1, min(PAIRS, SLOTS // fields.width)), work)
