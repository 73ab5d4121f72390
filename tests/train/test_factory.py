"""What is digested is what runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from torch import nn

from pellucid.errors import BadFile, Tampered, UnknownName
from pellucid.schema import Code, Encoding
from pellucid.train import load_factory

ENCODING = Encoding((Code("age", "linear", 1, ("age",), 17, 90),), "loan", ("no", "yes"))
SOURCE = """
from dataclasses import dataclass
from torch import nn

@dataclass
class Sizes:
    hidden: "int" = 3

def build(width, classes):
    return nn.Sequential(nn.Linear(width, Sizes().hidden), nn.ReLU(), nn.Linear(Sizes().hidden, classes))

def narrow(classes, hidden=2):
    return nn.Linear(1, classes)

def needs(depth):
    return nn.Linear(1, 1)

def fails(width):
    raise ValueError("no")

def other():
    return 3

class Net(nn.Linear):
    def __init__(self, width, classes):
        super().__init__(width, classes)

number = 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def test_the_digest_is_that_of_the_source(folder: Path) -> None:
    factory = load_factory("model:build", folder)
    assert factory.record() == {"spec": "model:build", "sha256": hashlib.sha256(SOURCE.encode()).hexdigest()}
    factory.require(factory.sha256)
    (folder / "model.py").write_text(SOURCE + "# changed\n", encoding="utf-8")
    with pytest.raises(Tampered, match="not the one that was recorded"):
        load_factory("model:build", folder).require(factory.sha256)


@pytest.mark.parametrize(
    "spec", ["model:build", "model.py:build", "./model.py:build", "nets/small.py:build", "nets.small:build",
             "model:narrow", "model:Net"],
)  # fmt: skip
def test_make_gives_width_and_classes_to_who_asks(folder: Path, spec: str) -> None:
    module = load_factory(spec, folder).make(ENCODING)
    assert isinstance(module, nn.Module)
    assert list(module.parameters())[-1].shape == (2,)


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("model", BadFile, "module:function"),
        ("../model:build", BadFile, "module:function"),
        ("model:", BadFile, "module:function"),
        ("../model.py:build", BadFile, "a path within the project"),
        ("/model.py:build", BadFile, "a path within the project"),
        ("modle.py:build", UnknownName, 'did you mean "model.py"'),
        ("nothing:build", UnknownName, "no such file"),
        ("model:biuld", UnknownName, 'did you mean "build"'),
        ("model:number", UnknownName, "no function"),
    ],
)
def test_a_spec_that_leads_nowhere_is_refused(
    folder: Path, spec: str, error: type[BadFile | UnknownName], words: str
) -> None:
    with pytest.raises(error) as caught:
        load_factory(spec, folder)
    assert words in caught.value.what


@pytest.mark.parametrize(
    ("name", "words"), [("needs", "depth"), ("fails", "ValueError: no"), ("other", "returned int")]
)
def test_a_factory_that_does_not_build_is_refused(folder: Path, name: str, words: str) -> None:
    with pytest.raises(BadFile) as caught:
        load_factory(f"model:{name}", folder).make(ENCODING)
    assert words in caught.value.what


def test_a_file_that_fails_or_imports_its_neighbour_is_refused(folder: Path) -> None:
    (folder / "helper.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "uses.py").write_text("import helper\n", encoding="utf-8")
    with pytest.raises(BadFile, match="ModuleNotFoundError"):
        load_factory("uses:build", folder)
    (folder / "broken.py").write_text("def build(:\n", encoding="utf-8")
    with pytest.raises(BadFile, match="SyntaxError"):
        load_factory("broken:build", folder)


def test_a_factory_named_by_its_path_is_recorded_as_by_its_module(folder: Path) -> None:
    assert load_factory("nets/small.py:build", folder).record() == load_factory("nets.small:build", folder).record()


def test_nothing_of_a_source_that_is_not_the_recorded_one_is_executed(folder: Path) -> None:
    good = load_factory("model:build", folder)
    assert load_factory("model:build", folder, sha256=good.sha256) == good
    mark = folder / "ran"
    (folder / "model.py").write_text(f"open({str(mark)!r}, 'w').close()\n{SOURCE}", encoding="utf-8")
    for recorded in (good.sha256, ""):
        with pytest.raises(Tampered, match="not the one that was recorded"):
            load_factory("model:build", folder, sha256=recorded)
    assert not mark.exists()
