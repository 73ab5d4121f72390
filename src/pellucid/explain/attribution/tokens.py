"""Text: words have no gradient, but what the embedding makes of them has.

The rest of the network is a function of the embedding's output, a vector a token. Integrated gradients walk there from
the vectors of the baseline to those of the row, and sum over each vector; occlusion puts one token's baseline vector in
its place. Whatever else the network reads from the row, such as which places are padding, stays as it is in the row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.answers import called, fitting, scored
from pellucid.explain.attribution.occlusion import occluded
from pellucid.explain.attribution.path import mean_gradient, refine, room
from pellucid.explain.attribution.question import Answer, Question
from pellucid.explain.fields import Fields
from pellucid.explain.inputs import check_tokens
from pellucid.explain.intervals import Floats
from pellucid.explain.model import device_of, in_precision, untouched

__all__ = ["ZERO", "embedding_of", "explain", "occlude", "origin"]

ZERO: Final = -1  # stands for the zero vector among the token ids of a baseline
ROWS: Final = 256  # that go through the model at a time


def embedding_of(model: nn.Module, x: Tensor) -> nn.Embedding:
    """The embedding of ``model`` (frozen) that gives one vector for each place of a row of ``x`` (N, T).

    It is the first embedding that a forward pass reaches and that follows the row. That each of its vectors belongs to
    the place in the row with the same number is tried: one place is changed at a time.

    Raises:
        UnsupportedModel: There is none, it is called more than once, or its vectors are of other places.
    """
    calls: list[tuple[nn.Embedding, Tensor]] = []
    handles = [
        part.register_forward_hook(lambda part, _, found: calls.append((part, found.clone())))
        for part in model.modules()
        if isinstance(part, nn.Embedding)
    ]

    def run(size: int, rows: Tensor) -> dict[nn.Embedding, Tensor | None]:
        """By embedding that ``rows`` reach, its vectors; None where it is not called once a pass."""
        pieces = torch.split(rows, size)
        caught: dict[nn.Embedding, list[Tensor]] = {}
        for piece in pieces:
            calls.clear()
            called(model, piece.to(device_of(model)))
            for part, found in calls:
                caught.setdefault(part, []).append(found)
        return {part: torch.cat(found) if len(found) == len(pieces) else None for part, found in caught.items()}

    places = x.shape[1]
    own_place = torch.eye(places, dtype=torch.bool, device=x.device)
    changed = torch.where(own_place, (x[:1] == 0).to(x.dtype), x[:1])  # 0 and 1 are words, and fit every encoding
    try:
        with untouched(), torch.inference_mode():
            before = run(1, x[:1])
            after = fitting(places, lambda size: run(size, changed))
    finally:
        for handle in handles:
            handle.remove()
    reason = "the model reaches no embedding of tokens"
    for layer, own in before.items():
        others = after.get(layer)
        if own is None or others is None or own.shape[:2] != (1, places) or own.ndim != 3:
            reason = "an embedding is called more than once, or does not give one vector a token"
            continue
        moved = (others != own).any(dim=2).to(x.device)
        if bool((moved & ~own_place).any()):
            reason = "a vector of the embedding depends on more than the token in its place"
        elif bool(moved.any()):  # an embedding of places never moves
            return layer
    raise _unfit(reason)


def origin(layer: nn.Embedding, baseline: Tensor | None, places: int) -> tuple[Tensor, str]:
    """Token ids (1, T) of the baseline with :data:`ZERO` for the zero vector, and the baseline in words."""
    if baseline is not None:
        if baseline.shape not in ((), (places,)):
            raise BadData(f"the baseline must be one token id, or {places} as the rows have", where="baseline")
        check_tokens(baseline.reshape(1, -1), layer.num_embeddings)
        return baseline.reshape(1, -1).expand(1, places).cpu(), "given by the caller"
    if layer.padding_idx is not None:
        return torch.full((1, places), layer.padding_idx, device="cpu"), "padding in every place"
    return torch.full((1, places), ZERO, device="cpu"), "the zero vector in every place"


def explain(question: Question) -> Answer:
    """Integrated gradients at the output of the embedding, summed over the vector of each token.

    Raises:
        UnsupportedModel: No fitting embedding, no gradient behind it, or the gap stays above the tolerance.
    """
    own = _Text(question.model, question)
    texts: dict[torch.dtype, _Text] = {}

    def rule(rows: slice, steps: int, precision: torch.dtype) -> Floats:
        if precision not in texts:
            texts[precision] = _Text(in_precision(question.model, precision), question)
        text, x = texts[precision], question.x[rows]

        def work(points: int) -> Floats:
            parts = []
            for part in torch.split(x, max(1, points // steps)):
                ids = part.to(text.device)
                first, last = text.ends(ids)
                score = text.score(ids)
                gradient = mean_gradient(score, first, last, steps, points)
                parts.append((gradient * (last - first)).sum(dim=2).cpu().double())
            return torch.cat(parts).numpy()

        with untouched():
            ids = x[:1].to(text.device)
            score = text.score(ids)
            points = room(lambda at: score(at, torch.zeros(len(at), dtype=torch.int64)), text.ends(ids)[1])
            return question.fields.total(fitting(points, work))

    return refine(rule, own.change(), question)


def occlude(question: Question) -> Answer:
    """How much of the answer is lost when the tokens of a field are replaced by the baseline."""
    text = _Text(question.model, question)
    slots = tuple(
        tuple(place * text.width + inner for place in group for inner in range(text.width))
        for group in question.fields.slots
    )
    fields = Fields(question.fields.names, slots)

    def ask(ids: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
        first, last = text.ends(ids.to(text.device))
        return first, last, text.score(ids.to(text.device))

    return Answer(occluded(ask, question.x, fields))


class _Text:
    """The network behind the embedding of a frozen model."""

    def __init__(self, model: nn.Module, question: Question) -> None:
        self.layer = embedding_of(model, question.x)
        self.device = device_of(model)
        self.width = self.layer.embedding_dim
        self._model, self._question = model, question
        self._ask = scored(model, question.target)

    def ends(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Baseline and row (n, T, E) at the output of the embedding."""
        caught: list[Tensor] = []
        handle = self.layer.register_forward_hook(lambda _, __, found: caught.append(found.clone()))
        try:
            with torch.no_grad():
                self._ask(ids)
                start = self._question.start.to(self.device)
                zero = start == ZERO
                first = self.layer(start.masked_fill(zero, 0)).masked_fill(zero[..., None], 0.0)
        finally:
            handle.remove()
        return first.expand_as(caught[0]), caught[0]

    def score(self, ids: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The answers (k,) for vectors (k, T, E), each in the place of the embedding of one row of ``ids``."""

        def ask(vectors: Tensor, rows: Tensor) -> Tensor:
            handle = self.layer.register_forward_hook(lambda *_: vectors.clone())  # what follows may work in place
            try:
                return self._ask(ids[rows])
            finally:
                handle.remove()

        return ask

    def change(self) -> Floats:
        """(N,) the answers less those with every vector at the baseline."""

        def answers(size: int) -> Tensor:
            parts = []
            for part in torch.split(self._question.x, size):
                ids = part.to(self.device)
                first, last = self.ends(ids)
                ask, rows = self.score(ids), torch.arange(len(ids), device=self.device)
                parts.append((ask(last, rows).double() - ask(first, rows).double()).cpu())
            return torch.cat(parts)

        with untouched(), torch.inference_mode():
            return fitting(min(ROWS, len(self._question.x)), answers).numpy()


def _unfit(what: str) -> UnsupportedModel:
    return UnsupportedModel(
        what,
        where="model",
        fix='feed tokens to one nn.Embedding, once and each in its place; or ask with method="shapley_sampling"',
    )
