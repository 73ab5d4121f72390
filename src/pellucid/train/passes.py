"""Forward passes of a private model, and what becomes of their gradients: whole, or chunk by chunk.

A batch that would not fit goes through the model in chunks, without a graph; when the loss is differentiated, each
chunk goes through once more, with one. The user's loop sees one batch, one loss over all of it, and one step; it costs
one more forward pass, as activation checkpointing does (Chen et al. 2016, arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from pellucid.errors import Misuse
from pellucid.train.memory import out_of_memory

if TYPE_CHECKING:
    from pellucid.train.recorder import Recorder
    from pellucid.train.rules import Pieces

__all__ = ["Chunks", "Pass", "Watched"]

Watched = tuple[GradientEdge, Callable[[torch.Tensor, int], "Pieces"]]
Run = Callable[..., Any]

_ANCHOR: Final = torch.zeros((), requires_grad=True)  # makes the outputs of the boundary part of a graph


class _Boundary(torch.autograd.Function):
    """The model's outputs as they are; their gradients go to ``receive``, and no further."""

    @staticmethod
    def forward(
        ctx: Any, anchor: torch.Tensor, receive: Callable[..., None], outputs: list[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        ctx.receive = receive
        ctx.set_materialize_grads(False)
        # half types as float32: what the loss divides by the number of rows, and the engine multiplies again, would be
        # rounded in between, for all rows at once
        return tuple(output.detach().to(torch.promote_types(output.dtype, torch.float32)) for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[None, None, None]:
        if ctx.receive is None or torch.is_grad_enabled():
            raise Misuse(
                "more than one backward pass through a forward pass, or a gradient of a gradient",
                where="loss.backward",
                fix="call loss.backward() once for each batch, without create_graph",
            )
        receive, ctx.receive = ctx.receive, None
        receive(gradients)
        return None, None, None


def _cut(output: Any, receive: Callable[..., None]) -> tuple[Any, list[torch.Tensor]]:
    """``output`` with the boundary before its graph, and the tensors on the other side."""
    if isinstance(output, torch.Tensor) and output.requires_grad:
        return _Boundary.apply(_ANCHOR, receive, [output])[0], [output]  # type: ignore[no-untyped-call]  # torch's is untyped
    leaves, form = tree_flatten(output)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    inner = [leaves[i] for i in places]
    if inner:
        for i, outer in zip(places, _Boundary.apply(_ANCHOR, receive, inner), strict=True):  # type: ignore[no-untyped-call]  # torch's is untyped
            leaves[i] = outer
    return tree_unflatten(leaves, form), inner


class Pass:
    """One forward pass of the model over the whole batch: what its layers left, until its backward pass.

    Attributes:
        recorder: Whose pass this is.
        right: Whether it was given the rows of the batch.
    """

    def __init__(self, recorder: Recorder, rows: int, right: bool) -> None:
        self.recorder = recorder
        self.right = right
        self._rows = rows
        self._watched: list[Watched] = []
        self._roots: list[tuple[GradientEdge, torch.dtype]] = []
        self._draw = recorder.draw
        self._again: Chunks | None = None

    def watch(self, tensor: torch.Tensor, pieces: Callable[[torch.Tensor, int], Pieces]) -> None:
        """Catch the gradient of ``tensor``, and ask ``pieces`` what it means for the parameters."""
        if tensor.requires_grad:
            self._watched.append((get_gradient_edge(tensor), pieces))

    def forward(self, args: tuple[Any, ...], kwargs: dict[str, Any], run: Run) -> Any:
        """The model's output, cut from its graph."""
        recorder = self.recorder
        self._again = Chunks(recorder, self._rows, args, kwargs, run)
        try:
            output = recorder.under_way(self, run, args, kwargs)
        except (RuntimeError, MemoryError) as error:
            if not self.right or not out_of_memory(error) or not recorder.shrink(0, self._rows):
                raise
            return self._again.forward()
        output, inner = _cut(output, self._receive)
        self._roots = [(get_gradient_edge(tensor), tensor.dtype) for tensor in inner]
        return output

    def _receive(self, gradients: Sequence[torch.Tensor | None]) -> None:
        recorder = self.recorder
        again, self._again = self._again, None
        if not recorder.begin_backward(self._draw):
            return
        scale = recorder.scale(self._rows)
        scaled = [None if g is None else g * scale for g in gradients]
        try:
            recorder.take(self._rows, self.differentiate(scaled))
        except (RuntimeError, MemoryError) as error:
            if again is None or not out_of_memory(error) or not recorder.shrink(0, self._rows):
                raise
            self._watched = []
            again.differentiate(scaled)

    def differentiate(self, gradients: Sequence[torch.Tensor | None]) -> Pieces:
        """Take gradients at the model's outputs to the layers, and ask the rules what they mean."""
        given = [(root, g) for root, g in zip(self._roots, gradients, strict=True) if g is not None]
        if not given or not self._watched:
            return []
        edges, readers = zip(*self._watched, strict=True)
        roots, seeds = zip(*((root, g.to(kind)) for (root, kind), g in given), strict=True)
        self._watched = []
        found: Sequence[torch.Tensor | None]
        if len(edges) == len(roots) == 1 and edges[0][:2] == roots[0][:2]:
            found = seeds  # the only layer's output is the model's
        else:
            with self.recorder.at_rest():  # activation checkpointing calls layers again
                found = torch.autograd.grad(roots, edges, grad_outputs=seeds, allow_unused=True)
        units = self._rows // self.recorder.views
        return _read(readers, found, units)

    def through(self, args: tuple[Any, ...], kwargs: dict[str, Any], run: Run, places: Sequence[int]) -> None:
        """A pass with a graph, whose outputs at ``places`` will be differentiated by :meth:`differentiate`."""
        leaves = tree_flatten(self.recorder.under_way(self, run, args, kwargs))[0]
        self._roots = [(get_gradient_edge(leaves[place]), leaves[place].dtype) for place in places]


def _read(readers: Iterable[Any], found: Sequence[torch.Tensor | None], units: int) -> Pieces:
    for reader, gradient in zip(readers, found, strict=True):
        if gradient is not None:
            yield from reader(gradient, units)


class Chunks:
    """One forward pass of the model over a batch that would not fit, chunk by chunk."""

    def __init__(self, recorder: Recorder, rows: int, args: tuple[Any, ...], kwargs: dict[str, Any], run: Run) -> None:
        self._recorder = recorder
        self._rows = rows
        self._given = (args, kwargs)
        self._versions: list[int] | None = None
        self._run = run
        self._draw = recorder.draw
        self._chance = torch.get_rng_state()  # dropout draws the same masks when the rows go through again
        self._states: dict[int, torch.Tensor] = {0: self._chance}
        self._autocast = (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))
        self._places: list[int] = []

    def forward(self) -> Any:
        """The model's output, cut from a graph that is not there yet."""
        self._versions = self._now()
        parts: list[list[Any]] = []
        start = 0
        form: Any = None
        while start < self._rows:
            end = self._recorder.until(start, self._rows)
            self._states[start] = torch.get_rng_state()
            args, kwargs = self._slice(start, end)
            try:
                # layers run as in a recorded pass, but without a graph; cloned, since a module may write to its input
                with torch.no_grad(), self._recorder.at_rest():
                    leaves, form = tree_flatten(self._run(*_cloned(args), **_cloned(kwargs)))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or not self._recorder.shrink(start, end):
                    raise
                torch.set_rng_state(self._states[start])
                continue
            parts.append(leaves)
            start = end
        whole = [_joined(pieces) for pieces in zip(*parts, strict=True)]
        self._places = [
            i for i, leaf in enumerate(whole) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        ]
        inner = [whole[i].requires_grad_() for i in self._places]
        for i, outer in zip(self._places, _Boundary.apply(_ANCHOR, self._receive, inner), strict=True):  # type: ignore[no-untyped-call]  # torch's is untyped
            whole[i] = outer
        return tree_unflatten(whole, form)

    def _receive(self, gradients: Sequence[torch.Tensor | None]) -> None:
        if self._recorder.begin_backward(self._draw):
            scale = self._recorder.scale(self._rows)
            self.differentiate([None if g is None else g * scale for g in gradients])

    def differentiate(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Take every chunk through the model once more, with a graph, and its gradients to the layers."""
        recorder = self._recorder
        recorder.begin_chunks()
        if self._versions is not None and self._now() != self._versions:
            raise Misuse(
                "the rows were written to between the forward and the backward pass",
                where="model",
                fix="change a copy of them",
            )
        outside = torch.get_rng_state()
        torch.set_rng_state(self._chance)
        start = 0
        try:
            while start < self._rows:
                end = recorder.until(start, self._rows)
                if start in self._states:
                    torch.set_rng_state(self._states[start])
                before = torch.get_rng_state()
                args, kwargs = self._slice(start, end)
                pass_ = Pass(recorder, end - start, right=True)
                enabled, kind = self._autocast
                try:
                    with torch.enable_grad(), torch.autocast("cpu", kind, enabled), recorder.at_rest(False):
                        pass_.through(args, kwargs, self._run, self._places or range(len(gradients)))
                    parts = [None if g is None else g[start:end] for g in gradients]
                    recorder.take_chunk(start, end, pass_.differentiate(parts))
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error) or not recorder.shrink(start, end):
                        raise
                    torch.set_rng_state(before)
                    continue
                start = end
        finally:
            torch.set_rng_state(outside)

    def _now(self) -> list[int]:
        return [leaf._version for leaf in tree_flatten(self._given)[0] if isinstance(leaf, torch.Tensor)]

    def _slice(self, start: int, end: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def part(leaf: Any) -> Any:
            rows = isinstance(leaf, torch.Tensor) and leaf.dim() and len(leaf) == self._rows
            return leaf[start:end] if rows else leaf

        args, kwargs = tree_map(part, self._given)
        return args, kwargs


def _cloned(tree: Any) -> Any:
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, tree)


def _joined(pieces: Sequence[Any]) -> Any:
    return torch.cat(list(pieces)) if isinstance(pieces[0], torch.Tensor) and pieces[0].dim() else pieces[0]
