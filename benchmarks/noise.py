"""What noise and samples cost: the figures of docs/adr/0014-noise.md.

    python benchmarks/noise.py [--rounds 15]

One thread, medians of its CPU time; contenders take turns, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from pellucid.train.keystream import Keystream
from pellucid.train.noise import SecureNoise
from pellucid.train.sampling import PoissonSampler

COUNTS = (202, 59_000, 1_000_000)  # parameters
SAMPLES = ((20_000, 256), (60_000, 256), (60_000, 2048), (1_000_000, 2048))  # rows, expected batch


def clock(work: Callable[[], object], calls: int) -> float:
    """Seconds of CPU time a call."""
    start = time.thread_time()
    for _ in range(calls):
        work()
    return (time.thread_time() - start) / calls


def looks(rows: int, rate: float) -> Callable[[], object]:
    """A sample by one uniform word for every row, which is what drawing its size first saves."""
    bits = Keystream()
    below = int(rate * 2**63)
    return lambda: ((bits.words(rows) & (2**63 - 1)) < below).nonzero()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    noise = SecureNoise()
    kinds: dict[str, Callable[[torch.Tensor], Callable[[], object]]] = {
        "SecureNoise.add": lambda sums: lambda: noise.add(sums, 1.0),
        "SecureNoise.normals": lambda sums: lambda: noise.normals(len(sums)),
        "torch.normal_": lambda sums: lambda: sums.normal_(),
    }
    print(f"torch {torch.__version__}, numpy {np.__version__}, {torch.backends.cpu.get_cpu_capability()}\n")
    print(f"{'ns a normal':22}" + "".join(f"{count:>12}" for count in COUNTS))
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for name, make in kinds.items():
            for count in COUNTS:
                work = make(torch.zeros(count))
                taken.setdefault((name, count), []).append(clock(work, max(1, 200_000 // count)) / count * 1e9)
    for name in kinds:
        print(f"{name:22}" + "".join(f"{statistics.median(taken[name, count]):>12.2f}" for count in COUNTS))

    print("\nus a sample       of size, then members   a word for every row   ms to make the sampler")
    for rows, batch in SAMPLES:
        made, drawn, looked = [], [], []
        every = looks(rows, batch / rows)
        for _ in range(rounds):
            start = time.thread_time()
            sampler = PoissonSampler(rows, batch / rows, 1)
            made.append((time.thread_time() - start) * 1e3)
            drawn.append(clock(sampler.draw, 200) * 1e6)
            looked.append(clock(every, 10) * 1e6)
        print(
            f"{batch:>5} of {rows:<9}{statistics.median(drawn):>20.1f}{statistics.median(looked):>23.1f}"
            f"{statistics.median(made):>25.1f}"
        )


if __name__ == "__main__":
    main()
