"""Does a model return probabilities, where scores are needed? Told by what comes out, however it was made.

What lies in [0, 1] may still be scores that happen to lie there. Probabilities stay there whatever the rows and
whatever the weights; scores do not, so that one answer elsewhere is enough for them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.answers import called

__all__ = ["gives_probabilities"]

ROUNDING: Final = 0.02  # what a model that rounds its probabilities to two digits leaves of the sum 1
BEYOND: Final = 30.0  # times the rows, on either side: scores grow with them
DRAWS: Final = 8  # of all weights: of a score that depends on them, each leaves [0, 1] in nine cases out of ten
SPREAD: Final = 3.0  # of what a layer with drawn weights makes of its input, in sizes of that input
_SQUASHES: Final = frozenset({"sigmoid", "softmax", "_softmax"})
_COPIES: Final = frozenset({"clone", "_to_copy"})


def gives_probabilities(model: nn.Module, x: Tensor, found: Tensor) -> bool:
    """Whether what a frozen ``model`` answers is probabilities.

    Several columns are, if each is in [0, 1] and they sum to 1; one column is, if it is in [0, 1]: log-odds that never
    leave that would say class 1 of everybody. Both must hold for the answers at hand, for those to the same rows far
    out, and for those with other weights. Zeros alone are scores that say nothing.

    Args:
        model: Frozen, asked under inference mode.
        x: (n, …) rows.
        found: What it returned for them, as it came.
    """
    if _ends_so(model, x[:1]):
        return True
    return bool(found.any()) and _bounded(found) is True and False not in map(_bounded, _elsewhere(model, x))


def _bounded(found: Any) -> bool | None:
    """Whether answers are all as probabilities are; None where none is finite."""
    rows = found.reshape(len(found), -1)
    rows = rows[torch.isfinite(rows).all(dim=1)].double()
    if not len(rows):
        return None
    inside = bool((rows >= 0).all()) and bool((rows <= 1).all())
    return inside and (rows.shape[1] == 1 or bool(((rows.sum(dim=1) - 1).abs() <= ROUNDING).all()))


def _elsewhere(model: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """Answers far out, and with other weights, as far as the model gives any."""
    # a number that is looked up in an embedding has no far out
    if x.is_floating_point() and not any(isinstance(part, nn.Embedding) for part in model.modules()):
        for times in (BEYOND, -BEYOND):
            yield from _tried(model, times * x)
    if next(model.parameters(), None) is None:
        return
    torch.manual_seed(0)  # the caller's generators are put back by untouched()
    with torch.inference_mode(mode=False), torch.no_grad():
        twin = copy.deepcopy(model)
        for _ in range(DRAWS):
            for weights in twin.parameters():
                if weights.is_floating_point():
                    # over the square root of the inputs: what a deep network says stays finite
                    weights.normal_(0.0, SPREAD / max(1, weights.shape[1:].numel()) ** 0.5)
            yield from _tried(twin, x)


def _tried(model: nn.Module, x: Tensor) -> Iterator[Tensor]:
    try:
        yield called(model, x)
    except (BadData, UnsupportedModel):  # it takes no such rows, or no such weights: nothing is learned
        return


def _ends_so(model: nn.Module, x: Tensor) -> bool:
    """Whether a sigmoid or softmax is the last that happens: one a class need not sum to 1."""
    watch = _Squashed()
    try:
        with watch:
            found = called(model, x)
    except UnsupportedModel:  # it answered before: it is this way of watching that it does not take
        return False
    return watch.holds(found)


class _Squashed(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's is untyped
    """While it is entered, remembers what comes out of a sigmoid or softmax, also through views and copies."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's is untyped
        self._kept: dict[int, Tensor] = {}  # by place in memory, which is nobody else's as long as it is kept

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        if isinstance(found, Tensor):
            if name in _SQUASHES or (name in _COPIES and any(map(self.holds, args))):
                self._kept[_place(found)] = found
            elif func._schema.is_mutable:
                self._kept.pop(_place(found), None)
        return found

    def holds(self, found: Any) -> bool:
        """Whether ``found`` is such a result."""
        return isinstance(found, Tensor) and _place(found) in self._kept


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
