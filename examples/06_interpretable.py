"""Two models of the same people in one ledger: a network that needs explanations, and one that can be read.

Made-up people, whose loan is repaid by income and debt. What to look at: both are trained privately and paid from the
same budget; the second is a sum of one table a column, boosted under differential privacy, so that what it says of
income is a curve that anybody can follow, and a surrogate or an attribution is not needed.

Claim: both bundles verify, the ledger holds both at less than the sum of what they cost, each model ranks people well
above chance, and the readable one says more of higher incomes.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import pellucid as plc
from pellucid.project import data, model
from pellucid.project.recipe import train

SCHEMA = """
[dataset]
target = "repaid"
units = 8000
purposes = ["credit scoring"]
[dataset.budget]
epsilon = 6.0
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
COMMON = """
[privacy]
epsilon = 2.0
delta = 1e-5
[split]
test = 0.3
"""
RECIPES = {
    "network": '[model]\nkind = "mlp"\nhidden = [16]\n'
    "[train]\nepochs = 10\nbatch = 512\nlearning_rate = 0.5\nclip = 1.0\n" + COMMON,
    "readable": '[model]\nkind = "ebm"\n[train]\nrounds = 40\nlearning_rate = 0.5\n' + COMMON,
}


def people(n: int) -> pd.DataFrame:
    """Made-up people, so that this example needs nobody's data."""
    rng = np.random.default_rng(7)
    income, debt = rng.uniform(5_000, 150_000, n), rng.uniform(0, 90_000, n)
    repaid = rng.random(n) < 1 / (1 + np.exp(-(income - debt) / 20_000))
    return pd.DataFrame({"repaid": repaid, "income": income.round(2), "debt": debt.round(2)})


def main(root: Path) -> None:
    with plc.Project.init(root / "bank", owner="ana", passphrase="only an example") as project:
        project.seal("people", people(8_000), schema=plc.Schema.parse(SCHEMA))
        claimed = 0.0
        for name, text in RECIPES.items():
            recipe = root / f"{name}.toml"
            recipe.write_text(text)
            outcome = train(project, name, dataset="people", purpose="credit scoring", recipe=recipe)
            proved = {
                item.kind: item.values
                for item in plc.bundle.verify(project.bundle(outcome.model), [project.owner]).evidence
            }
            auc, surrogate = proved["evaluation"]["auc"], proved["explanation"]["surrogate"]["r2"]
            print(f"{outcome.model}: AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]", end=", ")
            print(f"epsilon {outcome.epsilon:.3f}, a shallow tree explains {surrogate['value']:.2f} of its scores")
            assert auc["low"] > 0.7, "well above chance"
            claimed += outcome.epsilon
        ledger = data.ledger(project, "people")
        print(f"the ledger: {ledger.spent:.3f} spent for both, of {claimed:.3f} claimed one by one")
        assert ledger.spent < claimed

        readable = model.load(project, "readable")
        income = torch.linspace(-1, 1, 5)
        rows = torch.stack([income, torch.zeros(5)], dim=1)
        with torch.no_grad():
            scores = readable.module(rows)
        odds = (scores[:, 1] - scores[:, 0]).tolist()
        for share, score in zip((income + 1) / 2, odds, strict=True):
            print(f"income {share * 150_000:>9,.0f}, debt 50,000: log-odds {score:+.2f}")
        assert odds[0] < odds[2] < odds[4]


if __name__ == "__main__":
    torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
