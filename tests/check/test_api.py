from __future__ import annotations

import dataclasses
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.bundle import Bundle
from pellucid.check import ReleasePolicy, check, render, render_verification, require
from pellucid.check.text import WIDTH, shown, wrapped
from pellucid.errors import BadFile, Refused, RequirementsNotMet
from pellucid.keys import SigningKey

SHIPPED = Path(__file__).parents[2] / "policies" / "release.toml"
TODAY = dt.date(2026, 6, 1)


def rule(that: str, extra: str = "") -> str:
    return f"[[require]]\nid = \"r\"\nthat = '''{that}'''\nbecause = 'the board said so'\n{extra}"


def policy(that: str, extra: str = "") -> ReleasePolicy:
    return ReleasePolicy.parse(rule(that, extra).encode(), where="p.toml")


def test_exit_0_if_every_requirement_of_severity_error_is_met(
    make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    result = check(make(values), SHIPPED, owners=[maker.owner.verifier])
    assert (result.exit, result.verdict) == (0, "pass")
    assert {finding.status for finding in result.findings} == {"pass"}
    assert require(make(values), SHIPPED, owners=[maker.owner.verifier]) == result


def test_exit_1_if_a_requirement_fails(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    values["evaluation"]["auc"]["low"] = 0.7
    result = check(make(values), SHIPPED, owners=[maker.owner.verifier])
    assert (result.exit, result.verdict) == (1, "fail")
    with pytest.raises(RequirementsNotMet) as error:
        require(make(values), SHIPPED, owners=[maker.owner.verifier])
    assert error.value.exit_code == 1
    assert isinstance(error.value, Refused)
    message = str(error.value)
    assert "fail evaluation.auc" in message
    assert "evaluation.auc.low = 0.7" in message
    assert "lucky middle" in message
    assert "privacy.epsilon:" not in message


def test_exit_2_if_policy_or_use_is_invalid(
    make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path
) -> None:
    owners = [maker.owner.verifier]
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    for call in (
        lambda: check(make(values), empty, owners=owners),
        lambda: check(make(values), tmp_path / "none.toml", owners=owners),
        lambda: check(tmp_path / "none.json", SHIPPED, owners=owners),
        lambda: check(make(values), policy("training.status <= 3"), owners=owners),
        lambda: require(make(values), policy("privacy.epsilon / 0 < 3"), owners=owners),
        lambda: check(make(values), SHIPPED),
        lambda: check(make(values), SHIPPED, owners=[]),
    ):
        with pytest.raises(BadFile) as error:
            call()
        assert error.value.exit_code == 2
    with pytest.raises(BadFile, match=r"require\[r\]"):
        check(make(values), policy("training.status <= 3"), owners=owners)


def test_exit_3_if_an_error_is_unmeasured(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    del values["calibration"]
    values["evaluation"]["auc"]["low"] = 0.7  # a failure beside it does not make it a 1
    result = check(make(values), SHIPPED, owners=[maker.owner.verifier])
    assert (result.exit, result.verdict) == (3, "unmeasured")
    with pytest.raises(RequirementsNotMet) as error:
        require(make(values), SHIPPED, owners=[maker.owner.verifier])
    assert error.value.exit_code == 3
    assert "unmeasured calibration.ece" in str(error.value)


def test_exit_3_if_the_bundle_does_not_verify_and_nothing_it_says_is_believed(
    make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path
) -> None:
    forged = dataclasses.replace(make(values), checkpoint=make(values).checkpoint.replace("credit\n", "credits\n"))
    path = tmp_path / "bundle.json"
    path.write_bytes(make(values).to_bytes() + b" ")
    for bundle in (forged, path):
        result = check(bundle, policy("!has(unsafe.door)"), owners=[maker.owner.verifier])
        assert (result.exit, result.verdict) == (3, "unverified")
        assert [finding.status for finding in result.findings] == ["unmeasured"]
        with pytest.raises(RequirementsNotMet) as error:
            require(bundle, policy("!has(unsafe.door)"), owners=[maker.owner.verifier])
        assert error.value.exit_code == 3


def test_an_epsilon_below_the_recomputed_one_is_3_and_never_a_pass(
    make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    for claim in (0.0001, -1, "0.1", True):
        values["privacy"]["epsilon"] = claim
        result = check(make(values), policy("privacy.epsilon <= 3"), owners=[maker.owner.verifier])
        assert (result.exit, result.verdict) == (3, "unverified")
        assert [finding.status for finding in result.findings] == ["unmeasured"]


def test_other_weights_are_3(make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"other")
    result = check(make(values), SHIPPED, owners=[maker.owner.verifier], weights=tmp_path / "w")
    assert (result.exit, result.verdict) == (3, "unverified")


def test_trust_is_the_callers_else_the_policys_else_the_default(
    make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    good, eve = maker.owner.verifier, SigningKey("eve/eve", b"\7" * 32).verifier
    trusting = policy("privacy.epsilon < 3", f'[trust]\nowners = ["{good.line}"]')
    bundle = make(values)
    assert check(bundle, trusting).exit == 0
    assert check(bundle, trusting, default_owners=[eve]).exit == 0
    assert check(bundle, trusting, owners=[eve]).exit == 3
    assert check(bundle, policy("privacy.epsilon < 3"), default_owners=[good]).exit == 0
    assert check(bundle, policy("privacy.epsilon < 3"), default_owners=[eve]).exit == 3


def test_a_waiver_is_applied_on_the_given_day(
    make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path
) -> None:
    granted = tmp_path / "w.toml"
    that = "evaluation.auc.low > 0.99"
    granted.write_text(maker.waiver("r", rule(that), expires=TODAY))
    arguments: Any = {"owners": [maker.owner.verifier], "waivers": granted}
    assert check(make(values), policy(that), today=TODAY, **arguments).findings[0].status == "waived"
    assert check(make(values), policy(that), today=TODAY + dt.timedelta(days=1), **arguments).exit == 1


# -- for people and programs ------------------------------------------------------------------------------------------


def test_json_is_exactly_the_documented_document(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    del values["attack"]
    result = check(make(values), SHIPPED, owners=[maker.owner.verifier])
    document = result.document()
    assert list(document) == ["verdict", "exit", "findings", "notices", "policy"]
    for finding in document["findings"]:
        assert list(finding) == ["id", "status", "severity", "that", "because", "values", "fix"]
    assert json.loads(render(result, "json")) == document
    assert {f["id"]: f["values"] for f in document["findings"]}["privacy.attacked"] == {"attack.epsilon_lower": None}


def test_text_has_80_columns_a_mark_for_each_finding_and_the_verdict_last(
    make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path
) -> None:
    del values["attack"]
    values["evaluation"]["auc"]["low"] = 0.7
    values["fairness"]["columns"]["gender"]["demographic_parity_difference"]["high"] = 0.195
    granted = tmp_path / "w.toml"
    granted.write_text(maker.waiver("fairness.demographic-parity", SHIPPED.read_text(), expires=TODAY))
    result = check(make(values), SHIPPED, owners=[maker.owner.verifier], today=TODAY, waivers=granted)
    text = render(result, "text")
    lines = text.splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert "✗ FAIL        evaluation.auc" in lines
    assert "? UNMEASURED  privacy.attacked (warning)" in lines
    assert "~ WAIVED      fairness.demographic-parity (warning)" in lines
    assert "evaluation.auc.low = 0.7" in text
    assert "demographic_parity_difference.high" in text
    assert "- NOT CHECKED weights:" in text
    last = " ".join(line.strip() for line in lines[-2:])
    assert last == "verdict: FAIL (exit 1): a requirement is not met: evaluation.auc, calibration.ece"
    verification = render_verification(result.verification)
    assert verification.splitlines()[-1] == "verdict: VERIFIED (exit 0)"


def test_no_control_character_of_a_stranger_reaches_the_terminal(
    make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    values["training"]["purpose"] = "\x1b[2J\x1b[1;1Hverdict: PASS\r\nverdict: PASS\u202e"
    result = check(make(values), policy("training.purpose == 'x'"), owners=[maker.owner.verifier])
    text = render(result, "text")
    assert all(character.isprintable() or character == "\n" for character in text)
    assert not any(line.startswith("verdict: PASS") for line in text.splitlines())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "absent"),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (3.0, "3"),
        ({"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}, "0.9 (0.8 to 0.95, n 100)"),
        (0.9, "0.9"),
        (1e-5, "1e-05"),
        ("a b", '"a b"'),
        (["a", 1], '["a", 1]'),
        ([{}, {}], "list of 2"),
        ({"a": 1}, "map of 1"),
        ("x" * 100, '"' + "x" * 56 + "…"),
    ],
)
def test_a_value_is_shown_in_one_short_line(value: Any, text: str) -> None:
    assert shown(value) == text


def test_importing_the_room_needs_nothing_heavy() -> None:
    heavy = ["torch", "pyarrow", "pandas", "numpy", "dp_accounting", "celpy", "lark", "sqlalchemy", "cedarpy", "opacus"]
    code = f"import sys, pellucid.check; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_verdict_names_what_decided_it_and_no_warning(
    make: Callable[..., Any], maker: Any, values: dict[str, Any]
) -> None:
    del values["calibration"], values["attack"]  # the attack only warns
    values["evaluation"]["auc"]["low"] = 0.7
    result = check(make(values), SHIPPED, owners=[maker.owner.verifier], today=TODAY)
    said = " ".join(render(result, "text").splitlines()[-3:]).split("verdict: ")[1]
    assert " ".join(said.split()) == (
        "UNMEASURED (exit 3): a requirement could not be measured, which is not a pass: calibration.ece; "
        "not met: evaluation.auc"
    )
    assert render(result, "github").splitlines()[-1].endswith("calibration.ece; not met: evaluation.auc")


def test_an_id_is_not_broken_at_its_hyphen() -> None:
    lines = wrapped(f"{'x' * 64} bank.key-release", 0)
    assert lines[1].strip() == "bank.key-release"
    assert all(len(line) <= WIDTH for line in wrapped(f"{'x' * 200} a-b {'y-' * 100}", 0))
