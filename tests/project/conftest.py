"""A small real project, made once through the public API and copied for every test that wants one.

Six people: ana owns it, sam is steward, sid scientist, kim auditor, rea reader, and ned holds no role. Its data set is
that of the whole house with an identifier and a text, sealed but not yet trained on; a second copy has a model.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.conftest import CHEAP as COST
from tests.conftest import PURPOSE, UNITS, applicants
from tests.conftest import RECIPE as LONGER
from tests.conftest import SCHEMA as NARROWER

from pellucid import Plan, Project
from pellucid.log import verify as verify_log
from pellucid.project import people
from pellucid.project.recipe import train

__all__ = ["COST", "FEATURES", "PASSPHRASE", "PURPOSE", "RECIPE", "SCHEMA", "Place", "found", "make_frame", "make_plan"]

PASSPHRASE = "correct horse"
FEATURES = ("age", "income", "job")
ROLES = {"sam": "steward", "sid": "scientist", "kim": "auditor", "rea": "reader"}

SCHEMA = f"""{NARROWER}
[columns.person]
type = "identifier"
sensitivity = "identifier"
[columns.note]
type = "text"
sensitivity = "personal"
"""

RECIPE = LONGER.replace("epochs = 5", "epochs = 2")

POLICY = """
[[require]]
id = "privacy.epsilon"
that = "privacy.epsilon <= 3.0 && privacy.delta <= 1e-5"
because = "the test says so"
[[require]]
id = "fairness.cells"
that = "fairness.minimum_cell >= 10.0"
because = "small cells are people"
"""


def make_frame(rows: int = 2950, seed: int = 20260301) -> pd.DataFrame:
    """Fewer people than declared, so that the exact count stays private."""
    frame = applicants(rows, seed)
    frame.insert(0, "person", [f"person-{i:05d}" for i in range(rows)])
    frame.insert(5, "note", [f"note {i}" for i in range(rows)])
    return frame


@functools.cache
def make_plan(**changed: Any) -> Plan:
    arguments = {"epsilon": 3.0, "delta": 1e-5, "units": UNITS, "test": 0.3, "batch": 256, "epochs": 2, "clip": 1.0}
    return Plan.calibrate(**{**arguments, **changed})


@dataclass(frozen=True)
class Place:
    """A copy of the project, and the files beside it."""

    root: Path

    def open(self, name: str = "ana", passphrase: str = PASSPHRASE) -> Project:
        return Project.open(self.root, identity=name, passphrase=passphrase)

    @property
    def schema(self) -> Path:
        return self.root / "schemas" / "applicants.toml"

    @property
    def recipe(self) -> Path:
        return self.root / "recipes" / "tiny.toml"

    @property
    def policy(self) -> Path:
        return self.root / "policies" / "tiny.toml"

    @property
    def database(self) -> Path:
        return self.root / "log" / "log.sqlite"

    def train(self, name: str = "tiny", who: str = "sid") -> str:
        project = self.open(who)
        return train(project, name, dataset="applicants", purpose=PURPOSE, recipe=self.recipe).model

    def state(self) -> dict[str, bytes]:
        """Every file that a failure must leave as it was, with its bytes; the log by its size and root."""
        kept = {"data", "models", "policies", "schemas", "recipes", "identities", "runs", "reports"}
        files = {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.relative_to(self.root).parts[0] in {*kept, "owner.pub", "pellucid.toml"}
        }
        log = self.open().log
        return {**files, "log": b"%d %b" % (log.size, log.root())}

    def verified(self) -> int:
        """The size of the log, which verifies whole."""
        project = self.open()
        return verify_log(project.log, project.membership.log_key, project.name).size


def found(root: Path) -> Place:
    """A project with its people and schema and nothing sealed."""
    project = Project.init(root, owner="ana", passphrase=PASSPHRASE, name="tiny", cost=COST)
    place = Place(root)
    place.schema.write_text(SCHEMA, encoding="utf-8")
    place.recipe.write_text(RECIPE, encoding="utf-8")
    place.policy.write_text(POLICY, encoding="utf-8")
    project = place.open()  # the folder has two identities from here on, so each opening names one
    for name in (*ROLES, "ned"):
        people.new_identity(project, name, PASSPHRASE, cost=COST)
    for name, role in ROLES.items():
        people.grant(project, role, name)
    return place


@pytest.fixture(scope="session")
def sealed_once(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The project with one sealed data set; to copy from, not to change."""
    place = found(tmp_path_factory.mktemp("sealed") / "tiny")
    place.open().seal("applicants", make_frame(), schema=place.schema)
    return place


@pytest.fixture(scope="session")
def trained_once(sealed_once: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With a model that a scientist trained and an auditor looked at; to copy from, not to change."""
    from pellucid.project.model import load

    root = tmp_path_factory.mktemp("trained") / "tiny"
    shutil.copytree(sealed_once.root, root)
    place = Place(root)
    place.train()
    auditor = place.open("kim")
    model = load(auditor, "tiny")
    model.evaluate()
    model.attack()
    place.open().bundle("tiny")
    return place


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Place], Place]:
    def copy(place: Place) -> Place:
        root = tmp_path / "tiny"
        shutil.copytree(place.root, root)
        return Place(root)

    return copy


@pytest.fixture
def sealed(sealed_once: Place, copied: Callable[[Place], Place]) -> Place:
    """A copy of its own, with a sealed data set."""
    return copied(sealed_once)


@pytest.fixture
def trained(trained_once: Place, copied: Callable[[Place], Place]) -> Place:
    """A copy of its own, with a trained model ``tiny@1``."""
    return copied(trained_once)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PELLUCID_PASSPHRASE", raising=False)
    monkeypatch.delenv("PELLUCID_IDENTITY", raising=False)
