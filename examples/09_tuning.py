"""Tuning for one reservation: the best of many trainings, and nothing left of the others.

Made-up people, whose loan is repaid by income and debt, and learning rates from slow to wild. What to look at: the
model claims the epsilon of the whole tuning; trying out ten and showing all would cost far more for the same noise;
of the trials that lost, and of how many there were, nothing is in the project. Then a look at held-out people that is
paid for, beside one that is not.

Claim: the bundle verifies and says what was registered; the ledger holds the tuning at what the model claims; best of
ten costs less than two thirds of all ten; a released evaluation is covered and agrees with the uncovered one.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import pellucid as plc
from pellucid.check import verify_bundle
from pellucid.privacy import TuningPlan
from pellucid.project import model

SCHEMA = """
[dataset]
target = "repaid"
units = 8000
purposes = ["credit scoring"]
[dataset.budget]
epsilon = 4.0
delta = 1e-5
[columns.repaid]
type = "boolean"
sensitivity = "personal"
[columns.income]
type = "number"
bounds = [0, 150000]
sensitivity = "personal"
[columns.debt]
type = "number"
bounds = [0, 100000]
sensitivity = "personal"
"""
RECIPE = """
[model]
kind = "logistic"
[train]
epochs = 4
batch = 256
learning_rate = 1.0
clip = 1.0
[privacy]
epsilon = 2.5
delta = 1e-5
[split]
test = 0.3
"""
# The one trial that is drawn at worst has to be worth having: every configuration of a space should learn.
SPACE = {"train.learning_rate": {"low": 0.5, "high": 5.0, "scale": "log"}, "train.clip": [0.5, 1.0]}


def people(n: int) -> pd.DataFrame:
    """Made-up people, so that this example needs nobody's data."""
    rng = np.random.default_rng(7)
    income, debt = rng.uniform(5_000, 150_000, n), rng.uniform(0, 90_000, n)
    repaid = rng.random(n) < 1 / (1 + np.exp(-(income - debt) / 20_000))
    return pd.DataFrame({"repaid": repaid, "income": income.round(2), "debt": debt.round(2)})


def main(root: Path) -> None:
    recipe = root / "recipe.toml"
    recipe.write_text(RECIPE)
    with plc.Project.init(root / "bank", owner="ana", passphrase="only an example") as project:
        project.seal("people", people(7_960), schema=plc.Schema.parse(SCHEMA))
        outcome = project.tune(
            SPACE, trials=10, name="credit", data="people", purpose="credit scoring", recipe=recipe, on_phase=print
        )
        bundle = project.bundle("credit")
        assert verify_bundle(bundle, [project.owner]).ok
        proved = {item.kind: item for item in plc.bundle.verify(bundle, [project.owner]).evidence}
        chosen = proved["training"].values["recipe"]["train"]
        print(f"{outcome.model}: learning rate {chosen['learning_rate']:.3f}, clip {chosen['clip']}")
        print(f"  epsilon {outcome.epsilon} for the whole tuning, as the ledger has it")
        assert outcome.epsilon == project.budget("people").spent <= 2.5
        assert proved["tuning"].values["trials"] == 10, "the expectation; the number that was drawn is nowhere"
        assert not [path for path in (root / "bank" / "runs").iterdir() if path.is_dir()]

        (entry,) = [e for e in project.counted() if e.kind == "reserve"]
        plan = TuningPlan.from_record(entry.body["plan"])
        everything = TuningPlan.of(plan.base, trials=10, distribution="all", score_noise=plan.score_noise)
        print(f"  ten trials of the same noise, all of them shown, would cost {everything.epsilon:.2f}")
        assert outcome.epsilon < everything.epsilon * 2 / 3

        model.load(project, "credit").evaluate(release=0.5)
        uncovered, covered = [e for e in model.models(project)[outcome.model] if e.kind == "evaluation"]
        for item in (uncovered, covered):
            auc = item.values["auc"]
            print(f"AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}], {item.coverage}")
        assert (uncovered.coverage, covered.coverage) == ("uncovered", "own-release")
        released, wide = covered.values["auc"], covered.values["auc"]["high"] - covered.values["auc"]["low"]
        assert abs(uncovered.values["auc"]["value"] - released["value"]) < wide, "twice what 95 in 100 miss by at most"
        assert uncovered.values["auc"]["low"] > 0.6, "well above chance"


if __name__ == "__main__":
    torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
