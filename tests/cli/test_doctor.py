"""``pellucid doctor``: 0 sound, 2 not, everything listed, and nothing read but the model's own file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = """\
from torch import nn


def sound(width, classes):
    return nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, classes))


def unsound(width, classes):
    print("a word of their own")
    return nn.Sequential(nn.Linear(width, 8), nn.BatchNorm1d(8), nn.Linear(8, classes))


def image():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.LazyLinear(2))


def words():
    return nn.Sequential(nn.Embedding(100, 8), nn.Flatten(), nn.Linear(80, 2))


def fails():
    raise RuntimeError("no")


def long():
    return nn.Sequential(*[nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4)) for _ in range(30)])
"""
SCHEMA = """
[dataset]
target = "granted"
units = 3000
purposes = ["credit scoring"]
[columns.age]
type = "integer"
bounds = [18, 90]
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["baker", "nurse", "smith"]
sensitivity = "personal"
[columns.gender]
type = "category"
categories = ["Female", "Male"]
sensitivity = "special"
[columns.granted]
type = "category"
categories = ["no", "later", "yes"]
sensitivity = "personal"
"""
DOCUMENT = {"sound", "exit", "problems", "notes", "fixes", "left", "diff"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_a_sound_model_is_0_and_an_unsound_one_2(pellucid: Any, model: Path) -> None:
    ran = pellucid("doctor", f"{model}:sound", "--input-shape", "6")
    assert ran.code == 0
    assert ran.out.endswith("verdict: sound (exit 0)\n")
    ran = pellucid("doctor", f"{model}:unsound", "--input-shape", "6")
    assert ran.code == 2
    assert "1 (BatchNorm1d)" in ran.out
    assert f"--- a{model}\n+++ b{model}\n" in ran.out
    assert "+    return nn.Sequential(nn.Linear(width, 8), nn.LayerNorm(8), nn.Linear(8, classes))\n" in ran.out
    assert ran.out.endswith("verdict: not sound (exit 2): 1 problem; 0 left when that is mended\n")
    assert ran.err == "a word of their own\n" * 2  # also in the mended file, which is tried


def test_with_json_it_is_one_document(pellucid: Any, model: Path) -> None:
    ran = pellucid("doctor", f"{model}:image", "--input-shape", "3,16,16", "--json")
    assert ran.code == ran.json["exit"] == 2
    assert set(ran.json) == DOCUMENT
    assert [problem["where"] for problem in ran.json["problems"]] == ["1 (BatchNorm2d)", "3 (LazyLinear)"]
    assert "nn.GroupNorm(8, 8), nn.Flatten(), nn.Linear(1568, 2)" in ran.json["diff"]
    assert pellucid("doctor", f"{model}:unsound", "--input-shape", "6", "--json").json["sound"] is False


def test_a_schema_says_width_and_classes(pellucid: Any, model: Path, tmp_path: Path) -> None:
    schema = tmp_path / "applicants.toml"
    schema.write_text(SCHEMA, encoding="utf-8")
    ran = pellucid("doctor", f"{model}:sound", "--schema", schema, "--json")
    assert ran.code == 0
    size = next(note["what"] for note in ran.json["notes"] if note["topic"] == "size")
    width, classes = 4, 3  # age, and three jobs; gender is special
    parameters = 8 * width + 8 + 8 * classes + classes
    assert size == f"{parameters} of {parameters} parameters learn"


def test_words_are_whole_numbers(pellucid: Any, model: Path) -> None:
    assert pellucid("doctor", f"{model}:words", "--input-shape", "10", "--dtype", "int64").code == 0
    ran = pellucid("doctor", f"{model}:words", "--input-shape", "10")
    assert ran.code == 2
    assert "failed" in ran.out


def test_a_relative_path_is_enough(pellucid: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    ran = pellucid("doctor", "model.py:unsound", "--input-shape", "6")
    assert "--- a/model.py\n+++ b/model.py\n" in ran.out


def test_the_text_fits_80_columns(pellucid: Any, model: Path) -> None:
    lines = pellucid("doctor", f"{model}:long", "--input-shape", "4").out.splitlines()
    shown = [line for line in lines if not line.startswith(("---", "+++"))]  # paths are as long as they are
    assert "29.0 (BatchNorm1d)" in "\n".join(shown)
    assert max(len(line) for line in shown if not line.startswith(("+", "-  ", " "))) <= 80


def test_a_shape_that_the_model_does_not_take_is_said_with_the_option_to_change(pellucid: Any, model: Path) -> None:
    ran = pellucid("doctor", f"{model}:words", "--input-shape", "1,28,28", "--dtype", "int64", "--json")
    assert ran.code == 2
    assert [problem["where"] for problem in ran.json["problems"]] == ["2 (Linear)"]
    assert "--input-shape" in ran.json["problems"][0]["fix"]
    text = pellucid("doctor", f"{model}:words", "--input-shape", "1,28,28", "--dtype", "int64").out
    assert "the model does not take rows of int64 of shape (1, 28, 28)" in " ".join(text.split())


@pytest.mark.parametrize("how", ["--json", "text"])
def test_what_is_printed_applies_as_a_patch(
    pellucid: Any, model: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    words = ("doctor", "model.py:image", "--input-shape", "3,16,16")
    diff = pellucid(*words, how).json["diff"] if how == "--json" else pellucid(*words).out
    tool = ["patch", "-p1"] if shutil.which("patch") else ["git", "apply"]
    done = subprocess.run(tool, input=diff, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pellucid(*words).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{model}", "--input-shape", "6"), "FILE.py:FACTORY"),
        (("model:sound", "--input-shape", "6"), "FILE.py:FACTORY"),
        (("{model}:", "--input-shape", "6"), "FILE.py:FACTORY"),
        (("{model}:soud", "--input-shape", "6"), 'did you mean "sound"?'),
        (("nowhere.py:sound", "--input-shape", "6"), "nowhere.py"),
        (("{model}:fails", "--input-shape", "6"), "the factory failed"),
        (("{model}:sound",), "--input-shape --schema"),
        (("{model}:sound", "--input-shape", "6", "--schema", "s.toml"), "not allowed with"),
        (("{model}:sound", "--schema", "nowhere.toml"), "nowhere.toml"),
        (("{model}:sound", "--schema", "nowhere.toml", "--dtype", "int64"), "--dtype"),
        (("{model}:sound", "--input-shape", "6", "--dtype", "int32"), "int64"),
        *(
            (("{model}:sound", "--input-shape", shape), "whole numbers above 0")
            for shape in ("", "0", "-3", "3,,3", "x", "1.5")
        ),
    ],
)
def test_wrong_use_is_2_and_says_what_next(pellucid: Any, model: Path, words: tuple[str, ...], says: str) -> None:
    ran = pellucid("doctor", *(word.format(model=model) for word in words))
    assert ran.code == 2
    assert says in ran.err
    assert ran.out == ""


def test_without_torch_it_is_2_and_names_the_extra(pellucid: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = pellucid("doctor", f"{model}:sound", "--input-shape", "6")
    assert ran.code == 2
    assert 'pip install "pellucid[train]"' in ran.err
