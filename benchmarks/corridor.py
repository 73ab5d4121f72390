"""What privacy costs on the demo's data: private and plain models side by side, in one run.

    python benchmarks/corridor.py [--runs 5]

UCI Adult as `schemas/applicants.toml` declares it, without the special columns; 30 % of the people held out at random,
another split in every run; epsilon 3 at delta 1e-5 for 32 000 declared people. All models see the same encoding.
Training of the plain models goes on until they get no better: logistic regression by L-BFGS to its optimum, the MLP by
Adam with the best of 30 epochs taken on a validation part of the training people (which privacy would not allow).
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from pellucid import train
from pellucid.privacy import Plan
from pellucid.schema import Encoding, Schema

ROOT = Path(__file__).parents[1]
Data = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # inputs, targets, test inputs
Score = Callable[[Data, int], np.ndarray]


def adult() -> pa.Table:
    """The table that the package xai ships."""
    spec = importlib.util.find_spec("xai")
    assert spec is not None, "pip install 'xai>=0.3'"
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "census.csv"
    return pa.Table.from_pandas(pd.read_csv(path, index_col=0, skipinitialspace=True), preserve_index=False)


def private(recipe: train.Recipe, encoding: Encoding, plan: Plan) -> Score:
    """The recipe, as `pellucid train` runs it."""

    def run(data: Data, _: int) -> np.ndarray:
        x, y, test = data
        module = train.build(recipe, encoding)
        average = train.MovingAverage(module, recipe.average) if recipe.average else None
        model, optimizer, batches = train.private(
            module, recipe.make_optimizer(module, plan), plan, x, y, on_step=average.update if average else None
        )
        train.fit(model, optimizer, batches, recipe.make_schedule(optimizer, plan.steps))
        batches.close()
        plain = train.standard(model)
        return train.predict(average.copy(plain) if average else plain, test)[:, 1]

    return run


def plain_logistic(data: Data, _: int) -> np.ndarray:
    """Logistic regression, practically unpenalised, to its optimum."""
    x, y, test = data
    return LogisticRegression(C=100.0, max_iter=5000).fit(x.numpy(), y.numpy()).predict_proba(test.numpy())[:, 1]


def plain_mlp(recipe: train.Recipe, encoding: Encoding) -> Score:
    """The recipe's network without privacy."""

    def run(data: Data, seed: int) -> np.ndarray:
        x, y, test = data
        # a model without privacy: which rows it is stopped by may be known
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        held, kept = order[: len(x) // 10], order[len(x) // 10 :]
        module = train.build(recipe, encoding)
        optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
        best, state = 0.0, copy.deepcopy(module.state_dict())
        for _ in range(30):
            for batch in kept[torch.randperm(len(kept))].split(256):
                optimizer.zero_grad()
                nn.functional.cross_entropy(module(x[batch]), y[batch]).backward()
                optimizer.step()
            auc = float(roc_auc_score(y[held], train.predict(module, x[held])[:, 1]))
            if auc > best:
                best, state = auc, copy.deepcopy(module.state_dict())
        module.load_state_dict(state)
        return train.predict(module, test)[:, 1]

    return run


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width, plain (the evidence of a run has the debiased one)."""
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [abs(float((scores[bins == b] - labels[bins == b]).sum())) for b in range(10)]
    return sum(gaps) / len(scores)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    torch.set_num_threads(2)
    schema = Schema.read(ROOT / "schemas" / "applicants.toml")
    mlp = train.Recipe.read(ROOT / "recipes" / "credit.toml")
    logistic = replace(mlp, kind="logistic", hidden=())
    # the same step in the direction of a clipped gradient, and the same noise: only what is cut off differs
    tight = replace(mlp, clip=1.0, learning_rate=mlp.learning_rate * mlp.clip)
    adam = train.Recipe.read(ROOT / "recipes" / "credit-adam.toml")
    automatic = replace(adam, clipping="automatic")
    encoding = Encoding.of(schema, mlp.features)
    table = adult()
    x, y = train.encode_features(table, encoding), train.encode_target(table, encoding)
    plan = Plan.calibrate(**mlp.plan_arguments(schema.units))
    print(
        f"epsilon {plan.epsilon} at delta {plan.delta:g}: noise {plan.noise_multiplier}, {plan.steps} steps, "
        f"sample rate {plan.sample_rate:.4f}, {encoding.width} inputs"
    )
    contenders: dict[str, Score] = {
        "private logistic": private(logistic, encoding, plan),
        "private mlp (recipes/credit.toml)": private(mlp, encoding, plan),
        "the same, clipped at 1": private(tight, encoding, replace(plan, clip=tight.clip)),
        "recipes/credit-adam.toml": private(adam, encoding, Plan.calibrate(**adam.plan_arguments(schema.units))),
        "the same, clipping automatic": private(
            automatic, encoding, Plan.calibrate(**automatic.plan_arguments(schema.units))
        ),
        "plain logistic, converged": plain_logistic,
        "plain mlp, converged": plain_mlp(mlp, encoding),
    }
    aucs: dict[str, list[float]] = {name: [] for name in contenders}
    accuracies: dict[str, list[float]] = {name: [] for name in contenders}
    errors: dict[str, list[float]] = {name: [] for name in contenders}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(runs):
        # the same public rows are held out in every measurement
        test = torch.from_numpy(np.random.default_rng(run).random(len(x)) < mlp.test)
        for name, score in contenders.items():
            start = time.perf_counter()
            scores = score((x[~test], y[~test], x[test]), run)
            seconds[name].append(time.perf_counter() - start)
            aucs[name].append(float(roc_auc_score(y[test], scores)))
            errors[name].append(calibration_error(scores, y[test].numpy()))
            accuracies[name].append(float(((scores > 0.5) == y[test].numpy()).mean()))
    best = max(statistics.median(aucs[name]) for name in contenders if name.startswith("plain"))
    print(f"\n{'':36}{'AUC':>8}{'low':>8}{'high':>8}{'gap':>8}{'accuracy':>10}{'ECE':>8}{'seconds':>9}")
    for name in contenders:
        auc = statistics.median(aucs[name])
        print(
            f"{name:36}{auc:8.4f}{min(aucs[name]):8.4f}{max(aucs[name]):8.4f}{best - auc:8.4f}"
            f"{statistics.median(accuracies[name]):10.4f}{statistics.median(errors[name]):8.4f}"
            f"{statistics.median(seconds[name]):9.1f}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nmedians, lowest and highest of {runs} runs; gap to the better plain model; peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
