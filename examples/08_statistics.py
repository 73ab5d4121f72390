"""Numbers about private people, paid for: what training needs to know of a column, and how wrong it may be.

Made-up patients whose blood pressure nobody may look at. What to look at: a count, a mean, a histogram and quartiles
cost a fifth of an epsilon together, each comes with an interval, and the ledger adds them up with the training that
uses them. What the budget does not hold is refused with the price that it would hold.

Claim: every true number lies within four half-widths of the interval of the one released; the classes' weights are
right to a tenth; the ledger holds statistics and training in one total, and the model's bundle says what was released;
a release that does not fit says which would, and that one fits.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import pellucid as plc
from pellucid.project.recipe import train

SCHEMA = """
[dataset]
target = "ill"
units = 20000
purposes = ["care research"]
[dataset.budget]
epsilon = 3.0
delta = 1e-6
[columns.ill]
type = "boolean"
sensitivity = "special"
[columns.pressure]
type = "number"
bounds = [40, 300]
sensitivity = "personal"
[columns.ward]
type = "category"
categories = ["north", "south", "intensive"]
sensitivity = "personal"
"""
RECIPE = """
[model]
kind = "logistic"
[train]
epochs = 5
batch = 1024
learning_rate = 1.0
clip = 1.0
[privacy]
epsilon = 1.0
delta = 1e-6
[split]
test = 0.3
"""
ASKED = ["count", "mean:pressure", "histogram:ward", "histogram:ill", "quantiles:pressure:0.05,0.5,0.95"]


def patients(n: int) -> pd.DataFrame:
    """Made-up people, so that this example needs nobody's data."""
    rng = np.random.default_rng(7)
    pressure = np.clip(rng.normal(130, 20, n), 40, 300).round()
    ill = rng.random(n) < 1 / (1 + np.exp(-(pressure - 150) / 8))
    ward = rng.choice(["north", "south", "intensive"], n, p=[0.5, 0.4, 0.1])
    return pd.DataFrame({"ill": ill, "pressure": pressure, "ward": ward})


def main(root: Path) -> None:
    frame = patients(19_870)
    with plc.Project.init(root / "hospital", owner="ana", passphrase="only an example") as project:
        project.seal("patients", frame, schema=plc.Schema.parse(SCHEMA))
        release = project.release("patients", ASKED, purpose="care research", epsilon=0.2)
        truth = {
            "count": {"count": len(frame)},
            "mean:pressure": {"mean": frame["pressure"].mean()},
            "histogram:ward": frame["ward"].value_counts().to_dict(),
            "quantiles:pressure": {f"{q:g}": frame["pressure"].quantile(q) for q in (0.05, 0.5, 0.95)},
        }
        for name, true in truth.items():
            for what, found in release[name].estimates.items():
                print(f"{name:>18} {what:<9} {found.value:>9.1f}  in [{found.low:.1f}, {found.high:.1f}]")
                assert abs(found.value - true[what]) <= 4 * (found.high - found.low) / 2
        weights = release["histogram:ill"].class_weights()
        right = len(frame) / 2 / frame["ill"].sum()
        print(f"class weights: {weights['true']:.2f} for the ill, {weights['false']:.2f} for the others")
        assert abs(weights["true"] / right - 1) < 0.1

        recipe = root / "recipe.toml"
        recipe.write_text(RECIPE)
        outcome = train(project, "illness", dataset="patients", purpose="care research", recipe=recipe)
        ledger = project.budget("patients")
        print(f"the ledger: {ledger.spent:.3f} of 3 spent on {' and '.join(run.run for run in ledger.runs)}")
        assert {run.run for run in ledger.runs} == {release.label, outcome.model}
        assert ledger.spent > outcome.epsilon
        kinds = {item.kind for item in plc.bundle.verify(project.bundle("illness"), [project.owner]).evidence}
        assert "release" in kinds, "a model's bundle says what was released of its data"

        try:
            project.release("patients", ASKED, purpose="care research", epsilon=3.0)
        except plc.errors.BudgetExceeded as refused:
            print(refused)
            fits = float(str(refused.fix).split("epsilon ")[1].split(";")[0])
        project.release("patients", ASKED, purpose="care research", epsilon=fits)
        print(f"left: {project.budget('patients').left}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
