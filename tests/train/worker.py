"""One process of ``test_workers``: run by torchrun."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from pellucid.errors import Misuse
from pellucid.privacy import Plan
from pellucid.train import private
from pellucid.train.noise import UnsafeZeroNoise

N, BATCH, STEPS = 64, 63, 4
LOSS = nn.CrossEntropyLoss()


def plan(clip: float = 0.5, steps: int = STEPS) -> Plan:
    return Plan(
        epsilon=1.0,
        delta=1e-6,
        units=N,
        test=0.0,
        batch=BATCH,
        epochs=steps * BATCH / N,
        clip=clip,
        noise_multiplier=1.0,
    )


def people() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand((N, 5), generator=generator) * 2 - 1, torch.randint(0, 3, (N,), generator=generator)


def build(how: str, width: int = 8) -> nn.Module:
    torch.manual_seed(1 + (dist.get_rank() if how == "ddp" else 0))  # DDP: the first one's weights are given to all
    model = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))
    if how == "fsdp":
        from torch.distributed.fsdp import fully_shard

        for layer in model:
            if isinstance(layer, nn.Linear):
                fully_shard(layer)
        fully_shard(model)
    return model


def whole(model: nn.Module) -> dict[str, torch.Tensor]:
    """Full weights, also of sharded ones."""
    found = {}
    for name, p in model.named_parameters():
        value = p.detach()
        found[name] = (value.full_tensor() if hasattr(value, "full_tensor") else value).clone()
    return found


def sums(how: str, folder: Path) -> None:
    rank, count = dist.get_rank(), dist.get_world_size()
    model = build(how)
    x, y = people()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        noise = UnsafeZeroNoise()
    wrapped, stepper, batches = private(
        model, torch.optim.SGD(model.parameters(), lr=1.0), plan(), x[rank::count], y[rank::count], noise=noise
    )
    twin = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    twin.load_state_dict(whole(model))
    for xb, yb in batches:
        drawn: list[object] = [None] * count
        dist.all_gather_object(drawn, (xb, yb))
        stepper.zero_grad()
        LOSS(wrapped(xb), yb).backward()
        stepper.step()
        one_step(twin, torch.cat([a for a, _ in drawn]), torch.cat([b for _, b in drawn]))  # type: ignore[misc]
    torch.save({"weights": whole(model), "expected": dict(twin.state_dict())}, folder / f"{rank}.pt")


def one_step(twin: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """A step of one process on everybody's sample, one person at a time."""
    total = [torch.zeros_like(p) for p in twin.parameters()]
    for row in range(len(x)):
        gradients = torch.autograd.grad(LOSS(twin(x[row : row + 1]), y[row : row + 1]), list(twin.parameters()))
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        for sum_, gradient in zip(total, gradients, strict=True):
            sum_ += gradient * min(1.0, 0.5 / float(norm))
    with torch.no_grad():
        for p, sum_ in zip(twin.parameters(), total, strict=True):
            p -= sum_ / BATCH


def noise(how: str, folder: Path) -> None:
    rank, count = dist.get_rank(), dist.get_world_size()
    model = build(how, width=64)
    x, y = people()
    before = whole(model)
    p = plan(clip=float(BATCH) * 1e6, steps=1)  # noise of standard deviation 1e6 hides the gradients
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    wrapped, stepper, batches = private(model, optimizer, p, x[rank::count], y[rank::count])
    start = whole(model)
    for xb, yb in batches:
        LOSS(wrapped(xb), yb).backward()
        stepper.step()
    assert set(start) == set(before)
    torch.save({name: value - start[name] for name, value in whole(model).items()}, folder / f"{rank}.pt")


def lost(how: str, folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun asks the survivor to end, perhaps before it has noticed
    rank, count = dist.get_rank(), dist.get_world_size()
    model = build(how)
    x, y = people()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped, stepper, batches = private(model, optimizer, plan(), x[rank::count], y[rank::count])
    for xb, yb in batches:
        if rank == 1 and batches.steps_taken == 2:
            os._exit(9)
        LOSS(wrapped(xb), yb).backward()
        try:
            stepper.step()
        except Misuse as error:
            (folder / f"{rank}.txt").write_text(f"{error}\n{batches.steps_taken}")
            raise SystemExit(1) from None


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    verb, how, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    {"sums": sums, "noise": noise, "lost": lost}[verb](how, folder)
    dist.barrier()  # nobody leaves while another still talks
    dist.destroy_process_group()
    os._exit(0)  # threads of gloo may outlive the group, and abort an orderly end
