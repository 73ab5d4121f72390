"""The house holds: who imports whom, what loads when, and what a verifier needs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "pellucid"
VERIFIER = ROOT / ".venv-verify" / "bin" / "python"
MODULES = sorted(SOURCE.rglob("*.py"))

# Which module may name which foreign library; everything under the path counts.
DOORS = {
    "opendp": ("privacy/mechanism.py",),
    "cedarpy": ("access/cedar.py",),
    "opacus": ("train/layers.py",),
    "captum": ("explain/attribution/methods.py",),
    "shap": ("explain/attribution/blackbox.py",),
    "pyarrow.parquet": ("vault/parquet.py",),
    "sqlalchemy": ("log/store/",),
    "dp_accounting": ("privacy/composition.py",),
    "jinja2": ("report/",),
    "mlflow": ("project/exporting.py",),
    "rich": ("console.py",),
}


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file names, and how far up a relative import reaches."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module or ''}.{alias.name}", node.level) for alias in node.names)


def _names(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def _run(python: str | Path, *words: str, code: int | None = 0, cwd: Path | None = None) -> str:
    done = subprocess.run([str(python), *words], cwd=cwd, capture_output=True, text=True, timeout=120)
    if code is not None:
        assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_contracts_of_imports_are_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    assert "0 broken" in _run(lint, "--no-cache", cwd=ROOT)


@pytest.mark.parametrize("library", DOORS)
def test_one_door_for_each_foreign_library(library: str) -> None:
    namers = [
        _names(path)
        for path in MODULES
        if any(name == library or name.startswith(f"{library}.") for name, _ in _imports(path))
    ]
    assert namers, f"nobody names {library}: is its door still there?"
    assert [name for name in namers if not name.startswith(DOORS[library])] == []


def test_no_import_is_relative() -> None:
    assert [_names(path) for path in MODULES if any(level for _, level in _imports(path))] == []


def test_nothing_is_pickled() -> None:
    pickles = ("pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
    assert [_names(p) for p in MODULES if any(name.partition(".")[0] in pickles for name, _ in _imports(p))] == []


def test_nothing_prints() -> None:
    calls = [
        _names(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == []


def test_every_public_name_resolves_and_none_is_loaded_before_it_is_named(tmp_path: Path) -> None:
    program = """
import sys, pellucid
early = [m for m in sys.modules if m.startswith("pellucid.")]
assert not early, early
assert sorted(dir(pellucid)) == sorted(pellucid.__all__)
for name in pellucid.__all__:
    assert getattr(pellucid, name) is not None, name
try:
    pellucid.Projct
except AttributeError:
    pass
else:
    raise AssertionError("a name that is none")
"""
    _run(sys.executable, "-c", program, cwd=tmp_path)


def test_verifying_loads_neither_torch_nor_arrow(tmp_path: Path) -> None:
    program = """
import sys, pellucid.check, pellucid.report, pellucid.bundle, pellucid.log, pellucid.privacy
heavy = ("torch", "opacus", "captum", "shap", "pyarrow", "pandas", "fairlearn", "cedarpy", "safetensors")
loaded = [m for m in heavy if m in sys.modules]
assert not loaded, loaded
"""
    _run(sys.executable, "-c", program, cwd=tmp_path)


# -- the verifier's environment: the plain package and nothing more ---------------------------------------------------


@pytest.fixture(scope="module")
def verifier() -> Path:
    """The Python of the second environment, in which training and the vault cannot be imported."""
    assert VERIFIER.is_file(), "the verifier's environment is not there: run `make setup`"
    program = """
import importlib.util as i
there = [m for m in ("torch", "pyarrow", "cedarpy", "pandas", "opacus", "captum", "shap", "safetensors")
         if i.find_spec(m)]
assert not there, there
"""
    _run(VERIFIER, "-c", program)
    return VERIFIER


def test_a_third_party_verifies_and_checks_with_the_plain_package(
    verifier: Path, corridor: Any, tmp_path: Path
) -> None:
    ours = (str(corridor.bundle), "--key", str(corridor.key))
    said = json.loads(_run(verifier, "-m", "pellucid", "verify", *ours, "--json", cwd=tmp_path))
    assert said["ok"] is True
    assert said["epsilon"]["pld"] <= said["epsilon"]["claimed"]
    weights = corridor.root / "models" / "risk@1" / "weights.safetensors"
    for policy, code in (("met", 0), ("not-met", 1), ("invalid", 2), ("unmeasured", 3)):
        words = ("check", *ours, "--policy", str(corridor.policy(policy)), "--weights", str(weights))
        _run(verifier, "-m", "pellucid", *words, code=code, cwd=tmp_path)


@pytest.mark.parametrize("words", [("log", "show"), ("log", "verify"), ("log", "prove", "3"), ("budget", "applicants")])
def test_the_plain_package_reads_the_log(verifier: Path, corridor: Any, tmp_path: Path, words: tuple[str, ...]) -> None:
    _run(verifier, "-m", "pellucid", *words, "--project", str(corridor.root), cwd=tmp_path)


def test_a_verb_that_lacks_an_extra_is_2_and_names_it(
    verifier: Path, fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_PASSPHRASE", "glass-all-the-way-down")
    files, root = fresh.files, str(fresh.root)
    schema, recipe = str(files / "applicants.toml"), str(files / "recipe.toml")
    train = ("train", "m", "--data", "applicants", "--purpose", "credit scoring", "--recipe", recipe, "--as", "ana")
    seal = ("seal", "applicants", str(files / "applicants.csv"), "--schema", schema, "--as", "sam")
    report = ("report", "risk", "--as", "kim")
    for words in (train, seal, report):
        said = _run(verifier, "-m", "pellucid", *words, "--project", root, code=2, cwd=tmp_path)
        assert "pip install" in said, said
        assert "pellucid[" in said, said
        assert "Traceback" not in said


def test_the_demo_without_its_extras_is_2_and_makes_nothing(verifier: Path, tmp_path: Path) -> None:
    said = _run(verifier, "-m", "pellucid", "demo", str(tmp_path / "demo"), code=2, cwd=tmp_path)
    assert "pip install" in said
    assert not (tmp_path / "demo").exists()
