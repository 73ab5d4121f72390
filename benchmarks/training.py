"""What a private step costs, beside a plain one and beside Opacus: the table that the engine is held against.

    python benchmarks/training.py [--models mlp,cnn] [--threads 1,2] [--rounds 20] [--quick] [--no-opacus] [--mallopt]
    python benchmarks/training.py --governance

Contenders take turns in one process, a few steps each after one that does not count, and medians over all steps are
compared, so that a busy machine slows all alike. With one thread the clock is the thread's own CPU time; with more it
is the wall's.

``plain``  torch: zero_grad, forward, cross entropy, backward, SGD step, on one batch that is given.
``ours``   the whole private step: sample drawn and gathered, all guards, forward, backward, clipping, secure noise,
           SGD step. Sizes of samples vary by chance, as they must.
``given``  the same less the drawing and gathering of the sample: what the others' steps are.
``low``    the same with ``memory="low"``.
``hooks``, ``ghost``  Opacus with torch's generator for noise, on one batch that is given (no sampling).

``loaders`` adds to each side what its own loader takes for a batch: torch's shuffling ``DataLoader``, Opacus's
``DPDataLoader``; ours is in the step already.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from models import TASKS, Task
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pellucid.privacy import Plan
from pellucid.train import private
from pellucid.train.noise import SecureNoise

STEPS: Final = 1_000_000  # of the plan: more than any measurement takes
RATE: Final = 1e-3  # learning rate: nothing may diverge, since speed depends on what is not finite
LOSS: Final = nn.CrossEntropyLoss()
EPOCH_ROWS: Final = 20_000
EPOCH_REQUIRED: Final = {256: 1.2, 2048: 0.8}
GOVERNED: Final = 40.0  # seconds that the governed epoch shall take at least
Step = Callable[[], None]
Clock = Callable[[], float]


def plan_of(examples: int, batch: int, steps: int = STEPS) -> Plan:
    """A plan by its arithmetic alone: the accountant is not what is measured."""
    return Plan(
        epsilon=1.0,
        delta=1e-9,
        units=examples,
        test=0.0,
        batch=batch,
        epochs=steps * batch / examples,
        clip=1.0,
        noise_multiplier=1.0,
    )


# -- contenders -------------------------------------------------------------------------------------------------------


def plain(task: Task, batch: int, data: tuple[Tensor, Tensor]) -> Step:
    """Torch alone."""
    model = task.make()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    x, y = data[0][:batch].clone(), data[1][:batch].clone()

    def step() -> None:
        optimizer.zero_grad()
        LOSS(model(x), y).backward()
        optimizer.step()

    return step


def ours(
    task: Task,
    batch: int,
    data: tuple[Tensor, Tensor],
    memory: str | None = None,
    clock: Clock = time.perf_counter,
    drawn: list[float] | None = None,
) -> Step:
    """The engine. ``drawn`` gets the seconds that each batch took before the loop had it."""
    module = task.make()
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    model, stepper, batches = private(module, optimizer, plan_of(len(data[0]), batch), *data, memory=memory)

    def step() -> None:
        start = clock()
        x, y = next(batches)
        if drawn is not None:
            drawn.append(clock() - start)
        stepper.zero_grad()
        LOSS(model(x), y).backward()
        stepper.step()

    return step


def opacus_parts(task: Task, data: tuple[Tensor, Tensor], batch: int, mode: str, poisson: bool) -> Any:
    """Model, optimizer, loss and loader as Opacus makes them private."""
    from opacus import PrivacyEngine
    from opacus.validators import ModuleValidator

    module = (task.opacus or task.make)()
    if task.fix:
        module = ModuleValidator.fix(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    made = PrivacyEngine().make_private(
        module=module,
        optimizer=optimizer,
        data_loader=DataLoader(TensorDataset(*data), batch_size=batch),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        poisson_sampling=poisson,
        grad_sample_mode=mode,
        **({"criterion": nn.CrossEntropyLoss()} if mode == "ghost" else {}),
    )
    if mode == "ghost":
        model, optimizer, loss, loader = made
    else:
        (model, optimizer, loader), loss = made, LOSS
    return model.train(), optimizer, loss, loader


def opacus(task: Task, batch: int, data: tuple[Tensor, Tensor], mode: str) -> Step:
    """Opacus, on a batch that is given."""
    x, y = data[0][:batch].clone(), data[1][:batch].clone()
    model, optimizer, loss, _ = opacus_parts(task, (x, y), batch, mode, poisson=False)

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return step


def contenders(
    task: Task, batch: int, data: tuple[Tensor, Tensor], args: argparse.Namespace, drawn: list[float]
) -> dict[str, Step]:
    """By name, in the order of their turns."""
    engine = ours(task, batch, data, clock=clock_of(args.thread), drawn=drawn)
    steps = {"plain": plain(task, batch, data), "ours": engine}
    if args.low:
        steps["low"] = ours(task, batch, data, "low")
    if not args.no_opacus:
        steps |= {mode: opacus(task, batch, data, mode) for mode in ("hooks", "ghost")}
    return steps


# -- clocks and rounds ------------------------------------------------------------------------------------------------


def clock_of(threads: int) -> Clock:
    """CPU time of this thread, which neighbours on the machine disturb least; the wall's if there are more threads."""
    return time.thread_time if threads == 1 else time.perf_counter


def timed(step: Step, clock: Clock) -> float:
    """Seconds."""
    start = clock()
    step()
    return clock() - start


def interleaved(steps: dict[str, Step], rounds: int, inner: int, clock: Clock) -> dict[str, float]:
    """Median seconds by contender."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            step()  # untimed: it finds the caches and the heap as another contender left them
            found[name] += [timed(step, clock) for _ in range(inner)]
    return {name: statistics.median(times) for name, times in found.items()}


def measure_step(name: str, batch: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    task, clock = TASKS[name], clock_of(args.thread)
    data = task.rows(task.examples)
    rounds = max(3, round(args.rounds * task.share))
    drawn: list[float] = []
    steps = contenders(task, batch, data, args, drawn)
    inner = max(1, task.inner * 256 // max(batch, 256)) if task.inner > 1 else 1
    medians = interleaved(steps, rounds, inner, clock)
    medians["given"] = medians["ours"] - statistics.median(drawn)
    steps.clear()
    gc.collect()
    sums = torch.zeros(sum(p.numel() for p in task.make().parameters()))
    noise = SecureNoise()
    parts = {"noise": lambda: noise.add(sums, 1.0), "loader": drawing(DataLoader, data, batch)}
    if not args.no_opacus:
        parts["opacus loader"] = dp_drawing(data, batch)
    return {"times": medians, "parts": interleaved(parts, rounds, inner, clock), "parameters": len(sums)}


def drawing(kind: Callable[..., Any], data: tuple[Tensor, Tensor], batch: int) -> Step:
    """Draws one batch, epoch after epoch."""
    return _endless(kind(TensorDataset(*data), batch_size=batch, shuffle=True))


def dp_drawing(data: tuple[Tensor, Tensor], batch: int) -> Step:
    """The same from Opacus's loader."""
    from opacus.data_loader import DPDataLoader

    return _endless(DPDataLoader(TensorDataset(*data), sample_rate=batch / len(data[0])))


def _endless(loader: Any) -> Step:
    batches = iter(loader)

    def draw() -> None:
        nonlocal batches
        if next(batches, None) is None:
            batches = iter(loader)

    return draw


# -- a whole epoch ----------------------------------------------------------------------------------------------------


def measure_epoch(batch: int, args: argparse.Namespace) -> dict[str, float]:
    """Median seconds of an epoch of the MLP, each contender with its own loader."""
    task = TASKS["mlp"]
    data = task.rows(EPOCH_ROWS)
    count = math.ceil(EPOCH_ROWS / batch)
    module = task.make()
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    loader = DataLoader(TensorDataset(*data), batch_size=batch, shuffle=True)

    def usual() -> None:
        for x, y in loader:
            optimizer.zero_grad()
            LOSS(module(x), y).backward()
            optimizer.step()

    step = ours(task, batch, data)

    def engine() -> None:
        for _ in range(count):
            step()

    runs: dict[str, Step] = {"plain": usual, "ours": engine}
    if not args.no_opacus:
        for mode in ("hooks", "ghost"):
            runs[mode] = _opacus_epoch(*opacus_parts(task, data, batch, mode, poisson=True))
    return interleaved(runs, max(3, args.rounds // 4), 1, clock_of(args.thread))


def _opacus_epoch(model: Any, optimizer: Any, loss: Any, loader: Any) -> Step:
    def epoch() -> None:
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()

    return epoch


# -- memory -----------------------------------------------------------------------------------------------------------


def measure_memory(name: str, batch: int, contender: str) -> dict[str, float]:
    """Peak memory of a few steps in this process, in MiB: whole, and above what stood before the first one."""
    task = TASKS[name]
    data = task.rows(min(task.examples, 8 * batch))
    if contender in ("ours", "low"):
        step = ours(task, batch, data, "low" if contender == "low" else None)
    elif contender == "plain":
        step = plain(task, batch, data)
    else:
        step = opacus(task, batch, data, contender)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    for _ in range(3):
        step()
    peak = _status("VmHWM")
    return {"whole": peak, "added": peak - before}


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


# -- processes --------------------------------------------------------------------------------------------------------


def tune_malloc() -> None:
    """Keep freed memory with the process, for every contender alike."""
    libc = ctypes.CDLL("libc.so.6")
    for option, value in ((-3, 1 << 30), (-1, -1), (-2, 64 << 20)):  # mmap threshold, trim threshold, top pad
        libc.mallopt(option, value)


def child(what: list[str], args: argparse.Namespace, threads: int) -> Any:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--thread", str(threads), "--rounds", str(args.rounds), "--child", *what]
    command += [flag for flag, on in (("--no-opacus", args.no_opacus), ("--mallopt", args.mallopt)) if on]
    command += ["--low"] if args.low else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if run.returncode:
        raise SystemExit(f"{' '.join(what)} failed:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def work(args: argparse.Namespace) -> None:
    """What a child does."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(args.thread)
    torch.manual_seed(0)  # made-up rows and first weights alike for all contenders; noise and samples have no seed
    if args.mallopt:
        tune_malloc()
    kind, *rest = args.child
    if kind == "step":
        found: Any = measure_step(rest[0], int(rest[1]), args)
    elif kind == "epoch":
        found = measure_epoch(int(rest[0]), args)
    else:
        found = measure_memory(rest[0], int(rest[1]), rest[2])
    print(json.dumps(found))


# -- the table --------------------------------------------------------------------------------------------------------


def machine(args: argparse.Namespace) -> str:
    """What was measured on."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    malloc = "freed memory kept (--mallopt)" if args.mallopt else "as the C library has it"
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores; torch {torch.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}; Python {platform.python_version()}; malloc {malloc}"
    )


def ratio(value: float | None, base: float, width: int = 7) -> str:
    """A column."""
    return f"{'' if value is None else f'{value / base:.2f}':>{width}}"


def table(args: argparse.Namespace, threads: int) -> None:
    """Steps and epochs with so many threads."""
    clock = "CPU time" if threads == 1 else "wall time"
    print(f"\n{threads} thread{'s' if threads > 1 else ''}, medians of {clock}, ratios to plain")
    print(
        f"{'model':25}{'batch':>6}{'examples':>9}{'plain ms':>10}{'ours':>7}{'given':>7}{'needed':>7}"
        f"{'low':>7}{'hooks':>7}{'ghost':>7}{'noise':>7}{'  loaders: ours':>15}{'hooks':>7}{'ghost':>7}"
    )
    for name in args.models:
        task = TASKS[name]
        for batch, needed in task.batches.items():
            found = child(["step", name, str(batch)], args, threads)
            times, parts = found["times"], found["parts"]
            base, loaded = times["plain"], times["plain"] + parts["loader"]
            there = {key: times[key] + parts["opacus loader"] if key in times else None for key in ("hooks", "ghost")}
            print(
                f"{task.title:25}{batch:6}{task.examples:9}{base * 1e3:10.3f}{ratio(times['ours'], base)}"
                + f"{ratio(times['given'], base)}{needed:7.2f}"
                + "".join(ratio(times.get(key), base) for key in ("low", "hooks", "ghost"))
                + f"{parts['noise'] / times['ours']:7.1%}{ratio(times['ours'], loaded, 15)}"
                + "".join(ratio(there[key], loaded) for key in ("hooks", "ghost")),
                flush=True,
            )
    if "mlp" in args.models:
        for batch, needed in EPOCH_REQUIRED.items():
            times = child(["epoch", str(batch)], args, threads)
            base = times["plain"]
            print(
                f"{'MLP, whole epoch':25}{batch:6}{EPOCH_ROWS:9}{base * 1e3:10.1f}{ratio(times['ours'], base)}"
                + f"{'':7}{needed:7.2f}"
                + "".join(ratio(times.get(key), base) for key in ("low", "hooks", "ghost")),
                flush=True,
            )


def memory_table(args: argparse.Namespace) -> None:
    """Peak memory of three steps: of three processes for each contender, the one in the middle."""
    names = ["plain", "ours", "low", *([] if args.no_opacus else ["hooks", "ghost"])]
    print(
        "\npeak memory of three steps, MiB above model, data and libraries (ratio to plain; ratio of whole processes)"
    )
    print(f"{'model':25}{'batch':>6}" + "".join(f"{name:>20}" for name in names))
    for name in args.models:
        task = TASKS[name]
        for batch in task.batches:
            found = {}
            for who in names:
                turns = [child(["memory", name, str(batch), who], args, 1) for _ in range(3)]
                found[who] = sorted(turns, key=lambda turn: turn["added"])[1]
            base = found["plain"]
            cells = [
                f"{f['added']:.0f} ({f['added'] / max(base['added'], 1):.2f}; {f['whole'] / base['whole']:.2f})"
                for f in found.values()
            ]
            print(f"{task.title:25}{batch:6}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(TASKS), help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, each measured in processes of its own")
    parser.add_argument("--rounds", type=int, default=20, help="turns of every contender; large models take a share")
    parser.add_argument("--quick", action="store_true", help="few rounds, no memory table")
    parser.add_argument("--no-opacus", action="store_true", help="without the columns of Opacus")
    parser.add_argument("--low", action="store_true", help='time memory="low" too')
    parser.add_argument("--mallopt", action="store_true", help="keep freed memory with the process, for all contenders")
    parser.add_argument("--governance", action="store_true", help="a governed run against the engine alone, instead")
    parser.add_argument("--thread", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        work(args)
        return
    args.models = [name.strip() for name in args.models.split(",")]
    unknown = [name for name in args.models if name not in TASKS]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(TASKS)}")
    if args.quick:
        args.rounds = min(args.rounds, 5)
    print(machine(args))
    if args.governance:
        from governance import measure_governance

        measure_governance(GOVERNED)
        return
    for threads in (int(count) for count in args.threads.split(",")):
        table(args, threads)
    if not args.quick:
        memory_table(args)


if __name__ == "__main__":
    main()
