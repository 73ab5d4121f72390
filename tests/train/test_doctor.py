"""The doctor lists everything, names the layer and the remedy, and what it offers works."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from pellucid.errors import UnsupportedModel
from pellucid.privacy import Plan
from pellucid.schema import Code, Encoding
from pellucid.train import private
from pellucid.train.diagnosis import WIDTH, Diagnosis, render
from pellucid.train.doctor import diagnose, examine

ENCODING = Encoding((Code("row", "linear", 6, ("row",)),), "target", ("0", "1"))
PLAN = Plan(epsilon=1.0, delta=1e-6, units=64, test=0.0, batch=16, epochs=1.0, clip=1.0, noise_multiplier=1.0)
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


def applied(source: str, diff: str) -> str:
    """``source`` patched by a unified diff."""
    for hunk in diff.split("\n@@ ")[1:]:
        lines = hunk.splitlines()[1:]
        old = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
        assert source.count(old) == 1
        source = source.replace(old, "".join(f"{line[1:]}\n" for line in lines if line[0] != "-"))
    return source


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


def test_the_diff_of_the_source_makes_a_sound_model(file: Path) -> None:
    diagnosis = examine(file, "build", ENCODING, (3, 16, 16))
    assert diagnosis.diff.startswith(f"--- {file}\n+++ {file}\n@@")
    mended = applied(SOURCE, diagnosis.diff)
    for text in (
        "nn.GroupNorm(16, b)",
        "self.norm = nn.LayerNorm(32, elementwise_affine=False)",
        "self.head = nn.Linear(32, 10)",
    ):
        assert text in mended
    file.write_text(mended, encoding="utf-8")
    again = examine(file, "build", ENCODING, (3, 16, 16))
    assert again.problems == ()
    assert (again.exit, again.fixes, again.diff, again.printed) == (0, (), "", "")


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
    lazy = diagnose(nn.Sequential(nn.LazyConv2d(2, 3)), (6,))
    assert [error.where for error in lazy.problems] == ["0 (LazyConv2d)"]
    model = nn.Linear(6, 2)
    model.kept = model(torch.rand(1, 6))  # part of a graph
    diagnosis = diagnose(model, (6,))
    assert "cannot be copied" in diagnosis.problems[0].what


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
