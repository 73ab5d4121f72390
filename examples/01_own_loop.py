"""The training loop stays your own: wrap the model, the optimizer and the data, and leave evidence.

Claim: the run is accounted for in full, the bundle verifies, and the release check says no where the evidence for a
requirement is not there yet, and yes where it is.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import pellucid as plc

SCHEMA = """
[dataset]
target = "repaid"
units = 6000
purposes = ["credit scoring"]
[dataset.budget]
epsilon = 6.0
delta = 1e-5
[columns.income]
type = "number"
bounds = [0, 200000]
scale = "log"
sensitivity = "personal"
[columns.debt]
type = "number"
bounds = [0, 100000]
sensitivity = "personal"
[columns.gender]
type = "category"
categories = ["female", "male"]
sensitivity = "special"
[columns.repaid]
type = "boolean"
sensitivity = "personal"
"""
POLICY = """
[[require]]
id = "privacy.epsilon"
that = "privacy.epsilon <= 3.0 && privacy.delta <= 1e-5"
because = "decided by the data protection officer"
[[require]]
id = "explanation.completeness"
that = "explanation.completeness_gap <= 0.01"
because = "attributions must add up to the score"
"""


def people(n: int) -> pd.DataFrame:
    """Made-up people, so that this example needs nobody's data."""
    rng = np.random.default_rng(7)
    income, debt = rng.uniform(5_000, 150_000, n), rng.uniform(0, 90_000, n)
    chance = 1 / (1 + np.exp(-(income - debt) / 30_000))
    return pd.DataFrame(
        {
            "income": income,
            "debt": debt,
            "gender": rng.choice(["female", "male"], n),
            "repaid": rng.random(n) < chance,
        }
    )


def main(root: Path) -> None:
    schema, policy = plc.Schema.parse(SCHEMA), root / "policy.toml"
    policy.write_text(POLICY)
    with plc.Project.init(root / "credit", owner="ana", passphrase="only an example") as project:
        project.seal("applicants", people(6_000), schema=schema)
        plan = plc.Plan.calibrate(epsilon=2, delta=1e-5, units=6_000, test=0.3, batch=512, epochs=10, clip=2.0)
        with project.run("repay", data="applicants", purpose="credit scoring", plan=plan) as run:
            model = torch.nn.Linear(run.encoding.width, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
            model, optimizer, batches = run.private(model, optimizer)
            for x, y in batches:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            run.evaluate()
            without = project.bundle("repay")
            run.explain()
        bundle = project.bundle("repay")
        ledger = project.budget("applicants").document()
        owner = project.owner

    assert run.steps_taken == plan.steps
    assert [r["status"] for r in ledger["runs"]] == ["complete"]
    assert abs(ledger["spent"] - plan.epsilon) < 1e-6

    try:
        plc.check.require(without, policy, owners=[owner])
    except plc.Refused as refused:
        assert refused.exit_code == 3, "what was not measured is not a pass"
        print("before the explanation:", str(refused).splitlines()[1].strip()[:70])
    else:
        raise AssertionError("a missing explanation must not pass")
    result = plc.check.require(bundle, policy, owners=[owner])
    print("with it:", result.verdict)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
