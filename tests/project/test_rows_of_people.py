"""People with several rows, from sealing to evidence: bounded, drawn, measured and attacked as people."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.conftest import CHEAP, PURPOSE, applicants
from tests.project.conftest import PASSPHRASE
from torch import nn

from pellucid import Plan, Project, bundle
from pellucid.check import verify_bundle
from pellucid.errors import BadData, BadFile, BadPlan, Denied, PellucidError
from pellucid.evidence import Evidence
from pellucid.privacy import BoostPlan
from pellucid.project import data, people
from pellucid.project.loading import Loaded, unit_rows
from pellucid.project.model import load
from pellucid.project.recipe import train
from pellucid.schema import Schema

PEOPLE = 900
BOUND = 4
SCHEMA = f"""
[dataset]
target = "approved"
unit = "patient"
units = 1000
rows_per_unit = {BOUND}
rows = 2500
purposes = ["credit scoring"]
[dataset.budget]
epsilon = 20.0
delta = 1e-5
[columns.patient]
type = "identifier"
sensitivity = "identifier"
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
[columns.income]
type = "number"
bounds = [0, 100000]
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
kind = "mlp"
hidden = [4]
[train]
epochs = 2
batch = 64
learning_rate = 0.5
clip = 1.0
[privacy]
epsilon = 3.0
delta = 1e-5
[split]
test = 0.3
"""


def visits(count: int = PEOPLE, seed: int = 3) -> pd.DataFrame:
    """One to seven rows of each person, mixed: more than are declared of some."""
    rng = np.random.default_rng(seed)
    one = applicants(count, 5)[["age", "income", "gender", "approved"]]
    frame = one.assign(patient=[f"patient-{i:04d}" for i in range(count)])
    frame = frame.loc[frame.index.repeat(rng.integers(1, 8, count))]
    return frame.sample(frac=1, random_state=7).reset_index(drop=True)


def plan(**changed: Any) -> Plan:
    asked: dict[str, Any] = {"epsilon": 3.0, "delta": 1e-5, "units": 1000, "test": 0.3, "batch": 64, "epochs": 2}
    return Plan.calibrate(**{**asked, "clip": 1.0, "unit_rows": BOUND, **changed})


class Place:
    """A project with such data sealed; ana owns it and sid is a scientist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, name: str = "ana") -> Project:
        return Project.open(self.root, identity=name, passphrase=PASSPHRASE)

    def train(self, how: Plan | BoostPlan, *, name: str = "m", who: str = "sid") -> Any:
        with self.open(who).run(name, data="visits", purpose=PURPOSE, plan=how) as run:
            module = nn.Sequential(nn.Linear(run.encoding.width, 4), nn.ReLU(), nn.Linear(4, 2))
            model, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
            for x, y in batches:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        return run

    def proved(self, name: str = "m") -> dict[str, Evidence]:
        project = self.open()
        kept = project.bundle(name)
        assert verify_bundle(kept, [project.owner]).exit == 0
        return {item.kind: item for item in bundle.verify(kept, [project.owner]).evidence}

    def size(self) -> int:
        return self.open().log.size


@pytest.fixture(scope="module")
def sealed_once(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """To copy from, not to change."""
    root = tmp_path_factory.mktemp("visits") / "clinic"
    project = Project.init(root, owner="ana", passphrase=PASSPHRASE, name="clinic", cost=CHEAP)
    people.new_identity(project, "sid", PASSPHRASE, cost=CHEAP)
    project = Place(root).open()
    people.grant(project, "scientist", "sid")
    project.seal("visits", visits(), schema=Schema.parse(SCHEMA))
    return Place(root)


@pytest.fixture
def place(sealed_once: Place, tmp_path: Path) -> Place:
    shutil.copytree(sealed_once.root, tmp_path / "clinic")
    return Place(tmp_path / "clinic")


def by_recipe(place: Place, text: str = RECIPE, who: str = "ana") -> Any:
    recipe = place.root / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    return train(place.open(who), "m", dataset="visits", purpose=PURPOSE, recipe=recipe)


def owned(place: Place) -> pd.DataFrame:
    """Everything, as only the owner may read it."""
    table = data.read(place.open(), "visits", ["patient", "age", "approved"], purpose=PURPOSE, tags=True)
    return table.to_pandas()


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["user", "example"])
def test_a_training_on_people_with_several_rows_says_so_and_verifies(place: Place, sampling: str) -> None:
    """The unit, the bound and what was drawn are in the evidence; a verifier recomputes epsilon from the events."""
    how = plan(sampling=sampling, **({"rows": 2500} if sampling == "example" else {}))
    run = place.train(how)
    assert run.steps_taken == how.steps
    proved = place.proved()
    privacy, training, dataset = (proved[kind].values for kind in ("privacy", "training", "dataset"))
    assert (privacy["unit"], privacy["unit_rows"], privacy["sampling"]) == ("patient", BOUND, sampling)
    assert (dataset["unit"], dataset["rows_per_unit"], dataset["rows"]) == ("patient", BOUND, 2500)
    assert training["unit_rows"] == BOUND
    kind = {"user": "poisson_gaussian", "example": "mixture_gaussian"}[sampling]
    assert [event["kind"] for event in privacy["events"]] == [kind]
    said = {"user": "of people, whose mean gradient is clipped as one", "example": "of rows, each clipped alone"}
    assert said[sampling] in proved["training"].how["method"]


def test_a_scientist_trains_by_person_and_never_reads_who_it_is(place: Place) -> None:
    """Split tags say whose rows are whose, and nothing of the names; the identifier's key is not opened."""
    scientist = place.open("sid")
    with pytest.raises(Denied):
        data.read(scientist, "visits", ["patient"], purpose=PURPOSE)
    place.train(plan(sampling="user"))
    read = [
        entry.body["resource"]["name"]
        for entry in place.open().entries()
        if entry.kind == "decision" and entry.body["action"] == "read" and entry.body["allowed"]
    ]
    assert read
    assert not any("patient" in name for name in read)


def test_the_rows_that_train_are_those_of_whole_people(place: Place) -> None:
    """Grouped as the identifier would group them, at most as many as declared, and nobody in both parts."""
    frame = owned(place)
    run = place.open("sid").run("m", data="visits", purpose=PURPOSE, plan=plan(sampling="user"))
    with run:
        loaded = run._loaded
    assert frame.groupby("patient").size().max() == BOUND
    assert (frame.groupby("patient")["__tag__"].nunique() == 1).all()
    assert frame["__tag__"].nunique() == frame["patient"].nunique() == PEOPLE
    assert (loaded.tags == frame["__tag__"].to_numpy()).all()
    assert frame.assign(test=loaded.test).groupby("patient")["test"].nunique().max() == 1
    _, _, owners = loaded.training()
    names = frame["patient"][~loaded.test].to_numpy()
    assert len(set(zip(owners.tolist(), names, strict=True))) == len(set(names))


def test_a_recipe_takes_the_way_with_less_noise_or_the_one_it_names(place: Place) -> None:
    outcome = by_recipe(place, who="sid")
    proved = place.proved()
    best = min((plan(sampling="user"), plan(sampling="example", rows=2500)), key=lambda made: made.relative_noise)
    assert outcome.epsilon == best.epsilon
    assert proved["privacy"].values["sampling"] == best.sampling
    other = {"user": "example", "example": "user"}[best.sampling]
    by_recipe(place, RECIPE.replace("delta = 1e-5", f'delta = 1e-5\nsampling = "{other}"'), who="sid")
    assert place.proved()["privacy"].values["sampling"] == other


def test_a_killed_run_goes_on_with_its_people(place: Place) -> None:
    """The plan in the ledger says what is drawn, and a resumed run draws it."""
    how = plan(sampling="user", epochs=3)
    project = place.open("sid")

    class Killed(BaseException):
        pass

    run = project.run("m", data="visits", purpose=PURPOSE, plan=how, checkpoint_every=5)
    run.__enter__()
    torch.manual_seed(1)
    module = nn.Linear(run.encoding.width, 2)
    model, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
    for x, y in batches:
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        if batches.steps_taken == 12:
            break
    assert run._held is not None
    run._held.lock.close()
    run._interrupts.release()
    with place.open("sid").resume("m") as resumed:
        module = nn.Linear(resumed.encoding.width, 2)
        model, optimizer, batches = resumed.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
        for x, y in batches:
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    proved = place.proved()
    assert proved["privacy"].values["sampling"] == "user"
    assert proved["training"].values["steps"] == how.steps


# -- measuring --------------------------------------------------------------------------------------------------------


def test_what_is_measured_is_measured_on_one_row_of_each_person(place: Place) -> None:
    """So that people are counted, and no interval takes a person's rows for several people."""
    by_recipe(place)
    model = load(place.open(), "m")
    frame = owned(place)
    x, y, test = model.rows()
    assert len(x) == len(y) == len(test) == PEOPLE
    one = model.load().one
    assert frame["patient"].iloc[one].nunique() == PEOPLE
    held = model.held_out()[0]
    assert len(held) == frame.assign(test=model.load().test).query("test")["patient"].nunique()
    ages = model.values(["age"])["age"]
    assert (ages == frame["age"].iloc[one].to_numpy()[test]).all()
    assert (load(place.open(), "m").load().one == one).all(), "the same rows in every question"
    proved = place.proved()
    assert proved["evaluation"].values["auc"]["n"] == len(held) // 10 * 10
    for kind in ("evaluation", "calibration", "fairness", "explanation", "validity"):
        assert "one row of each" in proved[kind].how["measured"]


def test_every_row_of_a_person_is_as_likely_to_be_measured() -> None:
    tags = np.random.default_rng(1).integers(0, 2**64, 6000, dtype=np.uint64)
    tags = np.repeat(tags, 3)
    loaded = Loaded(torch.zeros(18_000, 1), torch.zeros(18_000), tags < 2**62, tags)
    for part in (loaded.test, ~loaded.test):  # in either part of the split
        place_of = loaded.one[part[loaded.one]] % 3
        counts = np.bincount(place_of, minlength=3)
        # multinomial, chance a third: six standard deviations
        assert (abs(counts - counts.sum() / 3) < 6 * np.sqrt(counts.sum() * 2 / 9)).all()


def test_membership_is_of_people(place: Place) -> None:
    """A person is attacked by the mean loss on all their rows, and counted once."""
    by_recipe(place)
    model = load(place.open(), "m")
    model.attack()
    attack = place.proved()["attack"]
    assert attack.how["measured"] == "the mean loss over all rows of a person"
    assert attack.values["auc"]["n"] <= PEOPLE
    losses, test = model.load().by_person(np.arange(len(model.load().y), dtype=float))
    frame = owned(place).assign(row=lambda f: np.arange(len(f), dtype=float), test=model.load().test)
    means = frame.groupby("__tag__")[["row", "test"]].mean()
    assert np.allclose(losses, means["row"])
    assert (test == means["test"].astype(bool)).all()


# -- refused ----------------------------------------------------------------------------------------------------------


def boosted() -> BoostPlan:
    return BoostPlan.calibrate(epsilon=1.0, delta=1e-5, units=1000, test=0.3, columns=2, rounds=2)


@pytest.mark.parametrize(
    ("how", "remedy"),
    [
        (lambda: plan(unit_rows=1), f"unit_rows={BOUND}"),
        (lambda: plan(unit_rows=2, sampling="user"), f"unit_rows={BOUND}"),
        (lambda: plan(unit_rows=9, sampling="user"), f"unit_rows={BOUND}"),
        (boosted, "by gradients"),
    ],
    ids=["one row", "too few", "too many", "boosting"],
)
def test_a_plan_that_protects_less_than_a_person_is_refused_with_the_remedy(
    place: Place, how: Callable[[], Any], remedy: str
) -> None:
    before = place.size()
    with pytest.raises(BadPlan, match="people have up to 4 rows") as caught:
        place.train(how())
    assert remedy in str(caught.value)
    assert caught.value.exit_code == 2
    assert place.size() == before


def test_a_plan_for_several_rows_is_refused_where_everybody_has_one(place: Place) -> None:
    schema = SCHEMA.replace("rows_per_unit = 4\nrows = 2500\n", "rows_per_unit = 1\n")
    frame = visits().drop_duplicates("patient")
    place.open().seal("single", frame, schema=Schema.parse(schema))
    with pytest.raises(BadPlan, match="leave unit_rows out"):
        place.open("sid").run("m", data="single", purpose=PURPOSE, plan=plan(sampling="user")).__enter__()


def test_without_a_bound_nothing_is_trained(place: Place) -> None:
    schema = Schema.parse(SCHEMA.replace("rows_per_unit = 4\nrows = 2500\n", ""))
    assert unit_rows(schema) is None
    place.open().seal("loose", visits(), schema=schema)
    before = place.size()
    with pytest.raises(BadPlan, match="declare rows_per_unit"):
        place.open("sid").run("m", data="loose", purpose=PURPOSE, plan=plan(sampling="user")).__enter__()
    assert place.size() == before


def test_data_that_somebody_else_sealed_beyond_its_bound_is_not_trained_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is held where the rows are drawn, too; a sealer's own version of this program proves nothing."""
    from pellucid.vault import sealing

    monkeypatch.setattr(sealing, "bound_rows", lambda table, schema: table)
    place.open().seal("visits", visits(), schema=Schema.parse(SCHEMA))
    for sampling in ("user", "example"):
        with pytest.raises(BadData, match="more than 4 rows"):
            place.train(plan(sampling=sampling))


def test_the_unit_of_a_ledger_cannot_change_once_something_was_spent(place: Place) -> None:
    """An epsilon of rows says nothing of people with several."""
    other = Schema.parse(SCHEMA.replace("patient", "person"))
    frame = visits().rename(columns={"patient": "person"})
    place.train(plan(sampling="user"))
    before = place.size()
    with pytest.raises(BadFile, match='earlier versions count people by unit "patient"'):
        place.open().seal("visits", frame, schema=other)
    assert place.size() == before
    more = Schema.parse(SCHEMA.replace("rows_per_unit = 4", "rows_per_unit = 5"))
    assert place.open().seal("visits", visits(), schema=more) == "visits@2"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda frame: frame.assign(patient=frame["patient"].where(frame.index > 0)), "is missing"),
        (lambda frame: frame.assign(patient=frame["patient"].where(frame.index > 0, " ")), "is empty"),
        (lambda frame: frame.drop(columns="patient"), "is not there"),
    ],
    ids=["missing", "blank", "no column"],
)
def test_rows_without_a_person_are_refused(place: Place, change: Callable[[Any], Any], rule: str) -> None:
    before = place.size()
    with pytest.raises(BadData, match=rule):
        place.open().seal("visits", change(visits()), schema=Schema.parse(SCHEMA))
    assert place.size() == before


def test_who_a_person_is_cannot_be_a_feature(place: Place) -> None:
    run = place.open("sid").run(
        "m", data="visits", purpose=PURPOSE, plan=plan(sampling="user"), features=["age", "patient"]
    )
    with pytest.raises(PellucidError, match="names the person"):
        run.__enter__()


# -- what else looks at people ----------------------------------------------------------------------------------------


def test_a_model_is_tuned_on_people(place: Place) -> None:
    """Each trial draws people, each is scored once, and a verifier recomputes the whole from events of that kind."""
    recipe = place.root / "recipe.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    space = {"train.learning_rate": [0.2, 0.5]}
    project = place.open("sid")
    how: dict[str, Any] = {"name": "m", "data": "visits", "purpose": PURPOSE, "recipe": recipe}
    for sampling in ("user", "example"):
        recipe.write_text(RECIPE.replace("delta = 1e-5", f'delta = 1e-5\nsampling = "{sampling}"'), encoding="utf-8")
        project.tune(space, trials=2, distribution="geometric", **how)
        privacy = place.proved()["privacy"].values
        assert (privacy["unit"], privacy["unit_rows"], privacy["sampling"]) == ("patient", BOUND, sampling)
        (event,) = privacy["events"]
        kinds = {inner["kind"] for inner in event["events"]}
        assert {"user": "poisson_gaussian", "example": "mixture_gaussian"}[sampling] in kinds


def test_scores_and_statistics_are_released_of_people(place: Place) -> None:
    """A person is in one cell of a score, and in a statistic with one row."""
    by_recipe(place)
    project = place.open()
    load(project, "m").evaluate(release=1.0)
    evaluation = place.proved()["evaluation"]
    assert evaluation.coverage == "own-release"
    assert evaluation.values["released"]["unit"] == "patient"
    made = project.release("visits", ["count"], purpose=PURPOSE, epsilon=0.5)
    assert made["count"].estimate.value == pytest.approx(
        PEOPLE, abs=80
    )  # noise of about 9; rows are over twice as many
    assert place.proved()["release"].values["unit"] == "patient"


BOOSTED = """
[model]
kind = "ebm"
bins = 8
leaves = 3
[train]
rounds = 3
learning_rate = 0.5
[privacy]
epsilon = 2.0
delta = 1e-5
[split]
test = 0.3
"""


def test_with_one_row_of_a_person_boosting_and_statistics_are_of_people(place: Place) -> None:
    """Of whoever has more one row is sealed, drawn by chance: what takes one row a person then needs no other plan."""
    schema = SCHEMA.replace(f"rows_per_unit = {BOUND}\nrows = 2500\n", "rows_per_unit = 1\n")
    place.open().seal("single", visits(), schema=Schema.parse(schema))
    patients = place.open().read("single", ["patient"], purpose=PURPOSE).column("patient").to_pylist()
    assert len(patients) == len(set(patients)) == PEOPLE
    recipe = place.root / "recipe.toml"
    recipe.write_text(BOOSTED, encoding="utf-8")
    train(place.open("sid"), "m", dataset="single", purpose=PURPOSE, recipe=recipe)
    made = place.open("sid").release("single", ["count", "mean:age"], purpose=PURPOSE, epsilon=1.0)
    count = made["count"].estimate
    assert abs(count.value - PEOPLE) < 3.5 * (count.high - count.low) / 2  # seven deviations
    proved = place.proved()
    assert {event["kind"] for event in proved["privacy"].values["events"]} == {"gaussian"}
    assert proved["dataset"].values["rows_per_unit"] == 1
    assert {proved[kind].values["unit"] for kind in ("privacy", "release", "dataset")} == {"patient"}
    assert proved["privacy"].values.get("unit_rows", 1) == 1
    assert proved["evaluation"].values["auc"]["n"] <= 300  # people held out
    assert [run.status for run in place.open().budget("single").runs] == ["complete", "complete"]
