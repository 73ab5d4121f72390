"""Answers to rows that take some fields from one person and the others from another.

Every Shapley value, interaction and walk asks only this. A model that begins with a linear layer is asked behind that
layer: what enters there is a sum of one contribution a field, so that replacing a field costs one addition instead of a
row of the first matrix product. Such a model is recognised by its modules, and the way is taken only if it gives the
model's own answers on every row at hand; every other model is asked with whole rows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.answers import outputs, pick
from pellucid.explain.background import Background
from pellucid.explain.fields import Fields, as_fields
from pellucid.explain.inputs import check_rows
from pellucid.explain.intervals import Floats
from pellucid.explain.model import frozen
from pellucid.explain.steady import steady
from pellucid.schema import Encoding

__all__ = ["Composites", "Preactivations", "differing", "flat", "mixer", "prepared", "score_name", "scores"]

NUMBERS: Final = 1 << 22  # of one batch of mixed rows: sixteen megabytes; smaller batches are slower


def scores(model: nn.Module, x: Tensor, target: int | None = None, *, spare: bool = False) -> Tensor:
    """The explained score of ``x`` (N, …) by a :func:`frozen` model: (N,) float64 on the CPU.

    Args:
        model: Frozen.
        x: (N, …) float32.
        target: As in :func:`pellucid.explain.answers.pick`.
        spare: As in :func:`pellucid.explain.answers.outputs`.

    Raises:
        BadData: There is no such class.
        UnsupportedModel: More than two classes and no target, or the outputs are not finite.
    """
    return pick(outputs(model, x, spare=spare), target)


def score_name(target: int | None) -> str:
    """What the explained score is, for ``how``."""
    return "log-odds of class 1" if target is None else f"score of class {target}: of two log-odds, of more the logit"


class Composites:
    """Mixed rows of a model that is asked with whole rows.

    Attributes:
        size: Numbers that one mixed row takes.
    """

    def __init__(self, model: nn.Module, fields: Fields, target: int | None) -> None:
        self._model = model
        self._target = target
        self._spare = False  # rows that a model may write into as it likes are not those that it is asked again with
        self._fields = len(fields)
        owner = np.empty(fields.width, dtype=np.int64)
        for number, group in enumerate(fields.slots):
            owner[list(group)] = number
        self._owner = torch.from_numpy(owner)
        self.size = fields.width

    @property
    def pairs(self) -> int:
        """How many walks :meth:`along` shall be asked for at a time."""
        return max(1, NUMBERS // (2 * self._fields * self.size))

    def mixed(self, x: Tensor, b: Tensor, taken: Tensor) -> Tensor:
        """Scores (P,) of rows that have the fields ``taken`` (P, fields) bool of ``x``, the others of ``b``."""
        rows = torch.where(taken[:, self._owner], x, b)
        return self._scores(self._lift(rows, bias=True))

    def along(self, x: Tensor, b: Tensor, orders: Tensor) -> Tensor:
        """Scores on the ways from ``b`` to ``x`` and from ``x`` to ``b``, field by field.

        Args:
            x: (P, width) float32.
            b: (P, width) float32.
            orders: (P, fields) int64: in which order a way replaces the fields.

        Returns:
            (2, fields - 1, P): after 1, …, fields - 1 replacements; the ends are ``b`` and ``x`` themselves.
        """
        steps = torch.arange(1, self._fields)[:, None, None]
        taken = (orders.argsort(dim=1)[None] < steps)[..., self._owner]
        rows = torch.stack([torch.where(taken, x, b), torch.where(taken, b, x)])
        return self._scores(rows.flatten(0, 2)).view(2, self._fields - 1, len(x))

    def table(self, x: Tensor, b: Tensor, taken: Tensor) -> Tensor:
        """Mean scores (N, M) over the rows ``b`` (n, width) for every row of ``x`` and every coalition of fields.

        What a coalition takes from the background is the same for every row, and what it takes from a row the same for
        every background: each is made once, and only their sum is asked for each.

        Args:
            x: (N, width) float32.
            b: (n, width) float32.
            taken: (M, fields) bool: which fields a coalition takes from ``x``.
        """
        found = torch.zeros(len(x), len(taken), dtype=torch.float64)
        for stand in _ranges(len(b), NUMBERS // self.size):
            for some in _ranges(len(taken), NUMBERS // (self.size * (stand.stop - stand.start))):
                on = taken[some][:, self._owner].float()
                given = self._lift(b[stand][:, None] * (1 - on), bias=True)
                for rows in _ranges(len(x), NUMBERS // given.numel()):
                    states = given + self._lift(x[rows][:, None] * on)[:, None]
                    answers = self._scores(states.flatten(0, 2))
                    found[rows, some] += answers.view(len(states), len(given), -1).sum(dim=1)
        return found / len(b)

    def _scores(self, rows: Tensor) -> Tensor:
        """Scores of rows that were made for this one question."""
        return scores(self._model, rows, self._target, spare=self._spare)

    def _lift(self, rows: Tensor, *, bias: bool = False) -> Tensor:
        """What parts of a row add to what enters the model; ``bias`` once a row."""
        return rows


class Preactivations(Composites):
    """Mixed rows behind the first layer of a model that is linear there.

    Args:
        first: The model's first layer.
        rest: The model behind it.
        fields: Of the rows that enter ``first``.
        target: As in :func:`scores`.
    """

    def __init__(self, first: nn.Linear, rest: nn.Module, fields: Fields, target: int | None) -> None:
        super().__init__(rest, fields, target)
        self._spare = all(_idle(part) for part in rest.modules())
        self._first = first
        self._order = [place for group in fields.slots for place in group]
        self._single = len(fields) == fields.width
        self.size = first.out_features

    def _lift(self, rows: Tensor, *, bias: bool = False) -> Tensor:
        weight = self._first.weight
        return nn.functional.linear(rows.to(weight.device), weight, self._first.bias if bias else None)

    def along(self, x: Tensor, b: Tensor, orders: Tensor) -> Tensor:
        """As :meth:`Composites.along`: the second way is the sum of both ends less the first."""
        if self._fields == 1:
            return torch.empty(2, 0, len(x), dtype=torch.float64)
        weight = self._first.weight
        far, near = self._lift(x, bias=True), self._lift(b, bias=True)
        ways = torch.empty(2, self._fields - 1, len(x), self.size, dtype=weight.dtype, device=weight.device)
        first, second = ways[0], ways[1]
        turns = orders.T[:-1].to(weight.device)
        change = (x - b).to(weight.device)
        if self._single:
            by_field = weight.T[self._order]
            moved = change[:, self._order].T.gather(0, turns)
            torch.index_select(by_field, 0, turns.flatten(), out=first.view(-1, self.size))
            first *= moved[..., None]
        else:
            slots = change[..., None] * weight.T
            owner = self._owner.to(weight.device)
            by_row = torch.zeros(len(x), self._fields, self.size, dtype=weight.dtype, device=weight.device)
            by_row.index_add_(1, owner, slots)
            first.copy_(by_row[torch.arange(len(x), device=weight.device), turns])
        first[0] += near
        rungs = first.unbind()
        for below, rung in itertools.pairwise(rungs):  # torch's cumsum over any dimension but the last is slower
            rung += below
        torch.sub(far + near, first, out=second)
        return self._scores(ways.flatten(0, 2)).view(2, self._fields - 1, len(x))

    def agrees(self, model: nn.Module, x: Tensor) -> bool:
        """Whether the answers for ``x`` (N, width) are those of ``model``."""
        try:
            own = self._scores(self._lift(x, bias=True))
        except (UnsupportedModel, RuntimeError):
            return False
        theirs = scores(model, x, self._target)
        return torch.allclose(own, theirs, rtol=1e-5, atol=1e-6 * (1 + float(theirs.abs().max())))


def mixer(model: nn.Module, fields: Fields, target: int | None, *rows: Tensor) -> Composites:
    """The fastest safe way to ask a :func:`frozen` ``model`` about mixed rows.

    Args:
        model: Frozen.
        fields: Of a row.
        target: As in :func:`scores`.
        rows: Each (N, width): on all of them the way must give the model's own answers.
    """
    chain = list(_layers(model))
    if type(chain[0]) is nn.Linear and chain[0].in_features == fields.width:
        found = Preactivations(chain[0], nn.Sequential(*_in_place(chain)[1:]), fields, target)
        if all(found.agrees(model, part) for part in rows):
            return found
    return Composites(model, fields, target)


def flat(
    model: nn.Module, x: Tensor, background: Background, fields: Fields | Encoding
) -> tuple[nn.Module, Tensor, Background, Fields]:
    """The same question about flat rows: images and sequences are flattened, and given back their shape by the model.

    Raises:
        BadData: ``x`` is no rows of numbers, or ``background`` or ``fields`` is something else.
    """
    if not isinstance(background, Background):
        raise BadData(
            f"a background says what its rows are, and this is a {type(background).__name__}",
            where="background",
            fix='Background(rows, public=False, source="held-out rows")',
        )
    check_rows(x)
    shape = x.shape[1:]
    if len(shape) > 1 and background.rows.shape[1:] == shape:
        background = dataclasses.replace(background, rows=background.rows.flatten(1))
        x = x.flatten(1)
        if isinstance(model, nn.Module):
            model = nn.Sequential(nn.Unflatten(1, shape), model)
    return model, x, background, as_fields(fields)


def prepared(
    model: nn.Module, x: Tensor, background: Background, fields: Fields, target: int | None
) -> tuple[Composites, Floats, Floats]:
    """Check what a question about ``x`` relative to ``background`` starts from.

    Returns:
        The mixer of a copy of ``model``, the scores of ``x`` (N,) and those of the background (n,).

    Raises:
        BadData: Wrong type, shape or range, or NaN.
        UnsupportedModel: The model is random in eval mode, mixes rows, or has classes and no target is named.
    """
    for name, rows in (("x", x), ("background", background.rows)):
        check_rows(rows)
        if rows.ndim != 2 or rows.shape[1] != fields.width:
            raise BadData(f"a row must have the {fields.width} slots of the fields", where=name)
    twin = frozen(model)
    steady(twin, x)
    own, others = scores(twin, x, target).numpy(), scores(twin, background.rows, target).numpy()
    return mixer(twin, fields, target, x, background.rows), own, others


def differing(x: Tensor, b: Tensor, fields: Fields) -> Tensor:
    """(…, fields) bool: in which fields the rows ``x`` (…, width) are other than the rows ``b``."""
    changed = (x != b).float()
    if len(fields) == fields.width:
        return changed[..., [place for (place,) in fields.slots]] > 0
    return changed @ torch.from_numpy(fields.membership().T).float() > 0


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that a chain of ``nn.Sequential`` calls, one after the other."""
    if type(module) is nn.Sequential and len(module):
        for part in module:
            yield from _layers(part)
    else:
        yield module


def _in_place(chain: list[nn.Module]) -> list[nn.Module]:
    """The same chain, where a ReLU behind a linear layer overwrites what that layer has just made.

    Half of the memory's traffic is saved. ReLU alone: where memory runs out a batch is asked again, and what it has
    overwritten it leaves as it is.
    """
    found = chain[:1]
    for before, module in itertools.pairwise(chain):
        plain = type(before) is nn.Linear and type(module) is nn.ReLU
        hooked = any((*part._forward_hooks.values(), *part._forward_pre_hooks.values()) for part in (before, module))
        found.append(nn.ReLU(inplace=True) if plain and not hooked else module)
    return found


def _idle(module: nn.Module) -> bool:
    """Whether a module leaves what it is given so that it answers the same when it is given that again.

    Layers of torch do, unless they work in place; ReLU does even then.
    """
    own = type(module).__module__.startswith("torch.nn.modules.") and "forward" not in vars(module)
    hooked = any((*module._forward_hooks.values(), *module._forward_pre_hooks.values()))
    return own and not hooked and (type(module) is nn.ReLU or not getattr(module, "inplace", False))


def _ranges(total: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    return (slice(start, min(start + size, total)) for start in range(0, total, size))
