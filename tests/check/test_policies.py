"""The shipped policies, each held against its own cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pellucid.check import ReleasePolicy, read_waivers
from pellucid.check.cases import Case, cases_file, read_cases, run_cases
from pellucid.check.lint import lint
from pellucid.errors import BadFile
from pellucid.evidence import Evidence, Subject

FOLDER = Path(__file__).parents[2] / "policies"
FILES = [FOLDER / f"{name}.toml" for name in ("release", "baseline", "gdpr-high-risk", "bank", "research")]
CASES = [(path, case) for path in FILES for case in read_cases(cases_file(path))]


@pytest.mark.parametrize(("path", "case"), CASES, ids=lambda each: each.name)
def test_case(path: Path, case: Case) -> None:
    assert run_cases(path, (case,)) == ()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_base_is_evidence_as_it_is_signed(path: Path) -> None:
    whole = read_cases(cases_file(path))[0]
    assert whole.exit == 0
    for kind, values in whole.values.items():
        if kind != "maps":
            Evidence(kind, Subject("m@1", "0" * 64), values, {}, "public")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_requirement_of_its_own_fails_or_lacks_evidence_in_some_case_and_says_why(path: Path) -> None:
    policy = ReleasePolicy.read(path)
    cases = read_cases(cases_file(path))
    seen = {name for case in cases for name in case.expect}
    assert seen >= {each.id for each in policy.requirements if each.file == str(path)}
    assert all(len(each.because) > 20 for each in policy.requirements)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_copied_into_every_project_speaks_of_no_particular_data(path: Path) -> None:
    for file in (path, cases_file(path)):
        assert not re.search(r"UCI|Adult|1994|this data", file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_lint_has_no_remark(path: Path) -> None:
    assert lint(ReleasePolicy.read(path)) == ()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_policy_trusts_nobody_by_itself_and_refuses_what_an_unsafe_door_made(path: Path) -> None:
    policy = ReleasePolicy.read(path)
    assert policy.owners == ()
    assert any("unsafe" in each.program.kinds and each.severity == "error" for each in policy.requirements)


def test_the_shipped_waivers_grant_nothing() -> None:
    assert read_waivers(FOLDER / "waivers.toml", ReleasePolicy.read(FOLDER / "release.toml")) == ()


@pytest.mark.parametrize(
    ("base", "case", "says"),
    [
        ("", "set = { 'privacy.epsilon.x' = 1 }", "privacy.epsilon.x goes through epsilon, which is no table"),
        ("", "drop = ['privacy.epsilon.x']", "privacy.epsilon.x goes through epsilon, which is no table"),
        ("", "set = { 'privcay.epsilon' = 9.0 }", '"privcay" is not a kind of evidence; did you mean "privacy"?'),
        ("", "set = { privacy = 3 }", '"privacy" must be a table'),
        ("", "set = 3", '"set" must be a table'),
        ("", "drop = 'privacy.epsilon'", '"drop" is a list of texts'),
        ("", "drop = [3]", '"drop" is a list of texts'),
        ("", "expect = 'x'", '"expect" must be a table'),
        ("", "expect = { x = 3 }", 'there is no status "3"'),
        ("", "env = ['x']", '"env" is missing or not a text'),
        ("base = 3", "", '"base" must be a table'),
        ("[base]\nprivacy = 3", "", '"base.privacy" must be a table'),
        ("[base.privcay]\nepsilon = 1.0", "", '"privcay" is not a kind of evidence; did you mean "privacy"?'),
    ],
)
def test_a_malformed_case_is_refused_by_name(tmp_path: Path, base: str, case: str, says: str) -> None:
    path = tmp_path / "release.tests.toml"
    base = base or "[base.privacy]\nepsilon = 2.0"
    path.write_text(f"{base}\n[[case]]\nname = 'n'\nexit = 0\n{case}\n")
    with pytest.raises(BadFile) as error:
        read_cases(path)
    assert says in str(error.value)
