"""Bad input, each with a clear error, the right exit code, and nothing written or lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tests.project.conftest import FEATURES, PURPOSE, RECIPE, SCHEMA, Place, make_frame, make_plan
from torch import nn

from pellucid import check
from pellucid.errors import (
    BadData,
    BadFile,
    BadPlan,
    BudgetExceeded,
    Denied,
    Misuse,
    PellucidError,
    RequirementsNotMet,
    UnknownName,
    UnsupportedModel,
)
from pellucid.project import budgets, data, people
from pellucid.project.recipe import train

MARKER = 31337.25


@dataclass(frozen=True)
class Case:
    """One bad input: what is done, which error with which exit code, and a word that says where.

    ``records`` counts what the log may hold afterwards: a decision that was made is recorded, and nothing else.
    """

    id: str
    act: Callable[[Place], Any]
    error: type[PellucidError]
    exit: int
    names: str
    records: tuple[str, ...] = ()


def seal(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Place], Any]:
    return lambda place: place.open().seal("applicants", change(make_frame(40)), schema=place.schema)


def with_schema(old: str, new: str) -> Callable[[Place], Any]:
    assert SCHEMA.count(old) >= 1

    def act(place: Place) -> Any:
        path = place.root.parent / "other.toml"
        path.write_text(SCHEMA.replace(old, new, 1), encoding="utf-8")
        return place.open().seal("applicants", make_frame(40), schema=path)

    return act


def from_file(content: str, name: str = "people.csv") -> Callable[[Place], Any]:
    def act(place: Place) -> Any:
        path = place.root.parent / name
        path.write_text(content, encoding="utf-8")
        return place.open().seal("applicants", path, schema=place.schema)

    return act


def recipe(old: str, new: str, *, purpose: str = PURPOSE, dataset: str = "applicants", who: str = "sid") -> Any:
    assert RECIPE.count(old) == 1

    def act(place: Place) -> Any:
        path = place.root.parent / "other.toml"
        path.write_text(RECIPE.replace(old, new), encoding="utf-8")
        return train(place.open(who), "tiny", dataset=dataset, purpose=purpose, recipe=path)

    return act


def run(**changed: Any) -> Callable[[Place], Any]:
    def act(place: Place) -> Any:
        options = {"data": "applicants", "purpose": PURPOSE, "features": FEATURES, "plan": make_plan(), **changed}
        return place.open("sid").run("tiny", **options).__enter__()

    return act


def put(frame: pd.DataFrame, column: str, row: int, value: Any) -> pd.DataFrame:
    out = frame.astype({column: object})
    out.loc[row, column] = value
    return out


def twice(frame: pd.DataFrame) -> pd.DataFrame:
    out = pd.concat([frame, frame[["age"]]], axis=1)
    assert list(out.columns).count("age") == 2
    return out


HEAD = "person,age,income,job,gender,note,approved\n"

CASES = [
    # data
    Case("missing column", seal(lambda f: f.drop(columns="income")), BadData, 2, "income"),
    Case("unknown column", seal(lambda f: f.assign(salary=1)), BadData, 2, "salary"),
    Case("wrong type", seal(lambda f: put(f, "age", 3, "MARKER-wrong")), BadData, 2, "age"),
    Case("out of bounds", seal(lambda f: put(f, "income", 3, MARKER * 10)), BadData, 2, "income"),
    Case("not a number", seal(lambda f: put(f, "income", 3, math.inf)), BadData, 2, "income"),
    Case("missing value", seal(lambda f: put(f, "job", 3, None)), BadData, 2, "job"),
    Case("unknown category", seal(lambda f: put(f, "job", 3, "MARKER-job")), BadData, 2, "job"),
    Case("duplicate names", seal(twice), BadData, 2, "age"),
    Case("no rows", seal(lambda f: f.iloc[:0]), BadData, 2, "row"),
    Case("empty file", from_file(""), BadData, 2, "people.csv"),
    Case("header only", from_file(HEAD), BadData, 2, "row"),
    Case("duplicate names in a file", from_file(HEAD.replace("note", "age")), BadData, 2, "columns 2, 6"),
    Case("not a table", from_file("{}", "people.json"), BadData, 2, "people.json"),
    Case("no such file", lambda p: p.open().seal("applicants", p.root / "no.csv", schema=p.schema), BadData, 2, "csv"),
    Case("bad name", lambda p: p.open().seal("../up", make_frame(40), schema=p.schema), BadFile, 2, "../up"),
    Case("no such schema", lambda p: p.open().seal("a", make_frame(40), schema=p.root / "no.toml"), BadFile, 2, "no.t"),
    Case("schema key unknown", with_schema("bounds = [17", "bound = [17"), BadFile, 2, "bounds"),
    Case("schema bounds nan", with_schema("[17, 90]", "[nan, 90]"), BadFile, 2, "age"),
    Case("schema without target", with_schema('target = "approved"', 'target = "nothing"'), BadFile, 2, "nothing"),
    # names and purposes
    Case("unknown data set", recipe("epochs = 2", "epochs = 2", dataset="applicant"), UnknownName, 2, "applicants"),
    Case("unknown version", recipe("epochs = 2", "epochs = 2", dataset="applicants@7"), UnknownName, 2, "@7"),
    Case("read unknown column", lambda p: p.open("sid").read("applicants", ["agee"], purpose=PURPOSE), UnknownName, 2,
         "age"),
    Case("unknown feature", run(features=["age", "incom"]), PellucidError, 2, "incom"),
    Case("forbidden purpose", recipe("epochs = 2", "epochs = 2", purpose="advertising"), Denied, 1, "purpose",
         ("decision",)),
    Case("forbidden purpose to read", lambda p: p.open("sid").read("applicants", ["age"], purpose="advertising"),
         Denied, 1, "age", ("decision",)),
    Case("not a trainer", recipe("epochs = 2", "epochs = 2", who="kim"), Denied, 1, "train", ("decision",)),
    Case("unknown model", lambda p: p.open().bundle("credit"), UnknownName, 2, "credit"),
    Case("unknown budget", lambda p: p.open().budget("credit"), UnknownName, 2, "credit"),
    # plans and budgets
    Case("epsilon 0", recipe("epsilon = 3.0", "epsilon = 0.0"), BadFile, 2, "privacy.epsilon"),
    Case("epsilon negative", recipe("epsilon = 3.0", "epsilon = -1"), BadFile, 2, "privacy.epsilon"),
    Case("epsilon nan", recipe("epsilon = 3.0", "epsilon = nan"), BadFile, 2, "privacy.epsilon"),
    Case("epsilon inf", recipe("epsilon = 3.0", "epsilon = inf"), BadFile, 2, "privacy.epsilon"),
    Case("delta 1/units", recipe("delta = 1e-5", f"delta = {1 / 3000!r}"), BadPlan, 2, "delta"),
    Case("delta nan", recipe("delta = 1e-5", "delta = nan"), BadFile, 2, "privacy.delta"),
    Case("batch above units", recipe("batch = 256", "batch = 5000"), BadPlan, 2, "batch"),
    Case("test share 1", recipe("test = 0.3", "test = 1.0"), BadPlan, 2, "test"),
    Case("recipe key", recipe("epochs = 2", "epoch = 2"), BadFile, 2, "epochs"),
    Case("recipe kind", recipe('"logistic"', '"logistics"'), BadFile, 2, "logistic"),
    Case("clip 0", recipe("clip = 1.0", "clip = 0"), BadFile, 2, "train.clip"),
    Case("larger than the budget", recipe("epsilon = 3.0", "epsilon = 20.0"), BudgetExceeded, 1, "8.0 is left",
         ("decision",)),
    Case("other units", run(plan=make_plan(units=4000)), BadPlan, 2, "units"),
    Case("budget 0", lambda p: budgets.set_budget(p.open(), "applicants", 0.0, 1e-5), BadPlan, 2, "epsilon"),
    Case("budget nan", lambda p: budgets.set_budget(p.open(), "applicants", math.nan, 1e-5), BadPlan, 2, "epsilon"),
    Case("budget inf", lambda p: budgets.set_budget(p.open(), "applicants", math.inf, 1e-5), BadPlan, 2, "epsilon"),
    Case("budget delta", lambda p: budgets.set_budget(p.open(), "applicants", 8.0, 1e-3), BadPlan, 2, "delta"),
    Case("budget by a scientist", lambda p: budgets.set_budget(p.open("sid"), "applicants", 9.0, 1e-5), Denied, 1,
         "budget", ("decision",)),
    # factories
    Case("no such factory", run(factory="nothing:build"), UnknownName, 2, "nothing"),
    Case("factory form", run(factory="model.build"), BadFile, 2, "module:function"),
    # export
    Case("export of special columns",
         lambda p: data.export(p.open("sam"), "applicants", ["gender"], purpose=PURPOSE, path=p.root / "out.csv"),
         Denied, 1, "gender", ("decision",)),
    Case("export of another kind",
         lambda p: data.export(p.open("sam"), "applicants", ["age"], purpose=PURPOSE, path=p.root / "out.pickle"),
         BadFile, 2, "out.pickle"),
    Case("export over a file",
         lambda p: data.export(p.open("sam"), "applicants", ["age"], purpose=PURPOSE, path=p.schema),
         BadFile, 2, "exists"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_bad_input_has_a_clear_error_and_leaves_everything_as_it_was(sealed: Place, case: Case) -> None:
    before, size = sealed.state(), sealed.open().log.size
    ledger = sealed.open().budget("applicants").document()
    with pytest.raises(case.error) as caught:
        case.act(sealed)
    error = caught.value
    assert error.exit_code == case.exit
    assert case.names in str(error)
    assert "MARKER" not in str(error) + repr(error)
    assert str(MARKER * 10) not in str(error) + repr(error)
    after = sealed.state()
    added = sealed.open().entries()[size:]
    assert tuple(entry.kind for entry in added) == case.records
    assert all(entry.body["allowed"] is not None for entry in added)
    assert {**after, "log": b""} == {**before, "log": b""}
    assert sealed.open().budget("applicants").document() == ledger
    assert sealed.open("sid").read("applicants", ["age"], purpose=PURPOSE).num_rows == 2950  # nothing was lost


@pytest.mark.parametrize(
    "text",
    ["permit (principal", "", "permit (principal, action, resource) when { resource.colour == 1 };", "forbid;"],
    ids=["does not parse", "empty", "does not fit the schema", "no policy"],
)
def test_a_policy_that_does_not_parse_or_does_not_fit_is_never_adopted(sealed: Place, text: str) -> None:
    policy = sealed.root / "policies" / "access.cedar"
    policy.write_text(text, encoding="utf-8")
    before = sealed.state()
    for act in (
        lambda: people.adopt(sealed.open()),
        lambda: sealed.open("sid").read("applicants", ["age"], purpose=PURPOSE),
    ):
        with pytest.raises(BadFile) as caught:
            act()
        assert caught.value.exit_code == 2
        assert "access.cedar" in str(caught.value)
    assert sealed.state() == before


class Learns(nn.Module):
    """Keeps the mean of what it sees: a buffer that learns from data without noise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.linear(x - self.mean)


def whole(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.1)


def batch_norm(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    module = nn.Sequential(nn.Linear(width, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    return module, whole(module)


def learning_buffer(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    module = Learns(width)
    return module, whole(module)


def no_optimizer(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    module = nn.Sequential(nn.Linear(width, 4), nn.Linear(4, 2))
    return module, torch.optim.SGD(module[0].parameters(), lr=0.1)


def foreign(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    module, other = nn.Linear(width, 2), nn.Linear(width, 2)
    return module, torch.optim.SGD([*module.parameters(), *other.parameters()], lr=0.1)


@pytest.mark.parametrize(
    ("make", "error", "names"),
    [
        (batch_norm, UnsupportedModel, "BatchNorm1d"),
        (learning_buffer, UnsupportedModel, "mean"),
        (no_optimizer, Misuse, "1.weight"),
        (foreign, Misuse, "not of this model"),
    ],
)
def test_an_unsound_model_is_refused_before_the_first_step(
    sealed: Place, make: Any, error: type[PellucidError], names: str
) -> None:
    run = sealed.open("sid").run("tiny", data="applicants", purpose=PURPOSE, plan=make_plan(), features=FEATURES)
    with pytest.raises(error) as caught, run:
        run.private(*make(run.encoding.width))
    assert caught.value.exit_code == 2
    assert names in str(caught.value)
    ledger = sealed.open().budget("applicants")
    (only,) = ledger.runs
    assert (only.status, only.steps_taken, ledger.spent, ledger.reserved) == ("stopped", 0, 0.0, 0.0)
    assert not list((sealed.root / "models").iterdir())
    assert not sealed.open().notices
    assert sealed.open("sid").read("applicants", ["age"], purpose=PURPOSE).num_rows == 2950  # the next command goes on


def test_a_second_optimizer_is_refused_and_what_was_taken_stays_counted(sealed: Place) -> None:
    run = sealed.open("sid").run("tiny", data="applicants", purpose=PURPOSE, plan=make_plan(), features=FEATURES)

    def twice() -> None:
        with run:
            module = nn.Linear(run.encoding.width, 2)
            model, optimizer, batches = run.private(module, whole(module))
            x, y = next(iter(batches))
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            run.private(module, whole(module))

    with pytest.raises(Misuse, match="one run trains one model with one optimizer"):
        twice()
    (only,) = sealed.open().budget("applicants").runs
    assert (only.status, only.steps_taken) == ("stopped", 1)


def test_a_step_by_another_optimizer_is_noticed(sealed: Place) -> None:
    run = sealed.open("sid").run("tiny", data="applicants", purpose=PURPOSE, plan=make_plan(), features=FEATURES)

    def loop() -> None:
        with run:
            module = nn.Linear(run.encoding.width, 2)
            second = whole(module)
            model, optimizer, batches = run.private(module, whole(module))
            for x, y in batches:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                for parameter in module.parameters():
                    parameter.grad = torch.ones_like(parameter)
                second.step()

    with pytest.raises(Misuse, match="outside the private optimizer"):
        loop()
    assert not list((sealed.root / "models").iterdir())


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf, "3", None, True])
def test_a_plan_without_a_meant_epsilon_cannot_be_made(epsilon: Any) -> None:
    with pytest.raises(BadPlan, match="epsilon"):
        make_plan(epsilon=epsilon)


@pytest.mark.parametrize("delta", [1 / 3000, 0.5, 0.0, -1e-5, math.nan, math.inf])
def test_a_plan_with_a_delta_that_gives_people_away_cannot_be_made(delta: float) -> None:
    with pytest.raises(BadPlan, match="delta"):
        make_plan(delta=delta)


def test_a_plan_cannot_claim_less_than_its_events_cost(sealed: Place) -> None:
    """A plan made by hand with a small epsilon over cheap noise is refused before anything is reserved."""
    plan = make_plan()
    before = sealed.open().budget("applicants").document()
    with pytest.raises(BadPlan, match="epsilon"):
        run(plan=replace(plan, epsilon=plan.epsilon / 2))(sealed)
    assert sealed.open().budget("applicants").document() == before


def test_missing_evidence_that_the_policy_asks_for_is_never_a_pass(sealed: Place) -> None:
    sealed.train()
    project = sealed.open()
    made = project.bundle("tiny")
    assert "fairness" not in {entry.evidence.kind for entry in project.entries() if entry.kind == "evidence"}
    result = check.check(made, sealed.policy, owners=[project.owner])
    assert (result.verdict, result.exit) == ("unmeasured", 3)
    with pytest.raises(RequirementsNotMet, match=r"fairness\.minimum_cell") as caught:
        check.require(made, sealed.policy, owners=[project.owner])
    assert caught.value.exit_code == 3


def test_a_bundle_from_another_project_is_not_believed(
    trained: Place, sealed_once: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tests.project.conftest import found

    other = found(tmp_path_factory.mktemp("stranger") / "tiny").open()
    made: Path = trained.root / "models" / "tiny@1" / "bundle.json"
    result = check.check(made, trained.policy, owners=[other.owner])
    assert (result.verdict, result.exit) == ("unverified", 3)
    assert check.check(made, trained.policy, owners=[trained.open().owner]).exit == 0
