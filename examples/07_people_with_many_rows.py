"""Patients come more than once: what is protected is the patient, not the visit.

Made-up visits to a clinic, one to nine a patient. The schema names the column that says who a patient is and declares
that at most six visits of each are sealed. What to look at: a plan that counts visits as people is refused before
anything is read, and the example says what its epsilon would have hidden; of the two sound ways to draw, patients or
visits, the plan takes the one with less noise at the same work; the scientist who trains never reads who anybody is;
and the intervals of what is measured count patients.

Claim: the bundle verifies for the unit "patient", its epsilon is recomputed from its events, the way taken has the
least noise of both, a row-level plan would have claimed less than a fifth of the true epsilon, and the model ranks
patients well above chance.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import pellucid as plc
from pellucid.check import verify_bundle
from pellucid.errors import BadPlan
from pellucid.project import people

SCHEMA = """
[dataset]
target = "readmitted"
unit = "patient"
units = 4000
rows_per_unit = 6
rows = 16000
purposes = ["care"]
[dataset.budget]
epsilon = 6.0
delta = 1e-5
[columns.patient]
type = "identifier"
sensitivity = "identifier"
[columns.age]
type = "integer"
bounds = [18, 100]
sensitivity = "personal"
[columns.days]
type = "number"
bounds = [0, 60]
sensitivity = "personal"
[columns.readmitted]
type = "boolean"
sensitivity = "personal"
"""
PUBLIC = {"delta": 1e-5, "units": 4_000, "test": 0.3, "batch": 280, "epochs": 10, "clip": 1.0}
PASSPHRASE = "only an example"


def visits(patients: int) -> pd.DataFrame:
    """Made-up visits: whoever is frail is so in every visit, so that a patient's rows are alike."""
    rng = np.random.default_rng(7)
    count = rng.integers(1, 10, patients)
    who = np.repeat(np.arange(patients), count)
    age, frail = rng.integers(18, 100, patients)[who], rng.normal(0, 1, patients)[who]
    days = np.clip(rng.gamma(2, 3, len(who)) + 4 * frail.clip(0), 0, 60)
    chance = 1 / (1 + np.exp(-((age - 60) / 15 + (days - 8) / 4 + frail / 2)))
    back = rng.random(len(who)) < chance
    return pd.DataFrame({"patient": [f"P{w:05d}" for w in who], "age": age, "days": days, "readmitted": back})


def train(project: plc.Project, plan: plc.Plan) -> None:
    """The loop is the usual one: a patient's visits come together, and are clipped as one."""
    with project.run("readmission", data="visits", purpose="care", plan=plan) as run:
        model = torch.nn.Linear(run.encoding.width, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        model, optimizer, batches = run.private(model, optimizer)
        for x, y in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        run.evaluate()


def main(root: Path) -> None:
    owner = plc.Project.init(root / "clinic", owner="ana", passphrase=PASSPHRASE)
    people.new_identity(owner, "sid", PASSPHRASE)
    owner = plc.Project.open(root / "clinic", identity="ana", passphrase=PASSPHRASE)
    people.grant(owner, "scientist", "sid")
    owner.seal("visits", visits(4_000), schema=plc.Schema.parse(SCHEMA))

    scientist = plc.Project.open(root / "clinic", identity="sid", passphrase=PASSPHRASE)
    careless = plc.Plan.calibrate(epsilon=3, **PUBLIC)
    try:
        train(scientist, careless)
    except BadPlan as refused:
        print(f"refused: {refused.what}")
    else:
        raise AssertionError("a plan that protects a visit must not train on patients")
    truth = plc.Plan.of(noise_multiplier=careless.noise_multiplier, unit_rows=6, sampling="example", **PUBLIC)
    print(f"it would have claimed epsilon {careless.epsilon:.2f}, and a patient's would have been {truth.epsilon:.2f}")
    assert truth.epsilon > 5 * careless.epsilon

    asked = {"epsilon": 3, "unit_rows": 6, "rows": 16_000, **PUBLIC}
    ways = {way: plc.Plan.calibrate(**asked, sampling=way) for way in ("user", "example")}
    for way, plan in ways.items():
        print(f"sampling {way:8} noise {plan.noise_multiplier:6.3f}, on the mean gradient {plan.relative_noise:.5f}")
    plan = plc.Plan.calibrate(**asked)
    print(f"taken: {plan.sampling}")
    assert plan == min(ways.values(), key=lambda plan: plan.relative_noise)
    train(scientist, plan)

    bundle = owner.bundle("readmission")
    assert verify_bundle(bundle, [owner.owner]).exit == 0
    proved = {item.kind: item for item in plc.bundle.verify(bundle, [owner.owner]).evidence}
    privacy, auc = proved["privacy"].values, proved["evaluation"].values["auc"]
    print(f"unit {privacy['unit']}, at most {privacy['unit_rows']} rows each: epsilon {privacy['epsilon']:.2f}")
    print(f"AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}] on {auc['n']} patients, one visit of each")
    assert (privacy["unit"], privacy["unit_rows"], privacy["sampling"]) == ("patient", 6, plan.sampling)
    assert privacy["epsilon"] == plan.epsilon <= 3
    assert auc["low"] > 0.7, "well above chance"


if __name__ == "__main__":
    torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
