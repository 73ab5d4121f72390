"""Includes, parameters by environment, and for which models a requirement is meant."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from pellucid.check import ReleasePolicy, judge
from pellucid.check.rules import UNSAFE, judge_values
from pellucid.errors import BadFile
from pellucid.evidence import Evidence, Subject, digest
from pellucid.keys import SigningKey

TODAY = dt.date(2026, 6, 1)
KEY = SigningKey("credit/ana", b"\1" * 32).verifier


def rule(name: str, that: str = "privacy.epsilon <= parameters.epsilon", extra: str = "") -> str:
    return f'[[require]]\nid = "{name}"\nthat = "{that}"\nbecause = "b"\n{extra}\n'


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder / f"{next(iter(files))}.toml"


def statuses(policy: ReleasePolicy, values: Any, model: str = "credit-risk@1") -> dict[str, str]:
    return {each.id: each.status for each in judge_values(policy, values, TODAY, model=model)}


# -- includes ---------------------------------------------------------------------------------------------------------


def test_included_requirements_come_first_each_file_once_and_the_digest_is_over_all(tmp_path: Path) -> None:
    deep = tmp_path / "shared"
    deep.mkdir()
    (deep / "base.toml").write_text("[parameters]\nepsilon = 3.0\n" + rule("base"))
    top = write(
        tmp_path,
        top='include = ["left.toml", "right.toml"]\n' + rule("top"),
        left='include = ["shared/base.toml"]\n' + rule("left"),
        right='include = ["./shared/../shared/base.toml"]\n' + rule("right"),
    )
    policy = ReleasePolicy.read(top)
    assert [each.id for each in policy.requirements] == ["base", "left", "right", "top"]
    assert policy.requirements[0].file == str(deep / "base.toml")
    assert policy.requirements[0].line == 5
    before = policy.sha256
    assert before != digest(top.read_bytes())
    (deep / "base.toml").write_text("[parameters]\nepsilon = 9.0\n" + rule("base"))
    assert ReleasePolicy.read(top).sha256 != before


def test_without_includes_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    top = write(tmp_path, top=rule("a", "privacy.epsilon < 3.0"))
    assert ReleasePolicy.read(top).sha256 == digest(top.read_bytes())


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a": 'include = ["a.toml"]\n'}, "the policy includes itself: a.toml → a.toml"),
        (
            {"a": 'include = ["b.toml"]\n', "b": 'include = ["c.toml"]\n', "c": 'include = ["a.toml"]\n'},
            "a.toml → b.toml → c.toml → a.toml",
        ),
        ({"a": 'include = ["base.tmol"]\n', "base": ""}, 'there is no file "base.tmol"; did you mean "base.toml"?'),
        ({"a": 'include = ["/etc/passwd"]\n'}, "not a path relative to this file"),
        ({"a": 'include = ["https://example.org/p.toml"]\n'}, "not a path relative to this file"),
        ({"a": "include = []\n"}, "at least one"),
        ({"a": 'include = "b.toml"\n'}, "list of texts"),
        ({"a": 'include = ["b.toml"]\n' + rule("x", "privacy.ok"), "b": rule("x", "privacy.ok")},
         'the id "x" stands twice; first in'),
        ({"a": 'include = ["b.toml"]\n', "b": rule("x", "privcy.ok")}, "b.toml, line 3, column 9: require[x].that"),
        ({"a": 'include = ["b.toml"]\n', "b": "x = \n"}, "b.toml: not TOML"),
    ],
)  # fmt: skip
def test_a_bad_include_is_refused_by_name(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(BadFile) as error:
        ReleasePolicy.read(write(tmp_path, **files))
    assert says in str(error.value)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    files = {f"p{n}": f'include = ["p{n + 1}.toml"]\n' for n in range(60)} | {"p60": rule("x", "privacy.ok")}
    with pytest.raises(BadFile, match="at most 50 files"):
        ReleasePolicy.read(write(tmp_path, **files))


def test_bytes_without_a_folder_may_include_nothing() -> None:
    with pytest.raises(BadFile, match="not a path relative"):
        ReleasePolicy.parse(b'include = ["a.toml"]')


def test_who_includes_a_policy_trusts_nobody_whom_that_does_not(tmp_path: Path) -> None:
    trust = f'[trust]\nowners = ["{KEY.line}"]\nwaivers = ["auditor", "owner"]\n'
    other = SigningKey("other/eve", b"\2" * 32).verifier
    top = write(tmp_path, top='include = ["b.toml"]\n' + rule("x", "privacy.ok"), b=trust)
    policy = ReleasePolicy.read(top)
    assert (policy.owners, policy.waiving) == ((KEY,), ("auditor", "owner"))
    own = top.read_text()
    top.write_text(own + f'[trust]\nowners = ["{other.line}", "{KEY.line}"]\nwaivers = ["scientist", "auditor"]\n')
    policy = ReleasePolicy.read(top)
    assert (policy.owners, policy.waiving) == ((KEY,), ("auditor",))
    top.write_text(own + f'[trust]\nowners = ["{other.line}"]\n')
    with pytest.raises(BadFile, match=r"top.toml: trust.owners: it names none of the owners that an included"):
        ReleasePolicy.read(top)
    top.write_text(own + '[trust]\nwaivers = ["scientist"]\n')
    with pytest.raises(BadFile, match="it names none of the waivers that an included policy lets in"):
        ReleasePolicy.read(top)
    with pytest.raises(BadFile, match='did you mean "auditor"'):
        ReleasePolicy.parse((rule("x", "privacy.ok") + '[trust]\nwaivers = ["auditer"]').encode())


# -- parameters -------------------------------------------------------------------------------------------------------

BASE = "[parameters]\nepsilon = 3.0\nroles = ['a']\n[environment.production]\nepsilon = 1.0\n"


def test_where_no_included_policy_says_who_waives_the_including_one_does(tmp_path: Path) -> None:
    top = write(tmp_path, top='include = ["b.toml"]\n' + rule("x", "privacy.ok"), b=rule("y", "privacy.ok"))
    assert ReleasePolicy.read(top).waiving == ("owner",)
    top.write_text(top.read_text() + '[trust]\nwaivers = ["steward"]\n')
    assert ReleasePolicy.read(top).waiving == ("steward",)


def test_the_environment_chooses_and_the_including_file_has_the_last_word(tmp_path: Path) -> None:
    top = write(tmp_path, top='include = ["base.toml"]\n' + rule("x"), base=BASE)
    values = {"privacy": {"epsilon": 2.0}}
    assert statuses(ReleasePolicy.read(top), values) == {"x": "pass"}
    strict = ReleasePolicy.read(top, environment="production")
    assert statuses(strict, values) == {"x": "fail"}
    assert (strict.environment, strict.environments) == ("production", ("production",))
    (finding,) = judge_values(strict, values, TODAY)
    assert finding.values == {"privacy.epsilon": 2.0, "parameters.epsilon": 1.0}
    top.write_text('include = ["base.toml"]\n[parameters]\nepsilon = 2.5\n' + rule("x"))
    assert statuses(ReleasePolicy.read(top, environment="production"), values) == {"x": "pass"}


@pytest.mark.parametrize(
    ("text", "environment", "says"),
    [
        (BASE, "prodcution", 'no environment "prodcution"; did you mean "production"?'),
        ("[parameters]\nepsilon = 3.0\n", "production", "it has none"),
        (BASE + "[environment.test]\nepsilom = 1.0\n", None, 'no parameter "epsilom"; did you mean "epsilon"?'),
        (BASE + "[environment.test]\nepsilon = 'x'\n", None, '"epsilon" is a number elsewhere, and a text here'),
        ("[parameters]\nepsilom = 3.0\n", None, 'no parameter "epsilon"; did you mean "epsilom"?'),
        ("", None, 'no parameter "epsilon"'),
        ("[parameters]\nepsilon = {}\n", None, "must be a number, a text"),
        ("[parameters]\nepsilon = 1979-05-27\n", None, "must be a number, a text"),
        ("[parameters]\n'a-b' = 1\n", None, "cannot be named in a rule"),
        ("parameters = 3\n", None, "as a table"),
        ("environment = 3\n", None, "as a table"),
        ("[parameters]\nepsilon = nan\n", None, "nan and inf"),
        (f"[parameters]\nepsilon = {'9' * 400}\n", None, 'the number of "epsilon" is too large'),
        (f"[parameters]\nepsilon = [1, -{2**53 + 1}]\n", None, 'the number of "epsilon" is too large'),
        (f"{BASE}[environment.test]\nepsilon = {2**53 + 1}\n", None, 'the number of "epsilon" is too large'),
    ],
)
def test_a_bad_parameter_is_refused_by_name(text: str, environment: str | None, says: str) -> None:
    with pytest.raises(BadFile) as error:
        ReleasePolicy.parse((text + rule("x")).encode(), where="p.toml", environment=environment)
    assert says in str(error.value)
    assert "p.toml" in str(error.value)


def test_a_rule_that_reads_parameters_alone_is_refused() -> None:
    with pytest.raises(BadFile, match="reads no evidence"):
        ReleasePolicy.parse((BASE + rule("x", "parameters.epsilon < 3.0")).encode())


# -- for which models -------------------------------------------------------------------------------------------------

TRAINING = {
    "architecture": "Linear(3, 2)",
    "recipe": {"model": {"kind": "mlp"}},
    "dataset": {"name": "applicants"},
    "purpose": "credit scoring",
}


@pytest.mark.parametrize(
    ("scope", "meant"),
    [
        ('{ models = ["credit-*"] }', True),
        ('{ models = ["credit-risk@1"] }', True),
        ('{ models = ["credit-risk@2"] }', False),
        ('{ models = ["fraud"] }', False),
        ('{ kinds = ["mlp", "ebm"] }', True),
        ('{ kinds = ["Linear*"] }', True),
        ('{ kinds = ["ebm"] }', False),
        ('{ data = ["applicants"] }', True),
        ('{ data = ["patients"] }', False),
        ('{ purposes = ["credit *"] }', True),
        ('{ purposes = ["marketing"], models = ["credit-*"] }', False),
    ],
)
def test_applies_to_chooses_models(scope: str, meant: bool) -> None:
    text = rule("x", "privacy.epsilon > 0.0", f"applies-to = {scope}") + rule("all", "privacy.epsilon > 0.0")
    policy = ReleasePolicy.parse(text.encode())
    found = statuses(policy, {"privacy": {"epsilon": 1.0}, "training": TRAINING})
    assert found == ({"x": "pass", "all": "pass"} if meant else {"all": "pass"})


def test_what_the_evidence_does_not_say_excuses_nobody() -> None:
    text = rule("x", "privacy.epsilon > 0.0", 'applies-to = { kinds = ["ebm"], data = ["d"], purposes = ["p"] }')
    assert statuses(ReleasePolicy.parse(text.encode()), {}) == {"x": "unmeasured"}


def test_a_policy_that_asks_nothing_of_a_model_is_no_pass() -> None:
    text = rule("x", "privacy.epsilon > 0.0", 'applies-to = { models = ["fraud"] }')
    only_warns = text + rule("y", "privacy.epsilon > 0.0", 'severity = "warning"')
    for each in (text, only_warns):
        with pytest.raises(BadFile, match="what is not asked for cannot pass"):
            statuses(ReleasePolicy.parse(each.encode()), {"privacy": {"epsilon": 1.0}})


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ('"credit"', "is a table such as"),
        ("{}", "is a table such as"),
        ('{ model = ["x"] }', 'did you mean "models"'),
        ("{ models = [] }", "at least one"),
        ("{ models = [3] }", "at least one"),
    ],
)
def test_a_malformed_scope_is_refused(scope: str, says: str) -> None:
    with pytest.raises(BadFile) as error:
        ReleasePolicy.parse(rule("x", "privacy.ok", f"applies-to = {scope}").encode())
    assert says in str(error.value)


# -- unsafe evidence, and maps ----------------------------------------------------------------------------------------


def piece(kind: str, **values: Any) -> Evidence:
    return Evidence(kind, Subject("m@1", "0" * 64), values, {}, "public")


def test_unsafe_evidence_fails_a_policy_that_does_not_speak_of_it() -> None:
    evidence = [piece("attack", epsilon_lower=0.1), piece("unsafe", door="UnsafeSeed")]
    silent = ReleasePolicy.parse(rule("x", "attack.epsilon_lower < 1.0").encode())
    found = judge(silent, evidence, TODAY)
    assert [(each.id, each.status, each.severity) for each in found] == [
        ("x", "pass", "error"),
        (UNSAFE, "fail", "error"),
    ]
    speaking = ReleasePolicy.parse(rule("x", "attack.epsilon_lower < 1.0 || has(unsafe.door)").encode())
    assert [each.status for each in judge(speaking, evidence, TODAY)] == ["pass"]


def test_a_policy_can_require_that_a_map_has_nothing_missing() -> None:
    policy = ReleasePolicy.parse(rule("x", "maps['eu-ai-act'].missing == 0.0").encode())
    (finding,) = judge(policy, [piece("attack", epsilon_lower=0.1)], TODAY)
    assert finding.status == "fail"
    assert finding.values['maps["eu-ai-act"].missing'] > 0
    with pytest.raises(BadFile, match='did you mean "eu-ai-act"'):
        ReleasePolicy.parse(rule("x", "maps['eu-ai-akt'].missing == 0.0").encode())
