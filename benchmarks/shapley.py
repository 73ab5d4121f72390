"""Shapley values beside shap's, at equal and at a tenth of its error: the table that explanations are held against.

    python benchmarks/shapley.py [--threads 1] [--rounds 5] [--quick]

Both are asked about the same networks (30 and 100 features, two hidden layers of 64), people and 50 background rows,
in one process, by turns. shap is called as a user calls it: the model wrapped in a function of arrays, ``Independent``
masker, defaults otherwise. Errors are root mean squares over rows and fields against a reference of many walks with
other seeds. Of our walks the least number is taken whose error is at most shap's (at most a tenth of it, for
``KernelExplainer``, which is asked about fewer rows). Times are a row's, medians over rounds; ratios are of medians.
By default ``KernelExplainer`` keeps ten fields of a row only, which is most of its error; "kernel, all" is the same
with ``l1_reg=False``, at equal error. With one thread the clock is the process's CPU time, with more the wall's.

The last table is the importance of 100 features over 10,000 rows: the least number of walks whose standard error over
rows and walks is 1 % of the largest importance.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Any, Final

import numpy as np
import torch
from explain_models import learnt, people
from torch import nn

from pellucid.explain.background import Background
from pellucid.explain.fields import Fields
from pellucid.explain.shapley import ShapleyValues
from pellucid.explain.strength import measure_strength
from pellucid.explain.walks import estimate_shapley

BACKGROUND: Final = 50
LADDER: Final = (*range(4, 30, 2), *range(30, 150, 5), *range(150, 700, 50))
REQUIRED: Final = {"permutation": "4.5", "kernel": "25.0", "kernel, all": "-"}
Array = np.ndarray[Any, np.dtype[np.float64]]


def answers(model: nn.Module) -> Callable[[Array], Array]:
    """The model as shap wants it."""

    def score(x: Array) -> Array:
        with torch.no_grad():
            return model(torch.from_numpy(x.astype(np.float32)))[:, 0].numpy()

    return score


def theirs(kind: str, model: nn.Module, background: Background) -> Callable[[Array], Array]:
    """shap's explainer, ready."""
    import shap

    rows = background.rows.numpy()
    if kind == "permutation":
        explainer = shap.PermutationExplainer(answers(model), shap.maskers.Independent(rows, max_samples=len(rows)))
        return lambda x: explainer(x, silent=True).values
    kernel = shap.KernelExplainer(answers(model), rows)
    chosen = {"l1_reg": False} if kind == "kernel, all" else {}
    return lambda x: kernel.shap_values(x, silent=True, **chosen)


def error(found: Array, reference: Array) -> float:
    return float(np.sqrt(np.square(found - reference).mean()))


def duel(kind: str, features: int, rows: int, few: int, rounds: int, share: float, clock: Callable[[], float]) -> None:
    """One line of the table."""
    model, fields = learnt(features), Fields.single(features)
    x = people(rows * rounds, features, 2)
    background = Background(people(BACKGROUND, features, 3), False, "people of the same kind")
    judged = x[: min(len(x), 40)]

    def ours(part: torch.Tensor, walks: int, seed: int) -> ShapleyValues:
        return estimate_shapley(model, part, background, fields, walks=walks, seed=seed)

    reference = ours(judged, 3000, 99)
    np.random.seed(0)  # shap draws from the global generator
    explain = theirs(kind, model, background)
    explain(judged[:2].numpy())  # compiles
    their_error = error(explain(judged.numpy()), reference.rows)
    for walks in LADDER:
        our_error = error(ours(judged, walks, 1).rows, reference.rows)
        if our_error <= share * their_error:
            break
    else:
        raise SystemExit(f"{kind}, {features} features: no number of walks in the ladder reaches {share} of the error")
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        part = x[number * rows : (number + 1) * rows]
        for name, count, call in (
            ("theirs", few, lambda p=part: explain(p[:few].numpy())),
            ("ours", rows, lambda p=part: ours(p, walks, 2)),
        ):
            start = clock()
            call()
            times[name].append((clock() - start) / count)
    own, other = statistics.median(times["ours"]), statistics.median(times["theirs"])
    print(
        f"{kind:12} {features:4} {rows * rounds:6} {other * 1e3:10.2f} {their_error:10.5f} {own * 1e3:10.3f} "
        f"{our_error:10.5f} {walks:6} {other / own:8.1f} {REQUIRED[kind]:>9}",
        flush=True,
    )


def whole(rows: int, clock: Callable[[], float]) -> None:
    """The importance of 100 features, to a hundredth of the largest."""
    model, fields, x = learnt(100), Fields.single(100), people(rows, 100, 4)
    background = Background(people(BACKGROUND, 100, 3), False, "people of the same kind")
    for walks in (4, 6, 8, 12, 16, 24):
        start = clock()
        found = measure_strength(estimate_shapley(model, x, background, fields, walks=walks, seed=1))
        spent = clock() - start
        print(
            f"{rows:6} rows, {walks:3} walks: {spent:6.2f} s, standard error {found.relative_error:.2%} of the largest"
        )
        if found.relative_error <= 0.01:
            break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer rows: the figures wobble")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")  # shap's and numba's, of their own insides
    clock = time.process_time if asked.threads == 1 else time.perf_counter
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}"
    print(f"{machine}, Python {platform.python_version()}, shap {metadata.version('shap')}")
    print(f"torch {torch.__version__}, {asked.threads} thread(s), {clock.__name__}, {BACKGROUND} background rows")
    print(
        f"{'shap':12} {'fld':>4} {'rows':>6} {'shap ms':>10} {'error':>10} {'ours ms':>10} {'error':>10} {'walks':>6} "
        f"{'ratio':>8} {'required':>9}"
    )
    rows = 40 if asked.quick else 1000 // asked.rounds
    for features in (30, 100):
        duel("permutation", features, rows, rows, asked.rounds, 1.0, clock)
    for features in (30, 100):
        duel("kernel", features, rows, 2 if asked.quick else 8, asked.rounds, 0.1, clock)
        duel("kernel, all", features, rows, 2 if asked.quick else 8, asked.rounds, 1.0, clock)
    whole(2000 if asked.quick else 10_000, clock)


if __name__ == "__main__":
    main()
