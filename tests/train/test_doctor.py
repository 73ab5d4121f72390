"""The doctor lists everything, names the layer and the remedy, and what it offers works."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tests.train.naive import plan
from torch import nn

from pellucid.errors import UnsupportedModel
from pellucid.schema import Code, Encoding
from pellucid.train import private
from pellucid.train.doctor import diagnose, examine
from pellucid.train.doctor.diagnosis import WIDTH, Diagnosis, render

ENCODING = Encoding((Code("row", "linear", 6, ("row",)),), "target", ("0", "1"))
PLAN = plan()
TOOLS = [tool for tool in (("patch", "-p1"), ("git", "apply")) if shutil.which(tool[0])]
SOURCE = """\
import torch
from torch import nn


def block(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b, momentum=0.2), nn.ReLU(inplace=True))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.still = nn.InstanceNorm2d(3, track_running_stats=True)
        self.body = nn.Sequential(block(3, 16), nn.MaxPool2d(2), block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.norm = nn.BatchNorm1d(32, affine=False)
        self.head = nn.LazyLinear(10)
        self.idle = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.norm(self.body(self.still(x))))


def build():
    print("their own words")
    return Net()


def listed():
    norm = nn.BatchNorm1d
    return nn.Sequential(nn.Linear(6, 8), norm(8), nn.Linear(8, 2))


def sound(width, classes):
    return nn.Linear(width, classes)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


class Behind(nn.Module):
    """Uses two layers' weights behind their backs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = nn.functional.linear(self.first(x), self.first.weight)
        return self.head(nn.functional.linear(self.second(h), self.second.weight))


class Scale(nn.Module):
    """A layer that no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


class Learns(nn.Module):
    """A buffer that learns, behind a batch normalisation that hides it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 2)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean.mul_(0.9).add_(x.detach().mean(0))
        return self.head(self.norm(x))


def topics(diagnosis: Diagnosis, topic: str) -> list[str | None]:
    return [note.where for note in diagnosis.notes if note.topic == topic]


def patched(diff: str, folder: Path, tool: Sequence[str]) -> None:
    """Apply a diff as a person would."""
    assert diff
    done = subprocess.run(tool, input=diff.encode(), cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_tool_to_apply_a_patch_with() -> None:
    assert TOOLS


def test_all_problems_are_listed_and_not_the_first_alone(file: Path) -> None:
    diagnosis = examine(file, "build", ENCODING, (3, 16, 16))
    assert [error.where for error in diagnosis.problems] == [
        "still (InstanceNorm2d)",
        "body.0.1 (BatchNorm2d)",
        "body.2.1 (BatchNorm2d)",
        "norm (BatchNorm1d)",
        "head (LazyLinear)",
    ]
    assert all(error.fix for error in diagnosis.problems)
    assert (diagnosis.sound, diagnosis.exit, diagnosis.left) == (False, 2, 0)
    assert topics(diagnosis, "idle") == ["idle.weight", "idle.bias"]


@pytest.mark.parametrize("tool", TOOLS, ids=" ".join)
def test_the_diff_of_the_source_is_a_patch_that_makes_a_sound_model(
    file: Path, tool: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    diagnosis = examine(Path("model.py"), "build", ENCODING, (3, 16, 16))
    assert diagnosis.diff.startswith("--- a/model.py\n+++ b/model.py\n@@")
    patched(diagnosis.diff, file.parent, tool)
    mended = file.read_text(encoding="utf-8")
    for text in (
        "nn.GroupNorm(16, b)",
        "self.norm = nn.LayerNorm(32, elementwise_affine=False)",
        "self.head = nn.Linear(32, 10)",
    ):
        assert text in mended
    again = examine(file, "build", ENCODING, (3, 16, 16))
    assert again.problems == ()
    assert (again.exit, again.fixes, again.diff, again.printed) == (0, (), "", "")


@pytest.mark.parametrize("tool", TOOLS, ids=" ".join)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
def test_the_patch_keeps_the_ends_of_lines_and_names_the_file_from_where_it_is_applied(
    tmp_path: Path, tool: Sequence[str], end: str, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from torch import nn\n# \f ü\ndef build():\n    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))"
    source = source.replace("\n", end) + (end if last else "")
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "model.py").write_bytes(source.encode())
    monkeypatch.chdir(tmp_path)
    diff = examine(Path("nets/model.py"), "build", ENCODING, (6,)).diff
    assert diff == examine(folder / "model.py", "build", ENCODING, (6,)).diff
    assert diff.startswith("--- a/nets/model.py\n+++ b/nets/model.py\n@@")
    patched(diff, tmp_path, [*tool, "--binary"] if tool[0] == "patch" else tool)
    mended = source.replace("nn.BatchNorm1d(8)", "nn.LayerNorm(8)")
    assert (folder / "model.py").read_bytes() == mended.encode()


def test_a_file_outside_of_the_working_directory_is_named_from_the_root(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    name = file.resolve().relative_to("/")
    for given in (file, Path("..") / file.name):
        assert examine(given, "build", ENCODING, (3, 16, 16)).diff.startswith(f"--- a/{name}\n+++ b/{name}\n@@")


def test_a_layer_that_is_not_made_literally_is_shown_as_a_diff_of_the_printed_model(file: Path) -> None:
    diagnosis = examine(file, "listed", ENCODING, (6,))
    assert diagnosis.diff == ""
    assert "-  (1): BatchNorm1d(8" in diagnosis.printed
    assert "+  (1): LayerNorm((8,)" in diagnosis.printed
    assert diagnosis.document()["diff"] == diagnosis.printed


def test_a_sound_model_is_one_that_private_takes(file: Path) -> None:
    diagnosis = examine(file, "sound", ENCODING, (6,))
    assert (diagnosis.problems, diagnosis.exit) == ((), 0)
    model = nn.Linear(6, 2)
    x = torch.rand(64, 6)
    private(model, torch.optim.SGD(model.parameters(), lr=0.1), PLAN, x, (x[:, 0] > 0.5).long())


def test_what_is_offered_is_what_private_takes() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    diagnosis = diagnose(model, (6,))
    model[1] = diagnosis.fixes[0].replacement
    x = torch.rand(64, 6)
    private(model, torch.optim.SGD(model.parameters(), lr=0.1), PLAN, x, (x[:, 0] > 0.5).long())


def test_a_problem_that_another_one_hides_is_found() -> None:
    diagnosis = diagnose(Learns(), (6,))
    assert [error.where for error in diagnosis.problems] == ["norm (BatchNorm1d)", "mean"]
    assert diagnosis.left == 1


def test_every_weight_used_behind_its_layer_is_named() -> None:
    diagnosis = diagnose(Behind(), (6,))
    assert [error.where for error in diagnosis.problems] == ["first.weight", "second.weight"]


def test_a_layer_without_a_rule_is_named_as_slow_and_the_model_is_sound() -> None:
    diagnosis = diagnose(nn.Sequential(nn.Linear(6, 6), Scale()), (6,))
    assert diagnosis.sound
    assert topics(diagnosis, "slow") == ["1 (Scale)"]
    assert topics(diagnose(nn.Linear(6, 2), (6,)), "slow") == []


def test_size_mode_and_memory_are_said() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2))
    model[0].requires_grad_(False)
    diagnosis = diagnose(model, (6,))
    said = {note.topic: note.what for note in diagnosis.notes}
    assert said["size"] == "14 of 56 parameters learn"
    assert set(said) == {"size", "mode", "memory"}
    assert "a row takes about" in said["memory"]


def test_the_model_is_left_as_it_was() -> None:
    model = Learns().eval()
    before = copy.deepcopy(model.state_dict())
    printed, chance = str(model), torch.random.get_rng_state()
    diagnose(model, (6,))
    assert str(model) == printed
    assert not model.training
    assert torch.equal(torch.random.get_rng_state(), chance)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("forward" in vars(part) or part._forward_hooks for part in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_model_that_fails_or_cannot_be_copied_is_a_problem_and_no_crash() -> None:
    diagnosis = diagnose(nn.Linear(5, 2), (6,))
    assert ["failed" in error.what for error in diagnosis.problems] == [True]
    assert diagnosis.left == 1
    model = nn.Linear(6, 2)
    model.kept = model(torch.rand(1, 6))  # part of a graph
    diagnosis = diagnose(model, (6,))
    assert "cannot be copied" in diagnosis.problems[0].what


@pytest.mark.parametrize(
    ("model", "shape", "dtype", "where", "kinds"),
    [
        (nn.Linear(784, 10), (1, 28, 28), torch.float32, "the model (Linear)", []),
        (
            nn.Sequential(nn.Sequential(nn.Linear(784, 32), nn.BatchNorm1d(32)), nn.Linear(32, 10)),
            (1, 28, 28),
            torch.float32,
            "0.0 (Linear)",
            ["0.1 (BatchNorm1d)"],
        ),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()), (784,), torch.float32, "0 (BatchNorm2d)", ["0 (BatchNorm2d)"]),
        (nn.Sequential(nn.ReLU(), nn.LazyConv2d(2, 3)), (6,), torch.float32, "1 (LazyConv2d)", ["1 (LazyConv2d)"]),
        (nn.Sequential(nn.Embedding(9, 4), nn.Flatten()), (5,), torch.float32, "0 (Embedding)", []),
        (nn.Sequential(nn.Linear(5, 2)), (5,), torch.int64, "0 (Linear)", []),
    ],
    ids=["flat rows", "batch norm behind", "batch norm", "lazy", "words", "whole numbers"],
)
def test_rows_of_a_shape_or_type_that_the_model_does_not_take_are_said_first_and_nothing_is_offered(
    model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, where: str, kinds: list[str]
) -> None:
    diagnosis = diagnose(model, shape, dtype)
    assert [error.where for error in diagnosis.problems] == [where, *kinds]
    first = diagnosis.problems[0]
    assert "failed" in first.what
    kind = str(dtype).removeprefix("torch.")
    assert str(first.fix).startswith(f"the model does not take rows of {kind} of shape {shape}: give what it takes")
    assert "--input-shape" in str(first.fix)
    assert (diagnosis.fixes, diagnosis.printed, diagnosis.left) == ((), "", 1 + len(kinds))


def test_what_fails_in_one_mode_only_is_not_taken_for_the_shape() -> None:
    class Refuses(nn.Module):
        def __init__(self, mode: bool) -> None:
            super().__init__()
            self.mode, self.head = mode, nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training is self.mode:
                raise RuntimeError("not in this mode")
            return self.head(x)

    assert diagnose(Refuses(False), (6,)).sound
    assert "--input-shape" not in str(diagnose(Refuses(True), (6,)).problems[0].fix)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_rows_are_of_the_type_that_is_asked_for(dtype: torch.dtype) -> None:
    seen = []

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.dtype)
            return self.table(x.long().clamp(0, 2)).mean(1)

    assert diagnose(Table(), (5,), dtype).sound
    assert set(seen) == {dtype}


def test_rows_may_be_dictionaries_and_tuples() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(7, 2)

        def forward(self, words: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([self.table(words).mean(1), age], 1))

    rows = {"words": torch.zeros(2, 5, dtype=torch.int64), "age": torch.zeros(2, 3)}
    assert diagnose(Two(), rows).sound
    assert diagnose(Two(), tuple(rows.values())).sound
    assert "failed" in diagnose(Two(), {"words": rows["words"]}).problems[0].what


def test_text_fits_80_columns_says_the_same_once_and_holds_no_control_character(file: Path) -> None:
    text = render(examine(file, "build", ENCODING, (3, 16, 16)))
    own = [line for line in text.splitlines() if not line.startswith(("+", "-  ", " ", "@@", "---"))]
    assert max(map(len, own)) <= WIDTH
    assert "BatchNorm2d), body.2.1 (BatchNorm2d), norm" in text.replace("\n            ", " ")
    assert text.count("mixes people with each") == 1
    assert text.endswith("verdict: not sound (exit 2): 5 problems; 0 left when that is mended\n")
    problem = UnsupportedModel("bad\x1b[2J", where="a\nb", fix="c\rd")
    shown = render(Diagnosis((problem,), (), (), "", "", 1))
    assert not {"\x1b", "\r"} & set(shown)


def test_the_document_is_json_and_says_everything(file: Path) -> None:
    document = json.loads(json.dumps(examine(file, "build", ENCODING, (3, 16, 16)).document(), allow_nan=False))
    assert set(document) == {"sound", "exit", "problems", "notes", "fixes", "left", "diff"}
    assert (document["sound"], document["exit"], document["left"]) == (False, 2, 0)
    assert all(set(problem) == {"what", "where", "fix"} for problem in document["problems"])
    assert {fix["line"] for fix in document["fixes"]} == {6, 12, 14, 15}
    assert all(fix["before"] != fix["after"] for fix in document["fixes"])


def test_what_their_file_prints_goes_to_standard_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examine(file, "build", ENCODING, (3, 16, 16))
    out, err = capsys.readouterr()
    assert out == ""
    assert "their own words" in err


class Squashing(nn.Module):
    """Ends in a function and no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).softmax(1)


class Gated(nn.Module):
    """Calls a sigmoid last, and gives logits."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)
        self.gate = nn.Sequential(nn.Linear(6, 2), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x) * self.gate(x)


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (nn.Sequential(nn.Linear(6, 2), nn.Softmax(dim=1)), "1 (Softmax)"),
        (nn.Sequential(nn.Linear(6, 1), nn.Sequential(nn.Sigmoid())), "1.0 (Sigmoid)"),
        (Squashing(), "the model (Squashing)"),
        (nn.Sequential(nn.Linear(6, 2), nn.LogSoftmax(dim=1)), None),
        (nn.Sequential(nn.Linear(6, 2)), None),
        (Gated(), None),
    ],
)
def test_a_model_that_gives_probabilities_where_logits_are_read_is_noted(model: nn.Module, where: str | None) -> None:
    diagnosis = diagnose(model, (6,))
    assert diagnosis.sound
    assert topics(diagnosis, "output") == ([] if where is None else [where])
