"""DP-SGD around a loop that stays the user's own.

Abadi et al. (2016, arXiv 1607.00133): per-example gradients, clipped to L2 norm C, summed, Gaussian noise of standard
deviation sigma·C added, divided by the expected batch. Gradients are taken apart by book-keeping (Bu et al. 2023, arXiv
2210.00038): one forward pass, one backward pass that forms no gradient of a weight, and one weighted contraction for
each parameter. Nothing but this engine may move the weights in between.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from pellucid.errors import BadData, Misuse
from pellucid.train.batches import Augment, Batches
from pellucid.train.guards import check_loss, check_model, check_optimizer
from pellucid.train.inputs import leaves
from pellucid.train.memory import chunk_rows
from pellucid.train.noise import Noise, SecureNoise
from pellucid.train.optimizer import PrivateOptimizer
from pellucid.train.persons import Persons
from pellucid.train.probe import blends
from pellucid.train.recorder import Recorder
from pellucid.train.release import Release
from pellucid.train.rows import check_rows
from pellucid.train.selfcheck import check_gradients
from pellucid.train.workers import reshard, workers

if TYPE_CHECKING:
    from pellucid.privacy import Plan

__all__ = ["ENGINE", "PrivateModel", "PrivateOptimizer", "private", "standard"]

ENGINE: Final = f"pellucid {metadata.version('pellucid')} book-keeping, AES-256-CTR noise and sampling"

Loss = Callable[[Any, Any], torch.Tensor]


def private(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    x: Any,
    y: Any,
    *,
    loss: Loss | None = None,
    reduction: str = "mean",
    memory: int | str | None = None,
    augment: Augment | None = None,
    people: torch.Tensor | None = None,
    on_step: Callable[[int], None] | None = None,
    noise: Noise | None = None,
    start: int = 0,
    clip: float | None = None,
) -> tuple[PrivateModel, PrivateOptimizer, Batches]:
    """Make a model and its optimizer private, and the batches they learn from.

    The loop stays the user's own, with the usual losses that average over the batch::

        for x, y in batches:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()

    ``batches`` yields exactly ``plan.steps`` Poisson samples, and each must be followed by exactly one step. When a
    sample is empty, one made-up row stands in for it, and its gradient is replaced by zero before noise is added. An
    example whose gradient is not finite counts as zero. The model takes exactly the rows of the batch, at most cast or
    moved to a device: each row must be one person's, so whatever changes rows belongs inside the module.

    Where people have several rows, ``people`` says whose each is. A person is drawn with all of them, which stand side
    by side in the batch, and their gradient is the mean over their rows, clipped as one; or, if the plan samples
    examples, every row is drawn and clipped on its own.

    Under ``torchrun``, every process gives its own part of the people and an equal model; the first one's noise is that
    of the whole. The batch of the plan is that of all processes together.

    Args:
        model: Takes ``(B, *x.shape[1:])`` and gives one row of floats for each row. Is put into training mode.
        optimizer: A fresh one of ``torch.optim`` or of Pellucid, over all trainable parameters of ``model``.
        plan: Sample rate, clip, noise multiplier, steps, normaliser, and how gradients are clipped and noise is made.
        x: Inputs of the training people, ``(N, …)``, or such tensors in dictionaries (given to the model by name),
            tuples (by position) or lists; N is private.
        y: Targets, ``(N, …)``, or such tensors in dictionaries, tuples or lists.
        loss: The loss function, if it shall be held against ``reduction``, and for coupled rows, on made-up rows.
        reduction: ``mean`` or ``sum``: what the loss does over the rows of the batch.
        memory: Bytes that a step may take, or ``"low"``: larger batches go through the model in chunks, at the price
            of a second forward pass. None: half of the memory that is free.
        augment: With ``plan.augmentations`` K above 1, makes of the K·B rows (each row K times) K views of each.
        people: ``(N,)``, int64, one number a person; needed if the plan is for people with several rows.
        on_step: Called with the number of steps taken after each.
        noise: Where noise comes from; a cryptographically secure source unless tests open an Unsafe door.
        start: Steps of the plan that are spent already, by the run that this one resumes.
        clip: Where adaptive clipping had got to then.

    Returns:
        The model to call, the optimizer to step, and the batches.

    Raises:
        UnsupportedModel: The model couples rows, learns from data in a buffer, or its per-example gradients are not
            what autograd says. Names the layer or parameter and the remedy.
        Misuse: The optimizer is not a fresh one over exactly this model, has step hooks, or either is private already;
            the loss is not what ``reduction`` says; ``people`` is missing.
        BadData: ``x`` and ``y`` do not belong together, or somebody has more rows than the plan protects.
    """
    check_rows(x, y, model)
    persons = _persons(people, plan, x)
    if reduction not in ("mean", "sum"):
        raise Misuse('reduction must be "mean" or "sum"', where="reduction")
    if start and plan.mechanism == "banded":
        raise Misuse(
            "noise that is correlated over steps cannot be taken up again, since what it was is stored nowhere",
            where="start",
            fix="take a new run with a plan of its own",
        )
    peers = workers()
    peers.same_start(model)
    check_optimizer(model, optimizer)
    check_model(model, x)
    fault = blends(augment, x) if augment is not None else None
    if fault is not None:
        raise Misuse(
            f"this is no change of single rows: {fault}",
            where="augment",
            fix="make each view from its own row: no mixup, no statistics over rows",
        )
    reshard(model)
    recorder = Recorder(model, views=plan.augmentations, reduction=reduction)
    try:
        check_gradients(recorder, x, people=persons is not None)
        if loss is not None:
            check_loss(model, loss, x, y, reduction)
        recorder.chunk = chunk_rows(recorder, x, memory, plan.batch * plan.unit_rows * plan.augmentations)
        reshard(model)
        model.train()
        source = noise or SecureNoise()
        batches = Batches(
            model, recorder, plan, x, y, source, augment=augment, on_step=on_step, start=start, persons=persons
        )
        stepper = PrivateOptimizer(optimizer, plan, batches, recorder, Release(plan, source, peers))
    except BaseException:
        recorder.release()
        raise
    batches.drop = stepper.drop
    if clip is not None:
        stepper.resume_clip(clip)
    return PrivateModel(model, recorder), stepper, batches


def _persons(people: torch.Tensor | None, plan: Plan, x: Any) -> Persons | None:
    """Whose rows are drawn together; None where each row is drawn on its own."""
    if people is None:
        if plan.unit_rows > 1:
            raise Misuse(
                f"the plan is for people with up to {plan.unit_rows} rows, and nothing says whose rows are whose",
                where="people",
                fix="give people=, one number a person, for every row",
            )
        return None
    if len(people) != len(leaves(x)[0]):
        raise BadData("there must be one number of a person for every row", where="people")
    persons = Persons(people, plan.unit_rows)  # also where rows are drawn: the plan's bound has to hold
    return persons if plan.unit_rows > 1 and plan.sampling == "user" else None


def standard(model: nn.Module) -> nn.Module:
    """A plain copy of a private model: nothing is recorded, evaluation mode. The original goes on."""
    plain = copy.deepcopy(model)
    for part in plain.modules():
        forward = vars(part).get("forward")
        if isinstance(forward, types.MethodType) and forward.__func__ is type(part).forward:
            del part.forward  # what a patch leaves in a copy
    for parameter in plain.parameters():
        parameter.grad = None
    return plain.eval()


class PrivateModel(nn.Module):
    """The user's model, whose loss leaves per-example gradients with the engine and none in ``parameter.grad``.

    Its ``state_dict`` is the user's model's. It cannot be pickled; a deep copy of it is a plain copy of the user's
    model.
    """

    def __init__(self, module: nn.Module, recorder: Recorder) -> None:
        super().__init__()
        self._module = module
        self._recorder = recorder

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The user's model's."""
        return self._modules["_module"](*args, **kwargs)  # type: ignore[misc]  # it is there; attribute access costs more

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_module"), name)

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        return copy.deepcopy(self._module, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise Misuse(
            "a private model cannot be pickled: pickles run code, and this one would hold what belongs to the run",
            where=type(self._module).__name__,
            fix="save weights with pellucid.train.save of standard(model), or let the run save them",
        )

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The user's model's: names without prefix."""
        return self._module.state_dict(*args, **kwargs)

    def to_standard_module(self) -> nn.Module:
        """The user's own module again, as it was before: not private, and not fit for a further step of the run."""
        self._recorder.release()
        return self._module
