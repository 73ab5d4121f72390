"""One page in two languages: every message is in the catalogue, and no page is half translated."""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pellucid import bundle as bundles
from pellucid.check import ReleasePolicy
from pellucid.check.rules import judge_values
from pellucid.errors import BadFile
from pellucid.keys import VerifyKey
from pellucid.report import document, render_html, render_json
from pellucid.report.elsewhere import PHRASES, elsewhere, measured, methods, shipped
from pellucid.report.language import LANGUAGES, Said, bring, catalogue, say, several, tell, translate
from pellucid.report.model import view

Make = Callable[..., Any]
ROOM = Path(__file__).parents[2] / "src" / "pellucid" / "report"
SENTENCES = ROOM.parent / "privacy" / "sentences.py"
PART = re.compile(r"\{(\w+)\}")
OTHERS = [language for language in LANGUAGES if language != "en"]
NUMBER = re.compile(r"−?\d+(?:,\d{3})*(?:\.\d+)?")


def templates() -> set[str]:
    """Every message that the code, the templates and the other rooms can bring on a page."""
    found = set(PHRASES)
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                if isinstance(node.args[0], ast.Constant):
                    found.add(node.args[0].value)
                else:
                    assert path.name in ("language.py", "elsewhere.py", "html.py"), f"{path}:{node.lineno}"
    for node in ast.walk(ast.parse(SENTENCES.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Words":
            found |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    for path in ROOM.rglob("*.j2"):
        found |= set(re.findall(r'\bsay\("([^"]*)"', path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("language", OTHERS)
def test_no_message_is_missing_and_none_is_left_over(language: str) -> None:
    said, known = templates(), set(catalogue(language))
    assert len(said) > 500
    assert said - known == set()
    assert known - said == set()


@pytest.mark.parametrize("language", OTHERS)
def test_the_parts_of_a_message_are_the_same_in_every_language(language: str) -> None:
    for template, words in catalogue(language).items():
        assert sorted(PART.findall(template)) == sorted(PART.findall(words)), template
        assert words.strip()


def test_a_part_keeps_its_words_and_a_nested_message_is_translated() -> None:
    words = say("{value} ({interval})", value="0.9", interval=say("{low} to {high}", low="0.8", high="1"))
    assert words == "0.9 (0.8 to 1)"
    told = tell(words, "zh")
    assert told == "0.9（0.8 至 1）"
    assert tell(told, "zh") is told
    assert tell("0.8 to 1", "zh") == "0.8 to 1"
    assert tell(several([say("low"), say("high")]), "zh") == "低、高"


def test_a_part_of_others_is_written_out_plainly() -> None:
    assert say("{label}: {value}", label="a\u202e", value="{x}") == "a[U+202E]: {x}"


def test_words_that_bring_their_translation_stand_as_they_are() -> None:
    words = bring({"en": "a {brace}", "zh": "一个 {brace}"})
    assert (words, tell(words, "zh")) == ("a {brace}", "一个 {brace}")


def test_a_message_that_the_catalogue_lacks_is_an_error() -> None:
    with pytest.raises(BadFile, match="lacks a message"):
        tell(say("nobody translated this"), "zh")


def test_an_unknown_language_is_an_error_that_names_the_known(sample: Make) -> None:
    with pytest.raises(BadFile, match='there is no language "zz"'):
        render_html(sample(), "zz")


@pytest.mark.parametrize(
    ("words", "template"),
    [
        ("12 signatures hold", "{count} signatures hold"),
        ("claimed 3, recomputed 2.9 (PLD) and 3.2 (RDP)", "claimed {claimed}, recomputed {pld} (PLD) and {rdp} (RDP)"),
        ("waived by ana until 2027-01-01: so", "waived by {owner} until {day}: {reason}"),
        ("waived by ana until 2027-01-01, in 12 days: so", "waived by {owner} until {day}, in {days} days: {reason}"),
        ("waived by ana until 2027-01-01, today: so", "waived by {owner} until {day}, today: {reason}"),
        ("do it; its waiver by ana expired on 2026-01-01", "{fix}; its waiver by {owner} expired on {day}"),
        ('a.b was not measured; did you mean "c"?', '{path} was not measured; did you mean "{name}"?'),
        ("a.b was not measured; c.d was not measured", "{some}; {more}"),
    ],
)  # fmt: skip
def test_sentences_of_other_rooms_are_recognised(words: str, template: str) -> None:
    found = elsewhere(words)
    assert isinstance(found, Said)
    assert (found.template, str(found)) == (template, words)
    assert not isinstance(elsewhere("something else"), Said)


def test_reasons_and_remedies_of_shipped_policies_are_said_in_every_language() -> None:
    silent = ReleasePolicy.parse(b"[[require]]\nid = 'a'\nthat = 'privacy.epsilon > 0.0'\nbecause = 'b'\n")
    findings = judge_values(silent, {"unsafe": {"door": "x"}}, dt.date(2026, 11, 1))
    (of_the_check,) = (finding for finding in findings if finding.id == "unsafe")
    said = {of_the_check.because, of_the_check.fix}
    stored = ROOM.parents[2] / "reports" / "sample" / "release.toml"  # as shipped when the sample was made
    for file in [*sorted((ROOM.parents[2] / "policies").glob("*.toml")), stored]:
        if not file.name.endswith(".tests.toml"):
            for rule in tomllib.loads(file.read_text(encoding="utf-8")).get("require", []):
                said |= {rule["because"], rule.get("fix", rule["because"])}
    assert len(said) > 50
    for language in OTHERS:
        assert said == set(shipped(language))
        for words, told in shipped(language).items():
            assert tell(elsewhere(words), language) == told
            assert re.findall(r"`.*?`", told) == re.findall(r"`.*?`", words)


def test_a_remedy_of_a_shipped_policy_is_said_again_beside_a_waiver_that_ended() -> None:
    told = tell(elsewhere("train longer; its waiver by ana expired on 2026-01-01"), "zh")
    assert "train longer" in told
    told = tell(elsewhere("more integration steps; its waiver by ana expired on 2026-01-01"), "zh")
    assert told.startswith(shipped("zh")["more integration steps"])
    assert "2026-01-01" in told


@pytest.mark.parametrize("language", OTHERS)
def test_how_values_were_measured_is_said_in_every_language(language: str) -> None:
    """Every sentence that the demo's evidence says about its methods is known; the others' parts and numbers agree."""
    for words, told in methods(language).items():
        assert sorted(PART.findall(told)) == sorted(PART.findall(words)), words
        assert sorted(NUMBER.findall(told)) == sorted(NUMBER.findall(words)), words
    sample = ROOM.parents[2] / "reports" / "sample"
    owner = VerifyKey.parse((sample / "owner.pub").read_text(encoding="ascii"))
    verified = bundles.verify(bundles.read(sample / "bundle.json"), [owner])
    told = {text for piece in verified.evidence for text in texts(dict(piece.how)) if " " in text}
    assert len(told) > 80
    assert {text for text in told if not isinstance(measured(text), Said)} == set()


def test_text_of_others_in_a_method_is_written_out_plainly_and_what_is_no_number_is_not_taken_for_one() -> None:
    zh = tell(measured('a\u202eb: a threshold for each group (Mondrian, Vovk 2012); groups of fewer than 10 people in '
                       'either half share the threshold "<pooled>"'), "zh")  # fmt: skip
    assert "a[U+202E]b" in zh
    assert "Gauss-Legendre，32 个点" in tell(measured("Gauss-Legendre, 32 points"), "zh")
    for other in ("Gauss-Legendre, <b>many</b> points", "DeLong 1988, whatever", "something else"):
        assert measured(other) == other
        assert not isinstance(measured(other), Said)
    assert tell(measured("DeLong 1988, rounded like a rate over the smallest class, the interval outwards"), "zh")


def texts(thing: Any) -> Iterator[str]:
    """Every text in the input, keys of open maps included: what a page may show without translating it."""
    if isinstance(thing, str):
        yield thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield str(key)
            yield from texts(value)
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from texts(item)
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        for field in dataclasses.fields(thing):
            yield from texts(getattr(thing, field.name))


ENGLISH = re.compile(r"[A-Za-z]{2,}(?:[ ,;:'’-]+[A-Za-z]{2,}){2,}")
KEPT = re.compile(r"(Sundararajan|Jagielski) et al\.|Pellucid|RFC 8785|SHA-256")


@pytest.mark.parametrize("evidence", [True, False])
def test_a_translated_page_holds_no_english_sentence_of_ours(sample: Make, parse: Make, evidence: bool) -> None:
    report = sample() if evidence else sample(evidence=(), findings=(), exit_code=3, ledger=None, decisions=None)
    html = render_html(report, "zh")
    parse(html)
    given = " ".join(texts(report)).replace("_", " ")
    names = sorted({text for text in texts(report) if "-" in text or " " in text}, key=len, reverse=True)
    body = html[html.index("<body") :].split("<script>", maxsplit=1)[0]
    outside = re.sub(r"<(code|pre|style|script)\b.*?</\1>", " ", body, flags=re.DOTALL)
    # what is marked as English is a text of the input, word for word, or a name
    for marked in re.findall(r'<bdi lang="en">(.*?)</bdi>', outside, re.DOTALL):
        words = re.sub(r"<[^>]+>", "", marked).replace("&#39;", "'").replace("&#34;", '"').replace("&gt;", ">")
        words = words.replace("&lt;", "<").replace("&amp;", "&")
        for line in re.split(r"[\n,:]", words):
            assert line.strip() in given or line.strip() in _sources() or not ENGLISH.search(line), line
    outside = re.sub(r'<bdi lang="en">.*?</bdi>', " ", outside, flags=re.DOTALL)
    for piece in re.split(r"<[^>]+>", outside):
        for name in names:
            piece = piece.replace(name, " ")
        assert KEPT.search(piece) or not ENGLISH.search(piece), piece


def _sources() -> str:
    from pellucid import maps

    return " ".join(text for which in map(maps.read, maps.MAPS) for text in texts(which))


def test_numbers_and_identifiers_are_the_same_in_every_language(sample: Make) -> None:
    english, chinese = document(sample()), document(sample(), "zh")
    for key in ("findings", "evidence", "subject", "created", "policy", "log", "verification"):
        assert english[key] == chinese[key], key
    assert (english["language"], chinese["language"]) == ("en", "zh-Hans")

    def cells(twin: Any) -> list[tuple[Any, list[str]]]:
        found = []
        if isinstance(twin, dict):
            if "text" in twin and "points" not in twin:
                found.append((twin.get("value"), sorted(NUMBER.findall(twin["text"]))))
            for key, value in twin.items():
                if key not in ("text", "value", "evidence", "findings"):
                    found += cells(value)
        elif isinstance(twin, list):
            for item in twin:
                found += cells(item)
        return found

    assert cells(english) == cells(chinese)
    assert len(cells(english)) > 300


def test_a_translated_page_says_its_language_and_is_the_same_twice(sample: Make, parse: Make) -> None:
    html = render_html(sample(), "zh")
    assert parse(html).of("html")[0]["lang"] == "zh-Hans"
    assert html == render_html(sample(), "zh")
    assert json.loads(render_json(sample(), "zh"))["verdict"]["word"] == "可以发布"
    assert render_html(sample()) == render_html(sample(), "en")


def test_names_of_others_are_isolated_in_a_sentence(sample: Make, make_evidence: Make) -> None:
    name = "שלום עולם"
    importance = {name: make_evidence("explanation").values["importance"]["age"]}
    explained = make_evidence("explanation", values={"importance": importance, "attribution": {}})
    html = render_html(sample(evidence=(explained,)))
    assert f"It leans most on <bdi>{name}</bdi>." in html
    assert f'<th scope="row"><bdi>{name}</bdi></th>' in html


def test_translating_leaves_text_of_others_alone(sample: Make) -> None:
    page = view(sample())
    assert translate(page, "en") is page
    told = translate(page, "zh")
    assert told.project == page.project
    assert [row[0].text for row in told.requirements.rows] == [row[0].text for row in page.requirements.rows]
