"""What only people can say: the tool writes no word of it, and signs what stands there as the words of a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.project.conftest import Place

from pellucid import maps
from pellucid.errors import BadFile
from pellucid.project import card, publish
from pellucid.project.model import models
from pellucid.report.sections import people
from pellucid.schema import parse_toml

WORDS = 'model = "tiny"\n[intended_use]\npurpose = "to test"\n[author]\nname = "Ana"\n'


def cards(place: Place) -> list[Any]:
    return [item for item in models(place.open())["tiny@1"] if item.kind == "card"]


def test_init_writes_every_part_and_no_word(sealed: Place) -> None:
    document = parse_toml((sealed.root / card.FILE).read_text(encoding="utf-8"), where="model.toml")
    assert document.pop("model") == ""
    assert document.pop("example") == {}
    assert document.pop("not_applicable") == {}
    assert {name: set(keys) for name, keys in document.items()} == {n: set(k) for n, k in card.parts().items()}
    assert {words for keys in document.values() for words in keys.values()} == {""}


def test_every_part_that_a_regulation_map_asks_for_has_its_place() -> None:
    known = {f"{section}.{key}" for section, keys in card.parts().items() for key in keys}
    assert set(maps.terms().human) <= known
    assert {f"{section}.{key}" for section, keys in card.PARTS.items() for key in keys} <= known


def test_what_does_not_apply_needs_a_row_that_there_is(tmp_path: Path) -> None:
    file = tmp_path / card.FILE
    file.write_text('[not_applicable]\n"gdpr/art-22.automated" = "a person decides"\n', encoding="utf-8")
    assert card.Card.read(file).parts == {"not_applicable": {"gdpr/art-22.automated": "a person decides"}}
    file.write_text('[not_applicable]\n"gdpr/art-22.automatic" = "a person decides"\n', encoding="utf-8")
    with pytest.raises(BadFile, match=r'did you mean "gdpr/art-22\.automated"'):
        card.Card.read(file)


def test_the_report_names_every_part_of_the_file() -> None:
    assert {n: list(keys) for n, keys in people.PARTS.items()} == {n: list(keys) for n, keys in card.PARTS.items()}


def test_an_empty_file_leaves_no_evidence_and_everything_missing(trained: Place) -> None:
    publish.report(trained.open("kim"), "tiny", policy=trained.policy)
    assert cards(trained) == []
    html = (trained.root / "reports" / "tiny@1" / "report.html").read_text(encoding="utf-8")
    assert "Nobody has written what only people can say" in html


def test_words_are_signed_once_as_they_stand_and_shown(trained: Place) -> None:
    (trained.root / card.FILE).write_text(WORDS, encoding="utf-8")
    for _ in range(2):
        made = publish.report(trained.open("kim"), "tiny", policy=trained.policy)
    (signed,) = cards(trained)
    assert signed.values["intended_use"] == {"purpose": "to test"}
    assert signed.values["file"] == {"name": "model.toml", "sha256": card.Card.read(trained.root / card.FILE).sha256}
    assert "not that they are true" in signed.how["method"]
    html = made.html.read_text(encoding="utf-8")
    assert signed.values["file"]["sha256"] in html
    assert "to test" in html
    assert html.count("missing") > 5
    (trained.root / card.FILE).write_text(WORDS.replace("to test", "to try"), encoding="utf-8")
    publish.report(trained.open("kim"), "tiny", policy=trained.policy)
    assert [item.values["intended_use"]["purpose"] for item in cards(trained)] == ["to test", "to try"]


def test_a_reader_signs_nothing_and_is_told(trained: Place) -> None:
    (trained.root / card.FILE).write_text(WORDS, encoding="utf-8")
    made = publish.report(trained.open("rea"), "tiny", policy=trained.policy)
    assert made.notice is not None
    assert "rea signs no evidence" in made.notice
    assert cards(trained) == []


def test_words_about_a_model_that_there_is_not_are_left_out_with_a_word(trained: Place) -> None:
    file = trained.root / card.FILE
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(WORDS.replace('"tiny"', '"tinny"'), encoding="utf-8")
        made = publish.report(trained.open(), "tiny", out=trained.root / "out")
        assert made.notice == (
            'model.toml is about "tinny", and there is no such model; did you mean "tiny"? Its words are left out'
        )
    finally:
        file.write_text(before, encoding="utf-8")


def test_words_about_another_model_are_not_of_this_one(tmp_path: Path) -> None:
    (tmp_path / card.FILE).write_text(WORDS, encoding="utf-8")
    assert card.find(tmp_path, "other@1") is None
    assert card.find(tmp_path, "tiny@3") is not None
    (tmp_path / "model.other.toml").write_text(WORDS.replace("tiny", "other@1"), encoding="utf-8")
    found = card.find(tmp_path, "other@1")
    assert found is not None
    assert found.name == "model.other.toml"
    assert card.find(tmp_path, "other@2") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.replace("purpose", "purpos"), 'intended_use.purpos: unknown key; did you mean "purpose"?'),
        (lambda s: s.replace("[intended_use]", "[intended_usage]"), 'did you mean "intended_use"?'),
        (lambda s: s.replace('"to test"', "3"), "intended_use.purpose: this must be a text"),
        (lambda s: s.replace("to test", "a\u202eb"), "characters in it that a reader does not see"),
        (lambda s: s.replace("to test", "x" * 10_001), "at most 10000 characters"),
        (lambda s: s.replace('model = "tiny"\n', ""), "does not say which model"),
        (lambda s: s.replace('"to test"', '"'), "not TOML"),
        (lambda s: "example = 3\n" + s, "this must be a section: [example]"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_where(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    (tmp_path / card.FILE).write_text(change(WORDS), encoding="utf-8")
    with pytest.raises(BadFile) as error:
        card.find(tmp_path, "tiny@1")
    assert said in str(error.value)


def test_a_wrong_file_makes_no_report(trained: Place) -> None:
    (trained.root / card.FILE).write_text("[nonsense]\n", encoding="utf-8")
    before = trained.state()
    with pytest.raises(BadFile, match="unknown key"):
        publish.report(trained.open("kim"), "tiny", policy=trained.policy)
    after = trained.state()
    assert {name for name in after if after[name] != before.get(name)} == {"log"}  # the decision alone
