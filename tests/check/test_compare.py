"""Against a baseline only what is worse fails, and a diff says what changed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.bundle import Bundle
from pellucid.check import CheckResult, ReleasePolicy, check
from pellucid.errors import BadFile, Unverified

POLICY = ReleasePolicy.parse(
    b"""
[[require]]
id = "auc"
that = "evaluation.auc >= 0.95"
because = "b"
[[require]]
id = "method"
that = "explanation.method == 'shapley'"
because = "b"
[[require]]
id = "gap"
that = "fairness.columns.all(c, fairness.columns[c].demographic_parity_difference <= 0.01)"
because = "b"
[[require]]
id = "attack"
that = "attack.epsilon_lower < 1.0"
because = "b"
"""
)
Against = Callable[..., CheckResult]


@pytest.fixture
def against(make: Callable[..., Bundle], maker: Any, values: Any) -> Against:
    """The good values as baseline, and the same with changes as the bundle that is checked."""

    def run(changed: dict[str, Any], *, old: dict[str, Any] | None = None, how: str = "baseline") -> CheckResult:
        both = []
        for changes in (old or {}, changed):
            copied = copy.deepcopy(values)
            for path, value in changes.items():
                *steps, last = path.split(".")
                holder = copied
                for step in steps:
                    holder = holder[step]
                if value is None:
                    del holder[last]
                else:
                    holder[last] = value
            both.append(make(copied))
        return check(both[1], POLICY, owners=[maker.owner.verifier], **{how: both[0]})

    return run


def test_the_same_failures_do_not_count(against: Against) -> None:
    result = against({})
    assert (result.verdict, result.exit) == ("pass", 0)
    assert result.known == {"auc", "method", "gap"}
    assert [each.status for each in result.findings] == ["fail", "fail", "fail", "pass"]
    assert "fails, and is no worse than in credit-risk@1" in {each.says for each in result.notices}


@pytest.mark.parametrize(
    ("changed", "worse"),
    [
        ({"evaluation.auc.low": 0.88}, "auc"),
        ({"evaluation.auc.low": 0.90}, None),
        ({"evaluation.auc.value": 0.80}, None),  # the end that counts is the same
        ({"explanation.method": "saliency"}, "method"),
        ({"fairness.columns.gender.demographic_parity_difference.high": 0.04}, "gap"),
        ({"fairness.columns.gender.demographic_parity_difference.high": 0.02}, None),
        ({"attack.epsilon_lower": 1.01}, "attack"),
    ],
)
def test_only_what_is_worse_fails(against: Against, changed: dict[str, Any], worse: str | None) -> None:
    result = against(changed)
    assert result.exit == (1 if worse else 0)
    assert {each.id for each in result.findings if each.status == "fail"} - result.known == (
        {worse} if worse else set()
    )


def test_a_group_that_was_not_there_before_and_fails_is_worse(against: Against) -> None:
    gap = {"value": 0.02, "low": 0.01, "high": 0.03, "n": 10}
    both = {"demographic_parity_difference": gap, "equalized_odds_difference": gap}
    assert against({"fairness.columns.age": both}).exit == 1


def test_what_is_unmeasured_is_never_excused(against: Against) -> None:
    result = against({"attack": None}, old={"attack": None})
    assert (result.verdict, result.exit) == ("unmeasured", 3)
    assert against({}, old={"attack": None}).exit == 0
    assert against({"attack.epsilon_lower": 2.0}, old={"attack": None}).exit == 1


def test_a_baseline_that_does_not_verify_is_3(
    make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path
) -> None:
    forged = dataclasses.replace(make(values), checkpoint="x")
    with pytest.raises(Unverified, match="does not verify") as error:
        check(make(values), POLICY, owners=[maker.owner.verifier], baseline=forged)
    assert error.value.exit_code == 3
    with pytest.raises(BadFile, match="no such bundle"):
        check(make(values), POLICY, owners=[maker.owner.verifier], baseline=tmp_path / "none.json")


def test_a_diff_names_statuses_and_values_that_moved_and_decides_nothing(against: Against) -> None:
    better = {"evaluation.auc.low": 0.96, "evaluation.auc.high": 0.98, "attack.epsilon_lower": 0.5}
    result = against(better, how="diff")
    assert result.changes is not None
    first, second = result.changes
    assert (first.id, first.before, first.after, first.course) == ("auc", "fail", "pass", "fail → pass")
    assert [each["low"] for each in first.values["evaluation.auc"]] == [0.89, 0.96]
    assert (second.id, second.course, second.values) == ("attack", "", {"attack.epsilon_lower": (0.01, 0.5)})
    assert result.exit == 1
    assert against({}, how="diff").changes == ()


@pytest.mark.parametrize(
    ("rule", "old", "new", "same"),
    [
        # items that are written out have no path: each is compared with its own
        ("[slices.a, slices.b].all(g, g <= 0.1)", {"a": 0.05, "b": 0.2}, {"a": 0.95, "b": 0.2}, False),
        ("[slices.a, slices.b].all(g, g <= 0.1)", {"a": 0.05, "b": 0.2}, {"a": 0.06, "b": 0.2}, True),
        # items that have names are compared with those of their name, wherever they stand
        (
            "slices.l.all(g, g.e <= 0.1)",
            {"l": [{"group": "f", "e": 0.2}, {"group": "m", "e": 0.9}]},
            {"l": [{"group": "m", "e": 0.9}, {"group": "f", "e": 0.2}]},
            True,
        ),
        (
            "slices.l.all(g, g.e <= 0.1)",
            {"l": [{"group": "f", "e": 0.2}, {"group": "m", "e": 0.9}]},
            {"l": [{"group": "f", "e": 0.8}, {"group": "n", "e": 0.2}]},
            False,
        ),
        ("slices.l[0].e <= 0.1", {"l": [{"name": "f", "e": 0.9}]}, {"l": [{"name": "m", "e": 0.2}]}, False),
        # of two with one name nobody knows which: they go by their places
        (
            "slices.l.all(g, g.e <= 0.1)",
            {"l": [{"group": "f", "e": 0.2}, {"group": "f", "e": 0.9}]},
            {"l": [{"group": "f", "e": 0.9}, {"group": "f", "e": 0.2}]},
            False,
        ),
        # arithmetic on an item reads alike for all, and where one is gone nobody knows which
        ("slices.l.all(g, g + 0.0 <= 0.1)", {"l": [0.05, 0.2]}, {"l": [0.95, 0.2]}, False),
        ("slices.l.all(g, g + 0.0 <= 0.1)", {"l": [0.3, 0.2]}, {"l": [0.25]}, False),
        # parts of a rule that are no comparison
        ("slices.t.startsWith('a') && !slices.t.contains('z')", {"t": "b"}, {"t": "bz"}, False),
        ("slices.l.exists_one(g, g <= 0.1)", {"l": [0.2, 0.3]}, {"l": [0.9, 0.9]}, False),
        ("!has(slices.a) && slices.b <= 0.1", {"b": 0.2}, {"a": 1.0, "b": 0.2}, False),
        ("!has(slices.a) && slices.b <= 0.1", {"b": 0.2}, {"b": 0.2}, True),
        ("slices.t.startsWith('a') && slices.b <= 0.1", {"t": "a", "b": 0.2}, {"t": "ab", "b": 0.2}, True),
        # a text on either side
        ("slices.t == slices.u", {"t": "a", "u": "b"}, {"t": "a", "u": "c"}, False),
        # more than is read
        ("slices.l.all(g, g <= 0.1)", {"l": [0.0] * 1100 + [0.2]}, {"l": [0.0] * 1050 + [0.9] * 51}, False),
    ],
)
def test_what_cannot_be_compared_counts_as_worse(
    make: Callable[..., Bundle], maker: Any, rule: str, old: dict[str, Any], new: dict[str, Any], same: bool
) -> None:
    policy = ReleasePolicy.parse(f'[[require]]\nid = "x"\nthat = "{rule}"\nbecause = "b"\n'.encode())
    before, after = make({"slices": old}), make({"slices": new})
    result = check(after, policy, owners=[maker.owner.verifier], baseline=before)
    assert [each.status for each in result.findings] == ["fail"]
    assert (result.exit, result.known) == ((0, {"x"}) if same else (1, set()))


def test_a_diff_finds_a_group_again_wherever_it_stands(make: Callable[..., Bundle], maker: Any) -> None:
    rule = b'[[require]]\nid = "x"\nthat = "slices.l.all(g, g.e <= 0.1)"\nbecause = "b"\n'
    one, other = ({"group": "f", "e": 0.2}, {"group": "m x", "e": 0.9})
    before, after = make({"slices": {"l": [one, other]}}), make({"slices": {"l": [{**other, "e": 0.8}, one]}})
    (change,) = check(after, ReleasePolicy.parse(rule), owners=[maker.owner.verifier], diff=before).changes or ()
    assert change.values == {'slices.l["m x"].e': (0.9, 0.8)}


def test_another_unsafe_door_beside_one_that_the_baseline_knows_is_worse(make: Any, maker: Any, values: Any) -> None:
    rules = ReleasePolicy.parse(
        b"[[require]]\nid = 'u'\nthat = \"!has(unsafe.door) || unsafe.door == 'UnsafeSeed'\"\nbecause = 'b'\n"
    )
    owners = [maker.owner.verifier]
    old = make({**values, "unsafe": {"door": "UnsafeScore"}})
    assert check(old, rules, owners=owners, baseline=old).exit == 0
    pieces = [*values.items(), ("unsafe", {"door": "UnsafeOther"}), ("unsafe", {"door": "UnsafeScore"})]
    new = maker.bundle(pieces, old.subject)
    result = check(new, rules, owners=owners, baseline=old)
    assert (result.exit, result.known) == (1, frozenset())
