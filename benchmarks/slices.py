"""Slice search beside sliceline: time, peak memory, and whether a planted slice is found.

    python benchmarks/slices.py [--rounds 3]

50 000 rows of 30 columns of 10 values each; errors have the rate 0.15, and 0.75 where two given values meet (about 500
rows). Every measurement is a process of its own that makes the table, warms up on a small one, and calls once; the
contenders take turns, and the ratio is of medians. sliceline is called as its documentation does: all pairs
(`max_l=2`), the ten best (`k=10`), `alpha=0.99` (0.6, its default, and 0.95 return nothing here), and a least support
of 100 rows, as much as Pellucid's 50 in each half. Both get all rows; Pellucid searches one half and tests what it
finds on the other, which sliceline leaves to its user. Peak memory is of the whole process, libraries included;
processor time, of all threads, is what a busy machine leaves alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ROWS, COLUMNS, VALUES = 50_000, 30, 10
PLANTED = {3: 4, 17: 2}
CONTENDERS = ("sliceline, pairs", "pellucid, pairs", "pellucid, triples")


def table(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (rows, COLUMNS) and errors (rows,), the same in every process."""
    rng = np.random.default_rng(20260301)
    values = rng.integers(0, VALUES, (rows, COLUMNS))
    inside = np.logical_and.reduce([values[:, column] == value for column, value in PLANTED.items()])
    return values, (rng.random(rows) < np.where(inside, 0.75, 0.15)).astype(np.float64)


def sliceline_pairs(values: np.ndarray, errors: np.ndarray) -> list[str]:
    from sliceline.slicefinder import Slicefinder

    support = 100 if len(errors) == ROWS else 10
    finder = Slicefinder(alpha=0.99, k=10, max_l=2, min_sup=support, verbose=False).fit(values, errors)
    return [
        " and ".join(f"c{column} = {value}" for column, value in enumerate(one) if value is not None)
        for one in finder.top_slices_
    ]


def pellucid(order: int) -> Callable[[np.ndarray, np.ndarray], list[str]]:
    from pellucid.explain.slices import find_slices

    def search(values: np.ndarray, errors: np.ndarray) -> list[str]:
        columns = {f"c{column}": values[:, column] for column in range(COLUMNS)}
        # of three columns, every cell of ten people a half is searched, which are nearly all of four million
        found = find_slices(errors, columns, order=order, share=0.002 if order == 2 else 0.0)
        return [one.where for one in found.slices]

    return search


def measure(contender: str) -> dict[str, Any]:
    """One call in this process."""
    calls = {
        "sliceline, pairs": lambda: sliceline_pairs,
        "pellucid, pairs": lambda: pellucid(2),
        "pellucid, triples": lambda: pellucid(3),
    }
    call = calls[contender]()
    call(*table(2000))
    values, errors = table(ROWS)
    start, busy = time.perf_counter(), time.process_time()
    found = call(values, errors)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    planted = " and ".join(f"c{column} = {value}" for column, value in PLANTED.items())
    return {"seconds": seconds, "busy": busy, "megabytes": peak, "found": planted in found, "slices": len(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child)))
        return
    runs: dict[str, list[dict[str, Any]]] = {contender: [] for contender in CONTENDERS}
    for _ in range(options.rounds):
        for contender in CONTENDERS:
            command = [sys.executable, __file__, "--child", contender]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            runs[contender].append(json.loads(out.splitlines()[-1]))
    print(
        f"{ROWS} x {COLUMNS} x {VALUES} values, {options.rounds} rounds, {os.cpu_count()} cores, {platform.machine()}\n"
    )
    print(
        "| contender | seconds | processor seconds | peak MB | slices | planted one found |\n|---|---|---|---|---|---|"
    )
    middle = {
        contender: [statistics.median(one[name] for one in rounds) for name in ("seconds", "busy", "megabytes")]
        for contender, rounds in runs.items()
    }
    for contender, (seconds, busy, megabytes) in middle.items():
        rounds = runs[contender]
        found = "yes" if all(one["found"] for one in rounds) else "NO"
        print(f"| {contender} | {seconds:.2f} | {busy:.2f} | {megabytes:.0f} | {rounds[0]['slices']} | {found} |")
    wall, busy, memory = (
        theirs / ours for theirs, ours in zip(middle[CONTENDERS[0]], middle[CONTENDERS[1]], strict=True)
    )
    print(f"\nall pairs: {wall:.1f} times faster ({busy:.1f} in processor time), {memory:.1f} times less memory")
    print(f"three-way: {middle[CONTENDERS[2]][0]:.1f} s")


if __name__ == "__main__":
    main()
