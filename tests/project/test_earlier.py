"""A second report about nearly the same people says nothing that a subtraction from the first would tell of a few."""

from __future__ import annotations

import dataclasses

import numpy as np
from tests.project.conftest import PURPOSE, Place, make_frame

from pellucid.evidence import Evidence, Subject
from pellucid.project import earlier
from pellucid.project.model import load, models
from pellucid.project.recipe import train

MODEL = Subject("m@1", "0" * 64)


def evaluation(n: int) -> Evidence:
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": n}
    names = ("auc", "accuracy", "base_rate", "majority_accuracy")
    return Evidence("evaluation", MODEL, dict.fromkeys(names, estimate), {}, "uncovered")


def slices(**cards: int) -> Evidence:
    return Evidence("slices", MODEL, {"slices": [{"where": w, "n": n} for w, n in cards.items()]}, {}, "uncovered")


def test_a_second_version_of_the_data_is_held_against_what_was_published_of_the_first(trained: Place) -> None:
    first = {e.kind: e for e in models(trained.open())["tiny@1"]}
    assert "base_rate" in first["evaluation"].values
    trained.open().seal("applicants", make_frame().iloc[:-4], schema=trained.schema)  # four people fewer
    assert trained.train() == "tiny@2"
    auditor = load(trained.open("kim"), "tiny@2")
    assert {e.subject.name for e in earlier.earlier(auditor)} >= {"tiny@1"}
    auditor.evaluate()
    second = {e.kind: e for e in models(trained.open())["tiny@2"]}
    # who is held out is drawn anew with every version, so that the numbers of people may differ by few or by many
    one_n, two_n = (e["evaluation"].values["accuracy"]["n"] for e in (first, second))
    assert ("base_rate" in second["evaluation"].values) == (abs(one_n - two_n) >= 20)
    one, two = (earlier.counts([e["fairness"]])["gender"][0] for e in (first, second))
    for name in one.keys() & two.keys():
        assert one[name] == two[name] or abs(one[name] - two[name]) >= 20


def test_data_made_of_the_same_people_under_another_name_is_held_against_them_too(trained: Place) -> None:
    owner = trained.open()
    owner.seal("others", make_frame().iloc[:-4], schema=trained.schema, parents=["applicants"])
    model = train(owner, "heir", dataset="others", purpose=PURPOSE, recipe=trained.recipe).model
    assert {e.subject.name for e in earlier.earlier(load(trained.open(), model))} >= {"tiny@1"}


def test_a_model_of_the_same_people_is_reported_whole(trained: Place) -> None:
    trained.train()
    assert earlier.earlier(load(trained.open("kim"), "tiny@2")) == ()


def test_shares_of_the_classes_are_withheld_unless_many_people_came_or_went() -> None:
    assert "base_rate" in earlier.without_shares(evaluation(900), 900, []).values
    assert "base_rate" in earlier.without_shares(evaluation(900), 900, [evaluation(870)]).values
    for n in (890, 900, 910):
        left = earlier.without_shares(evaluation(900), 900, [evaluation(n)])
        assert left.values.keys() == {"auc", "accuracy"}
        assert "subtraction" in left.how["base_rate"]
        # what the shares of the classes could be had from besides
        for kind, name in (("calibration", "split"), ("labels", "classes")):
            item = Evidence(kind, MODEL, {name: {}, "ece": 0.1, "rate": 0.1, "bins": []}, {}, "uncovered")
            assert name in earlier.without_shares(item, 900, []).values
            assert name not in earlier.without_shares(item, 900, [evaluation(n)]).values


def test_another_share_of_the_same_data_is_other_people(trained: Place) -> None:
    """The people held out at one share are among those at a larger one: what differs is a few whom one can choose."""
    recipe = trained.root / "recipes" / "more.toml"
    recipe.write_text(trained.recipe.read_text().replace("test = 0.3", "test = 0.303"), encoding="utf-8")
    assert "test = 0.303" in recipe.read_text()
    other = train(trained.open("sid"), "more", dataset="applicants", purpose=PURPOSE, recipe=recipe).model
    auditor = load(trained.open("kim"), other)
    assert {e.subject.name for e in earlier.earlier(auditor)} >= {"tiny@1"}
    auditor.evaluate()
    first, second = ({e.kind: e for e in models(trained.open())[name]} for name in ("tiny@1", other))
    one_n, two_n = (e["evaluation"].values["accuracy"]["n"] for e in (first, second))
    assert abs(one_n - two_n) < 20
    assert "base_rate" not in second["evaluation"].values
    assert "split" not in second["calibration"].values
    one, two = (earlier.counts([e["fairness"]])["gender"][0] for e in (first, second))
    for name in one.keys() & two.keys():
        assert one[name] == two[name] or abs(one[name] - two[name]) >= 20
    ones, twos = (earlier.class_counts([e["fairness"]])["gender"][0] for e in (first, second))
    for key in ones.keys() & twos.keys():
        assert ones[key] == twos[key] or abs(ones[key] - twos[key]) >= 20


def test_slices_of_nearly_as_many_people_are_withheld() -> None:
    left = earlier.without_slices(slices(a=50, b=50, c=50, d=50), [slices(a=50, b=40, c=30)])
    assert [card["where"] for card in left.values["slices"]] == ["a", "c", "d"]
    whole = slices(a=50)
    assert earlier.without_slices(whole, [dataclasses.replace(whole)]) is whole


def test_a_column_with_a_group_that_is_held_back_is_broken_down_nowhere() -> None:
    groups = {"gender": np.repeat(["f", "m"], [50, 90])}
    fair = {"groups": [{"group": "f", "n": 40}, {"group": "m", "n": 90}]}
    before = Evidence("fairness", MODEL, {"columns": {"gender": fair}}, {}, "uncovered")
    assert earlier.still(groups, [before]) == {}
    assert earlier.still(groups, []).keys() == {"gender"}
