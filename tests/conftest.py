"""What the tests of the whole house share: a small data set, and one small project with it that walked the corridor.

No name or value in it is a person's.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings

from pellucid.keys import KdfCost

# How long an example takes is the machine's affair: no test may fail on a busy one.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

for _variable in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):  # no test, and nothing that it starts, uses the user's own
    os.environ[_variable] = tempfile.mkdtemp(prefix="pellucid-tests-")
    atexit.register(shutil.rmtree, os.environ[_variable], ignore_errors=True)


def _alone() -> None:
    """In a forked child: the threads of OpenMP are not there, and it waits for them where torch takes more than one."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


os.register_at_fork(after_in_child=_alone)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

PASSPHRASE = "glass-all-the-way-down"
CHEAP = KdfCost(memory_kib=8, passes=1, lanes=1)
UNITS = 3000
PURPOSE = "credit scoring"
AUDIT = "fairness audit"

SCHEMA = f"""
[dataset]
target = "approved"
unit = "row"
units = {UNITS}
purposes = ["{PURPOSE}", "{AUDIT}"]
[dataset.budget]
epsilon = 8.0
delta = 1e-5
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
[columns.income]
type = "number"
bounds = [0, 100000]
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["baker", "nurse", "teacher"]
sensitivity = "personal"
[columns.gender]
type = "category"
categories = ["Female", "Male"]
sensitivity = "special"
[columns.approved]
type = "category"
categories = ["no", "yes"]
sensitivity = "personal"
"""

RECIPE = """
[model]
kind = "logistic"
[train]
epochs = 5
batch = 256
learning_rate = 1.0
clip = 1.0
[privacy]
epsilon = 3.0
delta = 1e-5
[data]
features = ["age", "income", "job"]
[split]
test = 0.3
"""

MET = """
[[require]]
id = "privacy.epsilon"
that = "privacy.epsilon <= 3.0"
because = "the test says so"
fix = "train with less"
[[require]]
id = "evaluation.auc"
that = "evaluation.auc.low >= 0.6"
because = "the synthetic data is easy"
"""
NOT_MET = MET.replace("<= 3.0", "<= 0.1")
UNMEASURED = MET.replace("evaluation.auc.low", "tuning.accuracy.low")
INVALID = MET.replace("that =", "taht =")


@dataclass(frozen=True)
class Corridor:
    """A project in which everybody is named and one model was trained, explained and reported.

    Attributes:
        root: The project's folder.
        files: Schema, recipe, plaintext and release policies, outside the project.
    """

    root: Path
    files: Path

    @property
    def bundle(self) -> Path:
        """The bundle of ``risk@1``."""
        return self.root / "reports" / "risk" / "bundle.json"

    @property
    def key(self) -> Path:
        """The owner's verifier key."""
        return self.root / "owner.pub"

    def policy(self, name: str) -> Path:
        """One of the release policies: met, not-met, unmeasured, invalid."""
        return self.files / f"{name}.toml"


def applicants(rows: int = UNITS, seed: int = 20260301) -> pd.DataFrame:
    """People whose approval follows age and income, drawn from a fixed generator."""
    rng = np.random.default_rng(seed)
    age = rng.integers(17, 91, rows)
    income = rng.uniform(0, 100_000, rows).round(2)
    score = (age - 53) / 20 + (income - 50_000) / 25_000 + rng.normal(0, 0.7, rows)
    return pd.DataFrame(
        {
            "age": age,
            "income": income,
            "job": rng.choice(["baker", "nurse", "teacher"], rows),
            "gender": rng.choice(["Female", "Male"], rows),
            "approved": np.where(score > 0, "yes", "no"),
        }
    )


def _walk(root: Path, files: Path) -> None:
    from pellucid.project import Project, model, people, publish, recipe

    def as_(name: str) -> Project:
        return Project.open(root, identity=name, passphrase=PASSPHRASE)

    files.mkdir(parents=True)
    for name, text in (("applicants", SCHEMA), ("recipe", RECIPE), ("met", MET), ("not-met", NOT_MET)):
        (files / f"{name}.toml").write_text(text, encoding="utf-8")
    (files / "unmeasured.toml").write_text(UNMEASURED, encoding="utf-8")
    (files / "invalid.toml").write_text(INVALID, encoding="utf-8")
    applicants().to_csv(files / "applicants.csv", index=False)

    with Project.init(root, owner="olivia", passphrase=PASSPHRASE, name="credit", cost=CHEAP) as project:
        for role, name in (("steward", "sam"), ("scientist", "ana"), ("auditor", "kim"), ("reader", "ravi")):
            people.new_identity(project, name, PASSPHRASE, cost=CHEAP)
            people.grant(project, role, name)
        people.adopt(project, schema=files / "applicants.toml")
    with as_("sam") as project:
        project.seal("applicants", files / "applicants.csv", schema=files / "applicants.toml")
    with as_("ana") as project:
        recipe.train(project, "risk", dataset="applicants", purpose=PURPOSE, recipe=files / "recipe.toml")
    with as_("kim") as project:
        trained = model.load(project, "risk", purpose=AUDIT)
        trained.evaluate()
        trained.explain()
        trained.attack()
        publish.report(project, "risk", out=root / "reports" / "risk", policy=files / "met.toml")


@pytest.fixture(scope="session")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Corridor:
    """The small project, made once. Tests read it; whoever writes takes ``fresh``."""
    folder = tmp_path_factory.mktemp("corridor")
    made = Corridor(folder / "credit", folder / "files")
    _walk(made.root, made.files)
    return made


@pytest.fixture
def fresh(corridor: Corridor, tmp_path: Path) -> Corridor:
    """A copy of the small project to write to."""
    root = tmp_path / "credit"
    shutil.copytree(corridor.root, root)
    return Corridor(root, corridor.files)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of Pellucid's but the passphrase, and a working directory that is no project."""
    for name in [name for name in os.environ if name.startswith("PELLUCID_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PELLUCID_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(sys, "stdin", None)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
