"""Processes that are killed at any step of a run, and processes that want the same thing at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from tests.project.conftest import PURPOSE, Place, make_plan

from pellucid.privacy import Ledger
from pellucid.privacy.forecast import forecast
from pellucid.project import publish

pytestmark = pytest.mark.slow  # processes that are killed, and many at once

BEFORE = ["decided", "locked", "reservation not committed"]
DURING = [
    "reserved",
    "a key released",
    "loaded",
    "private",
    "step 1",
    "step 9",
    "step 17",
    "weights saved",
    "evidence not committed",
    "evidence",
    "evaluated",
    "explained",
    "settlement",
    "settlement not committed",
]
AFTER = ["settled, lock still there", "settled"]
WITH_EVIDENCE = {"evidence", "evaluated", "explained", "settlement", "settlement not committed", *AFTER}
SEALING = "sealed, not recorded"
QUICK = {"reservation not committed", "reserved", "step 9", "weights saved", "settled, lock still there", SEALING}
"""The points that every test run looks at; the others are slow, because each is a training of its own."""

Left = Callable[[str], tuple[Place, list[int]]]


def points(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow, id=name) for name in names]


@pytest.fixture(scope="module")
def after(sealed_once: Place, tmp_path_factory: pytest.TempPathFactory) -> Left:
    """For a point or a race, the project that it has left, and how its processes ended. Made in two lots."""
    found: dict[str, tuple[Place, list[int]]] = {}

    def jobs(quick: bool) -> Iterator[tuple[str, str, str]]:
        """(folder, kind, argument); jobs in one folder follow each other."""
        for name in [*BEFORE, *DURING, *AFTER, SEALING]:
            if (name in QUICK) == quick:
                yield name, "kill", name
        if quick:
            yield from [("reserve", "race", "reserve"), ("seal", "race", "seal")]
            yield from [("read", "kill", "step 1"), ("read", "race", "read")]
        else:
            yield from [("twenty", "race", "twenty"), ("edit", "race", "edit")]

    def make(quick: bool) -> None:
        folder = tmp_path_factory.mktemp("killed")
        rows = []
        for place, kind, argument in jobs(quick):
            root = folder / place.replace(" ", "-") / "tiny"
            if not root.exists():
                shutil.copytree(sealed_once.root, root)
            rows.append((place, [kind, str(root), argument]))
        file = folder / "jobs.json"
        file.write_text(json.dumps([row for _, row in rows]), encoding="utf-8")
        command = [sys.executable, str(Path(__file__).with_name("processes.py")), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for (name, row), end in zip(rows, json.loads(done.stdout), strict=True):
            found[name] = (Place(Path(row[1])), end)

    def get(name: str) -> tuple[Place, list[int]]:
        if name not in found:
            make(quick=name in {*QUICK, "reserve", "seal", "read"})
        return found[name]

    return get


@pytest.fixture
def left(after: Left, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A copy of what the process killed at the point of this test has left."""
    place, end = after(request.param)
    assert end == [-SIGKILL]
    shutil.copytree(place.root, tmp_path / "tiny")
    return Place(tmp_path / "tiny")


def settlements(place: Place) -> list[str]:
    return [entry.body["status"] for entry in place.open().entries() if entry.kind == "settle"]


def failed(place: Place) -> list[dict[str, str]]:
    return [check for check in publish.verify_project(place.open()) if check["status"] != "pass"]


@pytest.mark.parametrize("left", points(BEFORE), indirect=True)
def test_killed_before_the_reservation_nothing_is_counted(left: Place) -> None:
    assert left.verified() > 0
    project = left.open("sid")
    assert project.notices == []
    assert not project.budget("applicants").runs
    assert failed(left) == []
    project.read("applicants", ["age"], purpose=PURPOSE)
    assert settlements(left) == []


@pytest.mark.parametrize("left", points(DURING), indirect=True)
def test_killed_during_the_run_the_ledger_counts_what_was_reserved(left: Place) -> None:
    assert left.verified() > 0
    project = left.open("sid")
    (notice,) = project.notices
    assert "tiny@1" in notice
    assert "stays counted" in notice
    ledger = project.budget("applicants")
    (only,) = ledger.runs
    assert only.status == "reserved"
    assert ledger.reserved >= make_plan().epsilon  # everything that was planned, however little was done
    assert failed(left) == []

    project.read("applicants", ["age"], purpose=PURPOSE)  # the next command goes on, and settles once
    project.read("applicants", ["age"], purpose=PURPOSE)
    left.open("kim").read("applicants", ["age"], purpose=PURPOSE)
    assert settlements(left) == ["abandoned"]
    settled = left.open()
    assert settled.notices == []
    assert settled.budget("applicants").spent >= make_plan().epsilon
    assert [path.name for path in (left.root / "runs").iterdir()] == ["sealing.lock"]  # of the sealing before
    assert left.verified() > 0
    assert failed(left) == []


@pytest.mark.parametrize("left", points(AFTER), indirect=True)
def test_killed_after_the_settlement_the_run_is_complete(left: Place) -> None:
    project = left.open("sid")
    assert project.notices == []
    (only,) = project.budget("applicants").runs
    assert only.status == "complete"
    project.read("applicants", ["age"], purpose=PURPOSE)
    assert settlements(left) == ["complete"]
    assert failed(left) == []


@pytest.mark.parametrize(
    ("left", "label"), [("reservation not committed", "tiny@1"), ("weights saved", "tiny@2")], indirect=["left"]
)
def test_the_next_run_takes_the_next_name_that_was_never_reserved(left: Place, label: str) -> None:
    assert left.train() == label
    bundle = left.open().bundle("tiny")
    assert bundle.subject.name == label
    statuses = [run.status for run in left.open().budget("applicants").runs]
    assert statuses == {"tiny@1": ["complete"], "tiny@2": ["abandoned", "complete"]}[label]
    assert failed(left) == []


@pytest.mark.parametrize("left", [SEALING], indirect=True)
def test_killed_between_sealing_and_recording_the_version_is_sealed_again(left: Place) -> None:
    assert [path.name for path in sorted((left.root / "data" / "applicants").iterdir())] == ["1", "2"]
    assert left.verified() > 0
    owner = left.open()
    assert failed(left) == []
    table = owner.read("applicants", ["age"], purpose=PURPOSE)
    assert table.num_rows == 2950  # version 1: the other was never recorded, so nobody can refer to it
    from tests.project.conftest import make_frame

    assert owner.seal("applicants", make_frame(40), schema=left.schema) == "applicants@2"
    assert owner.read("applicants", ["age"], purpose=PURPOSE).num_rows == 40


def test_two_processes_reserving_at_once_share_one_budget(after: Left) -> None:
    place, ends = after("reserve")
    assert sorted(ends) == [0, 1]  # one holds its reservation, the other was refused: BudgetExceeded is exit 1
    project = place.open()
    (only,) = project.budget("applicants").runs
    assert only.run == "tiny@1"
    decisions = [e for e in project.entries() if e.kind == "decision" and e.body["action"] == "train"]
    assert [entry.body["allowed"] for entry in decisions] == [True, True]
    assert place.verified() > 0


def overspent(place: Place) -> list[str]:
    """After which entries of the log more was spent and reserved than the budget then in force, by 1e-6 or more."""
    entries, found = place.open().counted(), []
    for size, entry in enumerate(entries, 1):
        if entry.kind in ("budget", "reserve", "settle"):
            ledger = Ledger.fold(entries[:size], "applicants")
            if ledger.budget is not None and ledger.spent + ledger.reserved >= ledger.budget.epsilon + 1e-6:
                found.append(f"{entry.index}: {entry.kind}")
    return found


@pytest.mark.slow
def test_twenty_processes_reserving_at_once_share_one_budget(after: Left) -> None:
    place, ends = after("twenty")
    project = place.open()
    runs = project.budget("applicants").runs
    assert sorted(ends) == [0] * len(runs) + [1] * (20 - len(runs))  # BudgetExceeded is exit 1, and nothing else failed
    assert sorted(run.run for run in runs) == sorted(f"tiny@{i + 1}" for i in range(len(runs)))
    plan = make_plan(epsilon=2.0)
    alone = Ledger.fold([e for e in project.counted() if e.kind not in ("reserve", "settle")], "applicants")
    (fits,) = forecast([alone], plan, PURPOSE)
    assert 2 <= len(runs) == fits.runs < 20  # as many as one after the other, and not one more
    assert overspent(place) == []
    assert place.verified() > 0


@pytest.mark.slow
def test_a_steward_who_edits_the_budget_while_a_run_goes_on_never_takes_back_what_is_reserved(after: Left) -> None:
    place, ends = after("edit")
    assert ends[:2] == [0, 0]  # the steward ends when enough was set, and refused, while the run went on
    assert ends[2] in (0, 1)  # who reserved at the same moment was held, or refused by the budget then in force
    assert overspent(place) == []
    assert place.open().budget("applicants").runs[0].run == "tiny@1"
    assert place.open().budget("applicants").runs[0].status == "complete"
    assert place.verified() > 0
    assert failed(place) == []


def test_two_processes_sealing_at_once_make_two_versions(after: Left) -> None:
    place, ends = after("seal")
    assert ends == [0, 0]
    sealed = [(e.body["dataset"], e.body["version"]) for e in place.open().entries() if e.kind == "seal"]
    assert sealed == [("applicants", 1), ("applicants", 2), ("applicants", 3)]
    assert failed(place) == []


def test_two_processes_settle_an_abandoned_run_once(after: Left) -> None:
    place, ends = after("read")
    assert ends == [0, 0]
    assert settlements(place) == ["abandoned"]
    assert place.verified() > 0
