from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.access import AccessPolicy, read_cases, run, untested
from pellucid.errors import BadFile

RESOURCES = """
[resources.d]
type = "Dataset"
purposes = ["p"]
[resources."d/age"]
type = "Column"
in = ["d"]
sensitivity = "personal"
purposes = ["p"]
"""
CASE = """
[[case]]
identity = "ana"
roles = ["scientist"]
action = "read"
resource = "d/age"
purpose = "p"
allowed = true
because = "scientist-reads"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "access.tests.toml"
    path.write_text(text)
    return path


def test_a_case_that_holds_is_no_failure(policy: AccessPolicy, tmp_path: Path) -> None:
    path = write(tmp_path, RESOURCES + CASE)
    assert run(policy, path) == []
    (case,) = read_cases(path)
    assert case.request.resource.parents[0].name == "d"
    assert case.request.principal.roles == {"scientist"}
    assert set(untested(policy, path)) == set(policy.ids) - {"scientist-reads"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("allowed = true", "allowed = false", "is allowed: "),
        ('["scientist"]', '["reader"]', "is denied: nothing allows it"),
        ('["scientist"]', '["auditor"]', "decided by auditor-reads, not by scientist-reads"),
        ('because = "scientist-reads"', 'because = "nothing allows it"', "decided by scientist-reads"),
        ('purpose = "p"\n', "", "purpose-needed"),
    ],
)
def test_a_case_that_does_not_hold_is_a_failure(
    policy: AccessPolicy, tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in CASE
    (failure,) = run(policy, write(tmp_path, RESOURCES + CASE + CASE.replace(old, new)))
    assert says in failure.says
    assert failure.says.startswith("case 2: ")


def test_a_denial_by_error_is_never_the_denial_that_was_meant(policy: AccessPolicy, tmp_path: Path) -> None:
    for old, new in (("read", "fly"), ("scientist", "wizard"), ("d/age", "d")):
        case = CASE.replace(f'"{old}"', f'"{new}"').replace("allowed = true", "allowed = false")
        case = case.replace('"scientist-reads"', '"nothing allows it"')
        (failure,) = run(policy, write(tmp_path, RESOURCES + case))
        assert "nothing was decided" in failure.says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one"),
        (RESOURCES, "at least one"),
        (RESOURCES + "case = 1", "type must|unknown key|at least one"),
        ("resources = 1\n" + CASE, "at least one"),
        ("case = [1]\n" + RESOURCES, "a case is a table"),
        (RESOURCES + CASE + "[cases]\n", 'unknown key; did you mean "case"'),
        (RESOURCES + CASE + 'prupose = "p"', 'unknown key; did you mean "purpose"'),
        (RESOURCES + CASE.replace("allowed = true\n", ""), "missing or not of type bool"),
        (RESOURCES + CASE.replace("allowed = true", "allowed = 1"), "missing or not of type bool"),
        (RESOURCES + CASE.replace('["scientist"]', "[1]"), "list of texts"),
        (RESOURCES + CASE.replace('purpose = "p"', "purpose = 1"), "purpose must be a text"),
        (RESOURCES + CASE.replace('"d/age"', '"d.aeg"'), 'not declared.*did you mean "d/age"'),
        (RESOURCES + CASE.replace('"scientist-reads"', '"scientist-raeds"'), 'did you mean "scientist-reads"'),
        (RESOURCES.replace('"Column"', '"Table"') + CASE, "type must be one of"),
        (RESOURCES.replace('["d"]', '"d"') + CASE, "in must be a list"),
        (RESOURCES.replace('["d"]', "[1]") + CASE, "not declared"),
        (RESOURCES.replace('["d"]', '["d/age"]') + CASE, "part of itself"),
        ("[[case", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(policy: AccessPolicy, tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadFile, match=says):
        run(policy, write(tmp_path, text))


def test_a_missing_file_is_refused(policy: AccessPolicy, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such file"):
        run(policy, tmp_path / "none.toml")
