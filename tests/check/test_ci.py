"""Where people run a check: every file of ``examples/ci``, the action and the hooks, with a model that passes and one
that does not.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pellucid.bundle import Bundle

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "ci"
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@pytest.fixture(scope="module")
def repository(
    tmp_path_factory: pytest.TempPathFactory,
    make: Callable[..., Bundle],
    maker: Any,
    good_values: dict[str, dict[str, Any]],
) -> Path:
    """A repository with policies, the owner's key, and three bundles: one passes, one fails, one does not verify."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "policies", folder / "policies")
    (folder / "owner.pub").write_text(maker.owner.verifier.line + "\n")
    failing = copy.deepcopy(good_values)
    failing["evaluation"]["auc"] = {"value": 0.86, "low": 0.83, "high": 0.88, "n": 9600}
    good = make(good_values).to_bytes()
    (folder / "passing.json").write_bytes(good)
    (folder / "failing.json").write_bytes(make(failing).to_bytes())
    (folder / "broken.json").write_bytes(good.replace(b'"index":', b'"index" :', 1))
    return folder


MODELS = [("passing", 0), ("failing", 1), ("broken", 3)]
models = pytest.mark.parametrize(("model", "code"), MODELS, ids=[name for name, _ in MODELS])


def bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script as a runner runs it, with our command in the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), **variables}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# -- GitHub -----------------------------------------------------------------------------------------------------------


@models
def test_the_github_action_ends_with_the_code_and_leaves_every_output(
    repository: Path, tmp_path: Path, model: str, code: int
) -> None:
    action = read(ROOT / "action.yml")
    given = {**{name: each.get("default", "") for name, each in action["inputs"].items()}, "bundle": f"{model}.json"}
    given |= {"key": "owner.pub", "output": str(tmp_path / "out")}
    step = action["runs"]["steps"][1]
    variables = {
        name: EXPRESSION.sub(lambda e: given[e[1].removeprefix("inputs.")], text) for name, text in step["env"].items()
    }
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    (tmp_path / "GITHUB_STEP_SUMMARY").write_text("what another command wrote\n")
    done = bash(step["run"], repository, **variables, **files)
    assert done.returncode == code, done.stderr
    outputs = dict(line.split("=", 1) for line in (tmp_path / "GITHUB_OUTPUT").read_text().splitlines())
    assert outputs.keys() == action["outputs"].keys()
    assert outputs["exit"] == str(code)
    assert json.loads(Path(outputs["json"]).read_text())["exit"] == code
    assert json.loads(Path(outputs["sarif"]).read_text())["version"] == "2.1.0"
    assert Path(outputs["junit"]).read_text().startswith("<?xml")
    summary = (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert summary.startswith("what another command wrote\n## ")
    assert ("::error " in done.stdout) == (code != 0)
    if model == "failing":
        assert re.search(
            r"^::error file=policies/release.toml,line=\d+,title=evaluation.auc::", done.stdout, re.MULTILINE
        )


def test_no_input_of_the_action_is_text_of_a_script() -> None:
    action = read(ROOT / "action.yml")
    assert all("${{" not in step["run"] for step in action["runs"]["steps"])
    used = {
        name for step in action["runs"]["steps"] for text in step["env"].values() for name in EXPRESSION.findall(text)
    }
    assert {name.split(" ")[0].removeprefix("inputs.") for name in used} == action["inputs"].keys()


def test_a_hostile_name_of_a_bundle_is_no_command(repository: Path, tmp_path: Path) -> None:
    step = read(ROOT / "action.yml")["runs"]["steps"][1]
    empty = dict.fromkeys(step["env"], "")
    variables = {
        **empty,
        "BUNDLE": "x.json; touch owned; $(touch owned)",
        "POLICY": "baseline",
        "OUTPUT": str(tmp_path),
    }
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    assert bash(step["run"], repository, **variables, **files).returncode == 2
    assert not (repository / "owned").exists()


def test_the_github_example_gives_the_action_what_it_has() -> None:
    steps = read(EXAMPLES / "github.yml")["jobs"]["check"]["steps"]
    action = read(ROOT / "action.yml")
    ours = next(step for step in steps if "pellucid@" in step.get("uses", ""))
    assert ours["with"].keys() <= action["inputs"].keys()
    assert {name for name, each in action["inputs"].items() if each.get("required")} <= ours["with"].keys()
    named = re.findall(r"steps\.pellucid\.outputs\.(\w+)", (EXAMPLES / "github.yml").read_text())
    assert set(named) <= action["outputs"].keys()


# -- GitLab -----------------------------------------------------------------------------------------------------------


@models
def test_the_gitlab_template_ends_with_the_code_and_leaves_its_report(
    repository: Path, tmp_path: Path, model: str, code: int
) -> None:
    job = read(EXAMPLES / "gitlab.yml")[".pellucid-check"]
    variables = {**job["variables"], "PELLUCID_BUNDLE": f"{model}.json", "PELLUCID_OUTPUT": str(tmp_path)}
    done = bash("\n".join(job["script"]), repository, **variables)
    assert done.returncode == code, done.stderr
    assert done.stdout.rstrip().splitlines()[-1]
    report = job["artifacts"]["reports"]["junit"].replace("$PELLUCID_OUTPUT", str(tmp_path))
    assert ("<failure" in Path(report).read_text()) == (model == "failing")


# -- pre-commit -------------------------------------------------------------------------------------------------------


@models
def test_the_pre_commit_hooks_pass_or_stop_a_commit(repository: Path, model: str, code: int) -> None:
    known = {hook["id"]: hook for hook in read(ROOT / ".pre-commit-hooks.yaml")}
    (used,) = read(EXAMPLES / "pre-commit-config.yaml")["repos"]
    for hook in used["hooks"]:
        assert known[hook["id"]]["pass_filenames"] is False
        words = [word.replace("bundle.json", f"{model}.json") for word in hook["args"]]
        done = bash(f"{known[hook['id']]['entry']} {shlex.join(words)}", repository)
        assert done.returncode == (code if hook["id"] == "pellucid-check" else 0), done.stdout + done.stderr
    assert re.search(known["pellucid-check"]["files"], "model/bundle.json")
    assert re.search(known["pellucid-policy"]["files"], "policies/release.toml")


# -- pytest -----------------------------------------------------------------------------------------------------------


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
    ]
    return subprocess.run([*command, *words], cwd=folder, capture_output=True, text=True, timeout=120)


@models
def test_the_pytest_plugin_fails_the_test_with_the_whole_check(repository: Path, model: str, code: int) -> None:
    shutil.copy(EXAMPLES / "test_release.py", repository)
    words = ("test_release.py", "-k", "released", "--pellucid-bundle", f"{model}.json", "--pellucid-key", "owner.pub")
    done = run_pytest(repository, *words)
    assert done.returncode == (1 if code else 0), done.stdout
    if model == "failing":
        assert "failing.json does not meet policies/release.toml" in done.stdout
        said = re.sub(r"\n(E +)?", " ", done.stdout)  # it is wrapped
        assert "evaluation.auc.low = 0.83, has to be >= 0.85 (parameters.auc): 0.02 too low" in said


def test_the_whole_example_passes_with_the_options_in_the_ini_file(repository: Path) -> None:
    shutil.copy(EXAMPLES / "test_release.py", repository)
    (repository / "pytest.ini").write_text("[pytest]\npellucid_bundle = passing.json\npellucid_key = owner.pub\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_release.py"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=120)
    (repository / "pytest.ini").unlink()
    assert "2 passed" in done.stdout, done.stdout


def test_without_a_bundle_the_fixture_says_what_to_name(repository: Path) -> None:
    shutil.copy(EXAMPLES / "test_release.py", repository)
    done = run_pytest(repository, "test_release.py", "-k", "released")
    assert done.returncode == 1
    assert "pytest --pellucid-bundle bundle.json" in done.stdout


def test_the_plugin_loads_nothing_of_pellucid_before_a_test_asks(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    ours = {m for m in sys.modules if m.startswith('pellucid')}\n"
        "    assert ours == {'pellucid', 'pellucid.check', 'pellucid.check.plugin'}, ours\n"
    )
    done = run_pytest(tmp_path, "test_it.py")
    assert done.returncode == 0, done.stdout


def test_assert_meets_stands_by_itself(repository: Path) -> None:
    from pellucid.check.plugin import assert_meets

    key = repository / "owner.pub"
    assert assert_meets(repository / "passing.json", ROOT / "policies" / "release.toml", key=key).exit == 0
    with pytest.raises(AssertionError, match="verdict: FAIL"):
        assert_meets(repository / "failing.json", ROOT / "policies" / "release.toml", key=key)
