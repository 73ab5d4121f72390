"""The forward of a module instance, replaced by one that records; a copy of the module is a plain one again."""

from __future__ import annotations

import copy
import inspect
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from pellucid.errors import Misuse, UnsupportedModel
from pellucid.train.layers import fallback

if TYPE_CHECKING:
    from pellucid.train.passes import Pass
    from pellucid.train.recorder import Recorder
    from pellucid.train.rules import Pieces, Replacement, Rule

__all__ = ["Layer", "Patch", "Root"]


class Patch:
    """What stands in the place of ``module.forward``.

    Attributes:
        module: The module.
        original: Its forward before.
        where: Its name in the model and its type, for errors.
    """

    def __init__(self, name: str, module: nn.Module, recorder: Recorder) -> None:
        self.module = module
        self.where = f"{name or 'the model'} ({type(module).__name__})"
        self.original: Callable[..., Any] = module.forward
        self._recorder = recorder
        self._own = vars(module).get("forward")  # somebody else's patch, to be put back

    def undo(self) -> None:
        """Put back what was there, unless somebody has replaced this patch."""
        if vars(self.module).get("forward") is self:
            del self.module.forward
            if self._own is not None:
                self.module.forward = self._own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What stands in the place."""
        return self.original(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = copy.deepcopy(self.module, memo)
        return copy.deepcopy(self._own, memo) if self._own is not None else types.MethodType(type(twin).forward, twin)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise Misuse(
            "a private model cannot be pickled: pickles run code, and this one would hold what belongs to the run",
            where=type(self.module).__name__,
            fix="save weights with pellucid.train.save of standard(model), or let the run save them",
        )


class Layer(Patch):
    """A layer with parameters of its own.

    Attributes:
        rule: What makes contributions of its gradient; None if the layer has to run again for that.
        twin: What runs instead of it, if its inner parts have to be watched.
    """

    def __init__(
        self, name: str, module: nn.Module, recorder: Recorder, rule: Rule | None, twin: Replacement | None
    ) -> None:
        super().__init__(name, module, recorder)
        self.rule, self.twin = rule, twin
        self._named = dict(module.named_parameters(remove_duplicate=False))
        self._known = set(self._named.values())
        self._shares: set[float] = set()  # rows of its own for each row of the batch, as made-up rows had them

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The layer, recorded where it counts."""
        recorder, module = self._recorder, self.module
        if recorder.resting:
            twin = None if recorder.plain else self.twin
            return twin(module, _ignore, *args, **kwargs) if twin else self.original(*args, **kwargs)
        pass_ = recorder.admit() if module.training and torch.is_grad_enabled() else None
        if pass_ is None:
            return self.original(*args, **kwargs)
        if self.twin is not None:
            return self.twin(module, self._watcher(pass_), *args, **kwargs)
        given = _tensors(args, kwargs) if not kwargs else self._bound(args, kwargs)
        versions = [value._version for value in given]
        output = self.original(*args, **kwargs)
        return self._watch(pass_, args, kwargs, output, given, versions)

    def _watch(
        self,
        pass_: Pass,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
        given: list[torch.Tensor],
        versions: list[int],
    ) -> Any:
        if not isinstance(output, torch.Tensor):
            raise UnsupportedModel(
                "a layer with parameters of its own must give one tensor",
                where=self.where,
                fix="put its parameters into a small module of their own that gives one tensor",
            )
        if output._is_view():  # an activation in place would move its place in the graph
            output = torch.ops.aten._unsafe_view(output, output.shape)
        module, rule, recorder = self.module, self.rule, self._recorder
        inputs = tuple(value.detach() for value in given)

        def pieces(gradient: torch.Tensor, units: int) -> Pieces:
            if [value._version for value in inputs] != versions:
                raise UnsupportedModel(
                    "what a layer was given was changed in place afterwards",
                    where=self.where,
                    fix="do not write into the input of a layer that has parameters",
                )
            self._hold_share(len(gradient) / (units * recorder.views))
            try:
                if rule is not None:
                    yield from rule(module, inputs, gradient, units)
                    return
                with recorder.at_rest():  # the layer runs again
                    found = fallback(module, args, kwargs, gradient, units)
            except UnsupportedModel as error:
                raise UnsupportedModel(error.what, where=self.where, fix=error.fix) from error
            yield from found

        self._watcher(pass_)(output, pieces)
        return output

    def _hold_share(self, share: float) -> None:
        """How many rows of a layer's belong to one row of the batch may not depend on the data.

        Raises:
            UnsupportedModel: It is another number than with made-up rows, so that rows cannot be told apart.
        """
        if not self._recorder.learned:
            self._shares.add(share)
        elif share not in self._shares:
            raise UnsupportedModel(
                "how many rows reach this layer depends on what is in them, so that nobody can say whose they are",
                where=self.where,
                fix="give it all rows, and mask what it makes of those that do not count",
            )

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
        """Tensors in the order of the layer's signature, however they are named in the call."""
        try:
            arguments = inspect.signature(self.original).bind(*args, **kwargs).arguments
        except (TypeError, ValueError):
            return _tensors(args, kwargs)
        return _tensors(tuple(arguments.values()), {})

    def _watcher(self, pass_: Pass) -> Callable[[torch.Tensor, Callable[[torch.Tensor, int], Pieces]], None]:
        """Watches for the pass; parameters that stand in for sharded ones in this moment get the name of those."""
        module = self.module
        held = module.parameters() if module._modules else module._parameters.values()
        if all(parameter is None or parameter in self._known for parameter in held):
            return pass_.watch

        def watch(tensor: torch.Tensor, pieces: Callable[[torch.Tensor, int], Pieces]) -> None:
            def resolved(gradient: torch.Tensor, units: int) -> Pieces:
                found = list(pieces(gradient, units))
                names = {p: name for name, p in self.module.named_parameters(remove_duplicate=False)}
                for parameter, contribution in found:
                    yield (parameter if parameter in self._known else self._named[names[parameter]]), contribution

            pass_.watch(tensor, resolved)

        return watch


class Root(Patch):
    """The whole model.

    Attributes:
        layer: The model as a layer, if it has parameters of its own.
    """

    def __init__(self, module: nn.Module, recorder: Recorder, layer: Layer | None) -> None:
        super().__init__("", module, recorder)
        self.layer = layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model, its output cut from its graph where it counts."""
        recorder = self._recorder
        run = self.original if self.layer is None else self.layer
        recording = self.module.training and torch.is_grad_enabled() and not recorder.resting
        # a module that calls itself gives hidden rows to the inner pass
        if not recording or recorder.current() is not None:
            return run(*args, **kwargs)
        return recorder.start(args, kwargs, run)


def _ignore(tensor: torch.Tensor, pieces: Callable[[torch.Tensor, int], Pieces]) -> None:
    """Nothing is watched."""


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    if not kwargs and all(isinstance(value, torch.Tensor) for value in args):
        return list(args)
    return [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
