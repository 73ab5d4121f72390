"""The recomputed epsilon: the tightest that can, at every delta that is stated, along the whole curve; and soon."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.bundle import Bundle
from pellucid.check.verify import verify_bundle
from pellucid.privacy import accounting

SELECTION = {
    "kind": "repeat_and_select",
    "events": [{"kind": "poisson_gaussian", "sample_rate": "0.01", "noise_multiplier": "1.1", "count": 100}],
    "mean": "10",
    "shape": "0",
    "count": 1,
}


@pytest.fixture
def alone(values: Any) -> dict[str, Any]:
    """Privacy evidence that no training and no data set bind."""
    return {"privacy": values["privacy"]}


def check(make: Callable[..., Bundle], maker: Any, values: Any, **options: Any) -> Any:
    result = verify_bundle(make(values, **options), [maker.owner.verifier])
    return next(check for check in result.checks if check.name == "epsilon"), result.epsilon


def claim(alone: Any, events: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    values = copy.deepcopy(alone["privacy"])
    adjacency = more.get("adjacency", "add-or-remove-one")
    values |= {
        "events": events,
        "steps": sum(event["count"] for event in events),
        "epsilon": accounting.epsilon(events, 1e-5, adjacency=adjacency),
        "accountant": accounting.claimant(events, adjacency),
        "second_opinion": accounting.second_opinion(events, 1e-5, adjacency),
    }
    return {"privacy": {**values, **more}}


def test_where_one_accountant_alone_can_the_claim_is_his_and_there_is_no_second_opinion(make, maker, alone):
    values = claim(alone, [SELECTION])
    found, epsilon = check(make, maker, values)
    assert (found.status, epsilon.pld, epsilon.rdp) == ("pass", None, values["privacy"]["epsilon"])
    assert "no second opinion" in found.detail
    for changes in ({"accountant": "pld"}, {"second_opinion": {"accountant": "pld", "epsilon": 9.0}}):
        found, _ = check(make, maker, {"privacy": {**values["privacy"], **changes}})
        assert (found.status, "compose these events" in found.detail) == ("fail", True)


def test_a_claim_by_the_looser_accountant_below_the_tighter_one_fails(make, maker, alone, epsilons):
    for accountant, other, of in (("pld", "rdp", epsilons[1]), ("rdp", "pld", epsilons[0])):
        second = {"accountant": other, "epsilon": of}
        values = {**alone["privacy"], "accountant": accountant, "epsilon": epsilons[0] - 3e-6, "second_opinion": second}
        assert check(make, maker, {"privacy": values})[0].status == "fail"
        values["epsilon"] = epsilons[0]
        assert check(make, maker, {"privacy": values})[0].status == "pass"


def test_a_second_opinion_that_could_have_been_given_may_not_be_left_out(make, maker, alone):
    """So that a policy which excuses its absence excuses nothing but events that only one accountant can compose."""
    assert check(make, maker, alone)[0].status == "pass"
    for values in ({**alone["privacy"], "second_opinion": None}, dict(alone["privacy"])):
        if values["second_opinion"] is not None:
            del values["second_opinion"]
        found, _ = check(make, maker, {"privacy": values})
        assert (found.status, "the second opinion was left out" in found.detail) == ("fail", True)


def test_what_is_claimed_for_replacing_one_is_recomputed_for_it(make, maker, alone, values):
    replaced = claim(alone, values["privacy"]["events"], adjacency="replace-one")
    assert replaced["privacy"]["epsilon"] > values["privacy"]["epsilon"]
    assert check(make, maker, replaced)[0].status == "pass"
    replaced["privacy"]["epsilon"] = values["privacy"]["epsilon"]
    assert check(make, maker, replaced)[0].status == "fail"


def test_events_that_no_accountant_can_compose_together_fail(make, maker, alone):
    cut = {"kind": "truncated_poisson_gaussian", "sample_rate": "0.01", "noise_multiplier": "1.1"}
    values = {**alone["privacy"], "events": [SELECTION, {**cut, "units": 100, "most": 5, "count": 99}]}
    found, _ = check(make, maker, {"privacy": values})
    assert (found.status, "no accountant" in found.detail) == ("fail", True)


def test_epsilon_at_every_stated_delta_is_recomputed(make, maker, alone):
    events = alone["privacy"]["events"]
    at = accounting.epsilon_at(events, 1e-5)
    assert list(at) == ["1e-05", "1e-06", "1e-07", "1e-08"]
    assert list(at.values()) == [accounting.epsilon(events, float(delta)) for delta in at] == sorted(at.values())
    assert check(make, maker, {"privacy": {**alone["privacy"], "epsilon_at": at}})[0].status == "pass"
    for stated in ({**at, "1e-07": at["1e-07"] - 3e-6}, {"1e-05": "1"}, {"x": 1.0}, {"0": 1.0}, {"nan": 9.0}, {}, [1]):
        found, _ = check(make, maker, {"privacy": {**alone["privacy"], "epsilon_at": stated}})
        assert found.status == "fail"


def test_the_curve_is_recomputed_at_every_point(make, maker, alone):
    events, epsilon = alone["privacy"]["events"], alone["privacy"]["epsilon"]
    curve = [list(point) for point in accounting.curve(events, 1e-5)]
    assert len(curve) == accounting.CURVE_POINTS
    assert curve[0][0] == 0
    assert [point[1] for point in curve] == sorted((point[1] for point in curve), reverse=True)
    above = min(point for point in curve if point[0] >= epsilon)
    below = max(point for point in curve if point[0] < epsilon)
    assert above[1] <= 1.001e-5 <= 1.001 * below[1]
    assert check(make, maker, {"privacy": {**alone["privacy"], "curve": curve}})[0].status == "pass"
    lower = copy.deepcopy(curve)
    lower[7][1] *= 0.99
    bent = ([*curve[:3], curve[2]], [], "x", [[0.0]], [[0.0, "1"]], [[-1.0, 1.0]], [[float(10**9), 0.0]] * 2, lower)
    for stated in bent:
        found, _ = check(make, maker, {"privacy": {**alone["privacy"], "curve": stated}})
        assert found.status == "fail"


@pytest.mark.parametrize("kind", ["gaussian", "laplace", "selection"])
def test_the_curve_of_other_kinds_goes_through_their_claim(kind):
    events = {
        "gaussian": [{"kind": "gaussian", "noise_multiplier": "3", "count": 4}],
        "laplace": [{"kind": "laplace", "noise_multiplier": "9", "count": 12}],
        "selection": [SELECTION],
    }[kind]
    claim = accounting.epsilon(events, 1e-5)
    (at,) = accounting.deltas_at(events, [claim])
    assert at <= 1e-5 * (1 + 1e-6)
    (before,) = accounting.deltas_at(events, [claim - 3e-4])
    assert before > 1e-5


def test_a_recomputation_that_was_done_before_needs_no_accountant(make, maker, alone, tmp_path: Path):
    """Two fresh processes verify one bundle: the second loads neither the library nor numpy."""
    events = alone["privacy"]["events"]
    curve = [list(point) for point in accounting.curve(events, 1e-5)]
    full = {"epsilon_at": accounting.epsilon_at(events, 1e-5), "curve": curve}
    path = tmp_path / "bundle.json"
    path.write_bytes(make({"privacy": {**alone["privacy"], **full}}).to_bytes())
    script = (
        "import json, os, sys\n"
        "from pellucid.check.verify import verify_file\n"
        "from pellucid.keys import VerifyKey\n"
        f"found = verify_file({str(path)!r}, [VerifyKey.parse({maker.owner.verifier.line!r})])\n"
        "print(found.ok, found.epsilon, 'dp_accounting' in sys.modules, 'numpy' in sys.modules)\n"
    )
    folders = {"XDG_CACHE_HOME": str(tmp_path / "c"), "XDG_STATE_HOME": str(tmp_path / "s")}
    found = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **folders}
        ).stdout.split()
        for _ in range(2)
    ]
    assert found[0][0] == found[1][0] == "True"
    assert found[0][1:-2] == found[1][1:-2]
    assert (found[0][-2:], found[1][-2:]) == (["True", "True"], ["False", "False"])
    # a planted answer is not believed: every entry says epsilon 0 now
    for entry in (tmp_path / "c").rglob("*.json"):
        kept = json.loads(entry.read_text())
        entry.write_text(json.dumps({**kept, "texts": [(0.0).hex() for _ in kept["texts"]]}))
    bent = tmp_path / "bent.json"
    bent.write_bytes(make({"privacy": {**alone["privacy"], "epsilon": 0.01}}).to_bytes())
    done = subprocess.run(
        [sys.executable, "-c", script.replace(str(path), str(bent))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **folders},
    )
    assert done.stdout.startswith("False")


GAUSSIAN = {"kind": "gaussian", "noise_multiplier": "10", "count": 1}


def release(**changed: Any) -> dict[str, Any]:
    price = {"name": "means", "delta": 1e-5, "adjacency": "add-or-remove-one", "events": [GAUSSIAN]}
    least = accounting.epsilon([GAUSSIAN], 1e-5)
    return {"statistics": [], "part": "all", "unit": "row", **price, "epsilon": least, **changed}


@pytest.mark.parametrize("coverage", ["public", "own-release"])
@pytest.mark.parametrize("kinds", [("training",), ("training", "dataset"), ("training", "dataset", "privacy")])
def test_every_release_states_its_price_whatever_else_the_bundle_holds(make, maker, values, coverage, kinds):
    """Without a privacy statement, and whatever the release is labelled."""

    def found(kind: str, content: dict[str, Any]) -> Any:
        given = {**{each: values[each] for each in kinds}, kind: content}
        return check(make, maker, given, coverage={kind: coverage})[0]

    good = "pass" if "privacy" in kinds else "not checked"
    assert found("release", release()).status == good
    assert found("evaluation", {**values["evaluation"], "released": release()}).status == good
    for bent in (release(epsilon=0.001), release(delta=0.99), release(delta=0.01), release(delta=-1.0)):
        for wrong in (found("release", bent), found("evaluation", {**values["evaluation"], "released": bent})):
            assert (wrong.status, wrong.detail[:12]) == ("fail", "means states")


def test_a_delta_is_below_one_by_the_number_of_people(make, maker, values):
    for units, status in ((99, "not checked"), (101, "fail")):
        dataset = {**values["dataset"], "units": units}
        given = {"training": values["training"], "dataset": dataset, "release": release(delta=0.01, epsilon=9.0)}
        assert check(make, maker, given)[0].status == status


def test_a_release_of_its_own_without_a_price_is_refused(make, maker, values):
    for kind in ("evaluation", "fairness"):
        found = check(make, maker, {kind: values[kind]}, coverage={kind: "own-release"})[0]
        assert (found.status, found.detail) == ("fail", f"{kind} is a release of its own and states no price")
        assert check(make, maker, {kind: values[kind]})[0].status == "not checked"


def test_a_tuning_whose_trials_are_all_shown_is_paid_for_by_the_privacy_statement(make, maker):
    shown = {"released": "all trials", "events": [SELECTION]}
    assert check(make, maker, {"tuning": shown}, coverage={"tuning": "own-release"})[0].status == "not checked"


def test_how_much_is_composed_is_bounded_over_the_bundle(make, maker, values):
    def sampled(number: int) -> list[dict[str, Any]]:
        event = {"kind": "poisson_gaussian", "noise_multiplier": "1.1", "count": 100}
        return [{**event, "sample_rate": f"0.0{100 + each}"} for each in range(number)]

    def found(events: Any, *others: str) -> Any:
        given = {kind: values[kind] for kind in ("training", *others)}
        return check(make, maker, {**given, "release": release(events=events, epsilon=400.0)})[0]

    many = "the bundle composes 33 different sampled mechanisms; at most 32 are checked"
    for events in (sampled(33), [{**SELECTION, "events": sampled(33)}]):
        assert (found(events).status, found(events).detail) == ("fail", many)
    for events in ([{**GAUSSIAN, "count": 10**7 + 1}], [GAUSSIAN] * 1001, [], "x", [1], None):
        assert (found(events).status, "event" in found(events).detail) == ("fail", True)
    # together with what the privacy statement composes
    assert found(sampled(32), "privacy").detail == many
    assert "more than 10000000" in found([{**GAUSSIAN, "count": 10**7}], "privacy").detail


@pytest.mark.parametrize("steps", ["9999", [9999], True, {}])
def test_steps_of_training_that_are_no_number_fail(make, maker, values, steps):
    """Or nobody could hold them against the steps that were accounted for."""
    values["training"]["steps"] = steps
    assert check(make, maker, values)[0].status == "fail"


def test_a_tuning_without_a_trial_is_a_failed_check_and_no_crash(make, maker, values):
    values["privacy"]["tuning"] = {"trial": [], "trials": 3, "distribution": "poisson", "score_noise": None}
    values["training"] |= {"mechanism": "boosting", "rounds": 3}
    found, _ = check(make, maker, values)
    assert (found.status, found.detail) == ("fail", "the events cannot be composed")
