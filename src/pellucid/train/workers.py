"""Several processes that train one model: each samples and clips its own people, and sums are added once with noise.

Poisson sampling draws every person on its own, so that people may be dealt out to workers in any way: the union of the
workers' samples is a Poisson sample of all. Each worker clips what its people say; the first one's noise is that of
the whole; one all-reduce adds both up. So guarantee and accounting are those of one process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import nn

from pellucid.errors import Misuse

__all__ = ["Workers", "full", "full_weights", "is_sharded", "local", "reshard", "shard_like", "workers"]


class Workers:
    """This process and its peers.

    Attributes:
        rank: Number of this process, from 0; number 0 adds the noise.
        count: Number of processes.
    """

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.count = dist.get_world_size() if together else 1

    def __repr__(self) -> str:
        return f"Workers(rank={self.rank}, count={self.count})"

    @property
    def leads(self) -> bool:
        """Whether this process adds the noise, writes the ledger and leaves the evidence."""
        return self.rank == 0

    def add_up(self, sums: torch.Tensor) -> None:
        """Sum over all processes, in place.

        Raises:
            Misuse: Another process is gone; nothing was released in this step.
        """
        if self.count > 1:
            self._together(lambda: dist.all_reduce(sums))

    def share(self, sums: torch.Tensor) -> None:
        """The first process's, in every process, in place.

        Raises:
            Misuse: Another process is gone.
        """
        if self.count > 1:
            self._together(lambda: dist.broadcast(sums, 0))

    def agree(self, flag: bool) -> bool:
        """What the first process says, in every process; the others' own is nothing.

        Raises:
            Misuse: Another process is gone.
        """
        said = torch.tensor([float(flag)])
        self.share(said)
        return bool(said.item())

    @staticmethod
    def _together(exchange: Callable[[], object]) -> None:
        try:
            exchange()
        except RuntimeError as error:
            raise Misuse(
                "another worker of this training is gone",
                where="optimizer.step",
                fix="the run ends here, and steps taken are counted; look at the other worker's error",
            ) from error

    def tell(self, note: dict[str, Any] | None) -> dict[str, Any]:
        """What the first process says, in every process; as JSON, since nothing is ever pickled.

        Args:
            note: Of the first process; the others give None.

        Raises:
            Misuse: The first process is gone.
        """
        if self.count == 1:
            return note or {}
        text = torch.frombuffer(bytearray(json.dumps(note).encode()), dtype=torch.uint8)
        size = torch.tensor([len(text)])
        try:
            dist.broadcast(size, 0)
            if not self.leads:
                text = torch.zeros(int(size), dtype=torch.uint8)
            dist.broadcast(text, 0)
        except RuntimeError as error:
            raise Misuse("the first worker of this training is gone", fix="look at its error") from error
        told: dict[str, Any] = json.loads(bytes(text.tolist()))
        return told

    def same_start(self, model: nn.Module) -> None:
        """Give every process the first one's weights and buffers, and hold that the models are of one form.

        Raises:
            Misuse: They are not, or the model is wrapped for another kind of distribution.
        """
        kind = type(model).__name__
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            raise Misuse(
                f"{kind} would average gradients before they are clipped",
                where=kind,
                fix="give the bare module: the engine adds up the workers' sums itself",
            )
        if self.count == 1:
            return
        form = [f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in model.state_dict().items()]
        mine = hashlib.sha256("\n".join(form).encode()).digest()
        digests = [torch.zeros(len(mine), dtype=torch.uint8) for _ in range(self.count)]
        dist.all_gather(digests, torch.frombuffer(bytearray(mine), dtype=torch.uint8))
        if any(not torch.equal(digest, digests[0]) for digest in digests):
            raise Misuse("the workers' models differ", where=kind, fix="build the same model in every process")
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                if not is_sharded(tensor):  # a sharded tensor is one tensor already
                    dist.broadcast(tensor, 0)


def workers() -> Workers:
    """The processes of this training: those of ``torch.distributed``, if it was initialised."""
    return Workers()


SHARDED: Final = "DTensor"


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether ``tensor`` is spread over processes (FSDP2)."""
    return _kind_is_sharded(type(tensor))


@cache
def _kind_is_sharded(kind: type) -> bool:
    return SHARDED in {base.__name__ for base in kind.__mro__}


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of ``tensor`` that this process holds: all of it, unless it is sharded."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]  # of DTensor


def full(tensor: torch.Tensor) -> torch.Tensor:
    """All of ``tensor``, gathered if it is sharded."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]  # of DTensor


def reshard(module: nn.Module) -> None:
    """Give up what a forward pass without a backward pass gathered (FSDP2), so that the sharded parameters are seen."""
    for part in module.modules():
        give_up = getattr(part, "reshard", None)
        if callable(give_up) and any(kind.__name__ == "FSDPModule" for kind in type(part).__mro__):
            give_up()


def full_weights(module: nn.Module) -> dict[str, torch.Tensor] | None:
    """All weights and buffers, gathered; None if none is sharded. Every process has to ask."""
    if not any(is_sharded(p) for p in module.parameters()):
        return None
    return {name: full(tensor).detach().clone() for name, tensor in module.state_dict().items()}


def shard_like(whole: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """The part of ``whole`` that belongs to this process, spread as ``parameter`` is."""
    if not is_sharded(parameter):
        return whole
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]  # of DTensor
    return distribute_tensor(whole, mesh, placements, src_data_rank=None)
