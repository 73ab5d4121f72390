"""What a loss says of a model, person by person: recorded in one backward pass, and never let through to the weights.

The model's output is cut from its inner graph by an autograd function. When the loss is differentiated, the function
is given the gradient at the output, and takes it through the inner graph itself, only as far as the outputs of the
layers: the gradient of a weight is never formed (book-keeping, Bu et al. 2023, arXiv 2210.00038). Layers are patched
one by one; each leaves what it was given, and the place in the graph where its gradient is to be caught.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pellucid.errors import Misuse
from pellucid.train.contributions import Contribution, by_person, combine, layout
from pellucid.train.inputs import Expected
from pellucid.train.layers import owned_parameters, replacement_of, rule_of
from pellucid.train.passes import Chunks, Pass
from pellucid.train.patches import Layer, Patch, Root
from pellucid.train.rules import Pieces

__all__ = ["Gradients", "Recorder"]

Gradients = dict[nn.Parameter, Contribution]


class Recorder:
    """Patches a model, and holds what one batch's backward pass says of its trainable parameters.

    Attributes:
        module: The user's model, patched until :meth:`release`.
        expected: The rows that count.
        live: Whether a batch is out, so that gradients count; else they are dropped.
        draw: Stands for the present batch.
        resting: Layers that are called record nothing.
        plain: While resting, layers run as torch wrote them, also those that are replaced to be watched.
        views: Of a row of the data, next to each other in a batch.
        units: Rows of the data in the present batch, once its backward pass is done. Each is a unit of its own, unless
            people have several.
        counts: Rows of each person in the present batch, one person after the other; None if each row is a unit.
        chunk: The most rows that go through the model at a time, or one person's if those are more; None for all.
        consume: Takes the gradients of each chunk, since those of all chunks at once would not fit.
    """

    def __init__(self, module: nn.Module, *, views: int = 1, reduction: str = "mean") -> None:
        self.module = module
        self.expected = Expected()
        self.live = False
        self.draw = object()
        self.resting = False
        self.plain = False
        self.learned = False
        self.views = views
        self.units = 0
        self.counts: torch.Tensor | None = None
        self.chunk: int | None = None
        self.consume: Callable[[Gradients], None] | None = None
        self.mean = reduction == "mean"
        self._open: dict[int, Pass] = {}  # by thread
        self._tasks: set[int] = set()
        self._consumed = 0
        self._pieces: dict[nn.Parameter, list[Contribution]] = {}
        self._patches: list[Patch] = list(self._patch())

    # -- patching -----------------------------------------------------------------------------------------------------

    def _patch(self) -> Iterator[Patch]:
        covered: set[nn.Module] = set()
        root_layer: Layer | None = None
        for name, module in list(self.module.named_modules()):
            if module in covered:
                continue
            twin = replacement_of(module)
            own = owned_parameters(module) if twin is None else dict(module.named_parameters())
            below = (
                {p for part in list(module.modules())[1:] for p in part._parameters.values()} if twin is None else set()
            )
            # a parameter that a part of the module has too is that part's (Opacus's recurrent layers rename theirs)
            if not any(p.requires_grad and p not in below for p in own.values()):
                continue
            if twin is not None or not own.keys() <= module._parameters.keys():
                covered.update(module.modules())  # their parameters are used by this module, not by themselves
            layer = Layer(name, module, self, None if twin else rule_of(module), twin)
            if module is self.module:
                root_layer = layer
            else:
                module.forward = layer
                yield layer
        root = Root(self.module, self, root_layer)
        self.module.forward = root
        yield root

    def release(self) -> None:
        """Take the patches away: the user's module as it was."""
        self.forget()
        for patch in self._patches:
            patch.undo()
        self._patches.clear()

    def check(self) -> None:
        """The patches must still be in place.

        Raises:
            Misuse: One was taken away, replaced or wrapped.
        """
        for patch in self._patches:
            if vars(patch.module).get("forward") is not patch:
                raise Misuse(
                    "the forward of this layer was replaced since the model became private",
                    where=patch.where,
                    fix="compile, quantise or patch the model before run.private, or after the run",
                )

    def without_rule(self) -> list[nn.Module]:
        """Layers without a rule of their own: right, and slow."""
        layers = [p.layer if isinstance(p, Root) else p for p in self._patches]
        return [p.module for p in layers if isinstance(p, Layer) and p.rule is None and p.twin is None]

    # -- one batch ----------------------------------------------------------------------------------------------------

    def expect(self, rows: Any | None, counts: torch.Tensor | None = None) -> None:
        """Hold to these rows from here on, of which a copy is kept; None lets go until the next batch.

        Args:
            rows: Of the batch, with their views.
            counts: Rows of the data of each person, where people have several.
        """
        self.expected.hold(rows)
        self.counts = counts
        self.live = rows is not None
        self.draw = object()
        self._open.clear()
        self.forget()

    def forget(self) -> None:
        """Drop what forward and backward passes left behind."""
        self._pieces = {}
        self._tasks.clear()
        self._consumed = 0
        self.units = 0

    def scale(self, rows: int) -> float:
        """What turns the gradient of the loss into a sum over units of the mean over their views."""
        return (rows if self.mean else 1) / self.views

    def begin_backward(self, draw: object) -> bool:
        """Called by every pass that is differentiated; says whether it counts.

        Raises:
            Misuse: Its forward pass was made before the present batch was drawn.
        """
        if draw is not self.draw:
            raise Misuse(
                "a backward pass through a forward pass of another batch",
                where="loss.backward",
                fix="call model(x) and loss.backward() on the rows of the present batch",
            )
        self._tasks.add(torch._C._current_graph_task_id())
        return self.live

    @property
    def backward_passes(self) -> int:
        """How many calls of backward there were since the batch was drawn."""
        return len(self._tasks)

    def take(self, rows: int, pieces: Pieces) -> None:
        """Keep what the layers of a pass over all rows say."""
        if self._consumed:
            raise self._once()
        found = list(pieces)  # before anything is kept: memory may run out on the way
        self.units = rows // self.views
        for parameter, contribution in found:
            self._pieces.setdefault(parameter, []).append(contribution)

    def take_chunk(self, start: int, end: int, pieces: Pieces) -> None:
        """Clip and add up what the layers of a pass over the rows from ``start`` to ``end`` say: of whole people.

        Raises:
            Misuse: The loss uses more than one forward pass, so that a chunk of one is not all there is of its units.
        """
        gradients: dict[nn.Parameter, list[Contribution]] = {}
        for parameter, contribution in pieces:
            gradients.setdefault(parameter, []).append(contribution)
        if self.consume is not None:
            self.consume(self._combined(gradients, start // self.views, end // self.views))
        self.units += (end - start) // self.views

    def begin_chunks(self) -> None:
        """Called before the chunks of a pass are taken."""
        if self._pieces or self._consumed:
            raise self._once()
        self._consumed += 1

    def until(self, start: int, rows: int) -> int:
        """Where the chunk ends that begins at row ``start`` of ``rows``: after at least one unit, never within one."""
        size = self.chunk or rows
        if self.counts is None:
            return min(start + size, rows)
        ends = self.counts.cumsum(0) * self.views
        whole = ends[ends <= start + size]
        if len(whole) and int(whole[-1]) > start:
            return int(whole[-1])
        return int(ends[ends > start][0])

    def shrink(self, start: int, end: int) -> bool:
        """Memory ran out with these rows: take half as many from here on. False if one unit is too much."""
        half = (end - start) // 2 // self.views * self.views
        if half < 1:
            return False
        before, self.chunk = self.chunk, half
        if self.until(start, end) < end:
            return True
        self.chunk = before
        return False

    @staticmethod
    def _once() -> Misuse:
        return Misuse(
            "a batch that is too large to go through the model at once can go through it once only",
            where="loss.backward",
            fix="call the model once for each batch, or choose a smaller batch or more memory",
        )

    def gradients(self) -> Gradients:
        """By parameter, what the present batch says; parameters that the loss did not use are absent."""
        return self._combined(self._pieces, 0, self.units)

    def _combined(self, pieces: dict[nn.Parameter, list[Contribution]], start: int, end: int) -> Gradients:
        """By parameter, one contribution of the rows of the data from ``start`` to ``end``, by person if they are."""
        combined = {p: parts[0] if len(parts) == 1 else combine(parts) for p, parts in pieces.items()}
        if self.counts is None:
            return combined
        ends = self.counts.cumsum(0)
        layouts = layout(self.counts[(ends > start) & (ends <= end)])
        return {p: by_person(contribution, layouts) for p, contribution in combined.items()}

    # -- passes under way ---------------------------------------------------------------------------------------------

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any], run: Callable[..., Any]) -> Any:
        """A forward pass of the model, ``run``, whose output is cut from its graph."""
        rows, right = self.expected.judge((*args, *kwargs.values()) if kwargs else args)
        if self.chunk is not None and rows > self.chunk and right:
            return Chunks(self, rows, args, kwargs, run).forward()
        return Pass(self, rows, right).forward(args, kwargs, run)

    def under_way(self, pass_: Pass, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run; layers that are called meanwhile belong to ``pass_``."""
        thread = threading.get_ident()
        self._open[thread] = pass_
        try:
            return run(*args, **kwargs)
        finally:
            self._open.pop(thread, None)

    def current(self) -> Pass | None:
        """The pass under way in this thread."""
        return self._open.get(threading.get_ident())

    @contextmanager
    def at_rest(self, resting: bool = True, *, plain: bool = False) -> Iterator[None]:
        """Layers called inside record nothing."""
        before = self.resting, self.plain
        self.resting, self.plain = resting, plain
        try:
            yield
        finally:
            self.resting, self.plain = before

    def admit(self) -> Pass | None:
        """Called when a layer is about to record.

        Raises:
            Misuse: The model was given other rows than those of the batch, or the layer was called on its own.
        """
        pass_ = self.current()
        if pass_ is None:
            if self.expected.watching:
                raise Misuse(
                    "a layer was called on its own, outside a forward pass of the model",
                    where="model",
                    fix="call the model that private() returned on the rows of the batch",
                )
            return None
        if not pass_.right:
            raise Misuse(
                "the rows are not those that batches gave: each row must be one person's, without mixup or resampling",
                where="model",
                fix="call the model on exactly the rows of the batch; put any change of a row inside the module",
            )
        return pass_
