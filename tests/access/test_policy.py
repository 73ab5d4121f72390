from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pellucid.access import POLICY_FILE, SCHEMA_FILE, AccessPolicy, shipped
from pellucid.errors import BadFile

PERMIT = b'@id("a") permit (principal, action, resource);'
SCHEMA = (shipped() / SCHEMA_FILE).read_bytes()
NAMESPACED = b"namespace X { entity A; action read appliesTo { principal: A, resource: A }; }"


def test_the_shipped_policy_loads(policy: AccessPolicy) -> None:
    assert policy.roles == ("owner", "steward", "scientist", "auditor", "reader")
    assert set(policy.because) == set(policy.ids)  # every shipped policy says why
    groups = {"processing"}
    declared = {"administer", "init", "grant", "revoke", "adopt", "seal", "budget", "rotate", "erase", "shred"}
    declared |= {"read", "export", "train", "statistics", "evaluate", "explain", "attack", "report"}
    declared |= {"review", "release"}
    assert set(policy.actions) == declared
    assert not groups & set(policy.actions)


def test_digests_are_of_the_file_bytes(policy: AccessPolicy) -> None:
    assert policy.sha256 == hashlib.sha256((shipped() / POLICY_FILE).read_bytes()).hexdigest()
    assert policy.schema_sha256 == hashlib.sha256(SCHEMA).hexdigest()


def test_a_changed_comment_changes_the_digest() -> None:
    one, two = AccessPolicy.parse(PERMIT, SCHEMA), AccessPolicy.parse(b"// x\n" + PERMIT, SCHEMA)
    assert one.sha256 != two.sha256
    assert one.schema_sha256 == two.schema_sha256


@pytest.mark.parametrize("missing", [POLICY_FILE, SCHEMA_FILE])
def test_a_missing_file_is_refused(tmp_path: Path, missing: str) -> None:
    for name in (POLICY_FILE, SCHEMA_FILE):
        if name != missing:
            shutil.copy(shipped() / name, tmp_path)
    with pytest.raises(BadFile, match="no such file") as caught:
        AccessPolicy.load(tmp_path)
    assert caught.value.where == str(tmp_path / missing)
    (tmp_path / missing).mkdir()
    with pytest.raises(BadFile, match="cannot be read"):
        AccessPolicy.load(str(tmp_path))


@pytest.mark.parametrize(
    ("policies", "schema", "says"),
    [
        (b"", SCHEMA, "empty"),
        (b" \n\t", SCHEMA, "empty"),
        (b"// nothing but a comment\n", SCHEMA, "empty policy"),
        (PERMIT, b"", "empty"),
        (PERMIT, b"// nothing", "unable to find an applicable action"),
        (PERMIT, b"entity Role; entity Identity in [Role]; action touch;", "unable to find an applicable action"),
        (PERMIT, NAMESPACED, "no action outside a namespace"),
        (b"\xff", SCHEMA, "UTF-8"),
        (PERMIT, b"\xff", "UTF-8"),
        (b"permit (principal, action, resource);", SCHEMA, "no @id"),
        (b'@id("") permit (principal, action, resource);', SCHEMA, "no @id"),
        (b"@id permit (principal, action, resource);", SCHEMA, "no @id"),
        (b'@id("nothing allows it") permit (principal, action, resource);', SCHEMA, "cannot be a name"),
        (PERMIT + PERMIT, SCHEMA, "stands twice"),
        (b"permit (principal)", SCHEMA, "not Cedar"),
        (PERMIT.replace(b"principal,", b'principal in Role::"wizard",'), SCHEMA, "wizard"),
    ],
)
def test_what_cannot_be_meant_is_refused(policies: bytes, schema: bytes, says: str) -> None:
    with pytest.raises(BadFile, match=says) as caught:
        AccessPolicy.parse(policies, schema)
    assert caught.value.where
    assert caught.value.exit_code == 2


def test_a_missing_and_a_double_id_name_their_lines() -> None:
    with pytest.raises(BadFile) as caught:
        AccessPolicy.parse(PERMIT + b"\n\nforbid (principal, action, resource);", SCHEMA)
    assert caught.value.where == "access.cedar:3"
    with pytest.raises(BadFile) as caught:
        AccessPolicy.parse(PERMIT + b"\n" + PERMIT, SCHEMA)
    assert caught.value.where == "access.cedar:2"
    assert "line 1" in str(caught.value)


def test_shipped_is_a_folder_with_policy_schema_and_tests() -> None:
    assert {"access.cedar", "access.cedarschema", "access.tests.toml"} <= {path.name for path in shipped().iterdir()}


def test_shipped_in_a_wheel_is_inside_the_package(tmp_path: Path) -> None:
    import subprocess
    import sys

    import pellucid

    package = tmp_path / "pellucid"
    shutil.copytree(Path(pellucid.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(shipped(), package / "_shipped" / "policies")
    code = "from pellucid.access import AccessPolicy, shipped; AccessPolicy.load(shipped()); print(shipped())"
    # -P and PYTHONPATH: the copy is found before the editable install
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(package / "_shipped" / "policies")
    shutil.rmtree(package / "_shipped")
    lost = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert "shipped policies are missing" in lost.stderr
