"""One process of ``test_workers``: a governed run under torchrun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from pellucid.errors import PellucidError
from pellucid.privacy import Plan
from pellucid.project import Project, budgets, gate

if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    folder, units, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    rank = dist.get_rank()
    gate.EVERY = 0.0
    plan = Plan.calibrate(epsilon=2, delta=1e-5, units=units, test=0.3, batch=256, epochs=2, clip=1.0)
    with Project.open(folder, identity="sid", passphrase=os.environ["PELLUCID_PASSPHRASE"]) as project:
        try:
            with project.run(
                "together", data="applicants", purpose="credit scoring", plan=plan, factory="model:build"
            ) as run:
                torch.manual_seed(rank)
                model: nn.Module = nn.Linear(run.encoding.width, 2)
                if how == "fsdp":
                    from torch.distributed.fsdp import fully_shard

                    fully_shard(model)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
                model, stepper, batches = run.private(model, optimizer)
                for x, y in batches:
                    if how == "ended" and rank == 0 and batches.steps_taken == 3:
                        with Project.open(folder, identity="ana", passphrase=os.environ["PELLUCID_PASSPHRASE"]) as own:
                            budgets.halt(own, run.label)
                    if how == "lost" and rank == 1 and batches.steps_taken == 3:
                        os._exit(9)
                    stepper.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    stepper.step()
                run.evaluate()
        except PellucidError as error:
            (folder / f"error-{rank}.txt").write_text(str(error))
            raise SystemExit(error.exit_code if hasattr(error, "exit_code") else 2) from None
