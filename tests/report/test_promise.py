"""The guarantee in words and the composed events: whole, in both languages, and never from what is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pellucid.errors import Unverified
from pellucid.evidence import Evidence
from pellucid.privacy.guarantee import guarantee
from pellucid.report import document, render_html
from pellucid.report.elsewhere import elsewhere, retold
from pellucid.report.language import Said, tell

Make = Callable[..., Any]
ENGLISH = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
POISSON = {"kind": "poisson_gaussian", "sample_rate": "0.05", "noise_multiplier": "2.0", "count": 30}
BANDED = {**POISSON, "kind": "banded_gaussian", "bands": 4}
MIXTURE = {
    "kind": "mixture_gaussian",
    "noise_multiplier": "2.8056",
    "sensitivities": ["1", "2", "3"],
    "probabilities": ["0.243", "0.027", "0.001"],
    "count": 22,
}
SCORE = {"kind": "gaussian", "noise_multiplier": "4.5", "count": 1}
SELECTION = {"kind": "repeat_and_select", "events": [POISSON, SCORE], "mean": "4.0", "shape": "0", "count": 1}
TUNING = {"distribution": "logarithmic", "trials": 4, "score_noise": 4.5, "trial": [POISSON, SCORE], "hold": 0}
ROWS = {"unit": "patient", "unit_rows": 3, "sampling": "example"}
CASES: dict[str, dict[str, Any]] = {
    "poisson": {"events": [POISSON]},
    "banded": {"events": [BANDED]},
    "rows": {"events": [MIXTURE], **ROWS},
    "people": {"events": [POISSON], **ROWS, "sampling": "user"},
    "selection": {"events": [SELECTION], "tuning": TUNING},
    "held": {"events": [SELECTION], "tuning": {**TUNING, "hold": 7200}},
    "all": {"events": [POISSON, {**SCORE, "count": 4}], "tuning": {**TUNING, "distribution": "all"}},
    "truncated": {"events": [{**POISSON, "kind": "truncated_poisson_gaussian", "units": 1000, "most": 60}]},
    "laplace": {"events": [{"kind": "laplace", "noise_multiplier": "8.0", "count": 5}]},
    "boosted": {"events": [SCORE, {**SCORE, "noise_multiplier": "6.0", "count": 60}]},
}


def blocks(report: Any, lang: str = "en") -> dict[str, Any]:
    """The tables of the privacy section by their ids, and its prose as one text under an empty id."""
    (section,) = (s for s in document(report, lang)["sections"] if s["id"] == "privacy")
    found: dict[str, Any] = {"": ""}
    for block in section["blocks"]:
        if block["type"] == "table":
            found[block["id"]] = [[cell["text"] for cell in row] for row in block["rows"]]
        if block["type"] == "prose":
            found[""] += "\n".join([block["text"], *block["points"]]) + "\n"
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_sentence_of_the_statement_is_on_the_page_in_both_languages(
    sample: Make, make_evidence: Make, case: str
) -> None:
    evidence = make_evidence("privacy", values=CASES[case])
    report = sample(evidence=(evidence, make_evidence("training")))
    english, chinese = blocks(report), blocks(report, "zh")
    page = "\n".join(text for row in english["privacy-guarantee"] for text in row) + english[""]
    told = "\n".join(text for row in chinese["privacy-guarantee"] for text in row) + chinese[""]
    for sentence in guarantee(evidence.values, make_evidence("training").values):
        words = retold(sentence.words)
        assert words in page
        assert tell(words, "zh") in told
    names = r"NIST SP|Pellucid|Rényi|δ|ε"
    for row in chinese["privacy-guarantee"] + chinese["privacy-events"]:
        assert not ENGLISH.search(re.sub(names, "", " ".join(row))), row


def test_the_unit_the_neighbours_the_sampling_and_delta_are_said(sample: Make) -> None:
    rows = dict(blocks(sample())["privacy-guarantee"])
    assert rows["Privacy unit"].startswith("The unit of privacy is a row")
    assert "one row more than the other" in rows["Neighbouring data sets"]
    assert "In each of 438 steps every row was drawn on its own with chance 0.02286" in rows["Sampling, as it was run"]
    assert rows["Delta"].startswith("Delta, 1e-5, is what epsilon leaves out")
    assert "2.999871" in rows["How strong it is"]


def test_of_people_with_several_rows_the_page_says_how_many_and_what_a_step_draws(
    sample: Make, make_evidence: Make
) -> None:
    report = sample(evidence=(make_evidence("privacy", values=CASES["rows"]),))
    facts = dict(blocks(report)["privacy-facts"])
    assert facts["Rows of a person, at most"] == "3"
    assert facts["What a step draws"] == "rows, each on its own"
    (event,) = blocks(report)["privacy-events"]
    assert event[2] == "0.022857", "the chance of a row, which the event holds only by what follows from it"
    assert "1 with chance 0.243000, 2 with chance 0.027000, 3 with chance 0.001000" in event[1]
    said = dict(blocks(report)["privacy-guarantee"])["Sampling, as it was run"]
    assert "Of 3 rows of one person a step draws none with chance 0.729, one with chance 0.243" in said
    people = dict(blocks(sample(evidence=(make_evidence("privacy", values=CASES["people"]),)))["privacy-facts"])
    assert people["What a step draws"] == "people, each with all their rows"


def test_a_selection_shows_what_each_of_its_runs_composes_and_no_empty_cell(sample: Make, make_evidence: Make) -> None:
    report = sample(evidence=(make_evidence("privacy", values=CASES["selection"]),))
    first, training, score = blocks(report)["privacy-events"]
    assert first[1] == "the best of a random number of runs: 4 on average, logarithmic distribution"
    assert training == ["in each run: poisson_gaussian", "every row drawn alone", "0.05", "2.0", "30"]
    assert score[2:4] == ["everybody", "4.5"]
    assert score[1] == "the score of a run, by which the best was chosen"
    assert "not measured" not in [cell for row in (first, training, score) for cell in row]
    chosen = dict(blocks(report)["privacy-tuning"])
    assert chosen["Runs to choose from, on average"] == "4"
    assert "logarithmic distribution before the first run" in chosen["How many there were"]
    assert "one selection among runs" in dict(blocks(report)["privacy-facts"])["Steps"]


def test_a_tuned_model_says_by_what_it_was_chosen_and_from_which_settings(sample: Make, make_evidence: Make) -> None:
    score = {"name": "accuracy", "on": "people held out, by a private release", "noise_multiplier": 4.5}
    space = {"train.clip": [0.5, 1], "train.learning_rate": {"low": 0.05, "high": 2, "scale": "log"}}
    tuned = Evidence("tuning", sample().subject, {"score": score, "space": space}, {}, "public")
    report = sample(evidence=(make_evidence("privacy", values=CASES["selection"]), tuned))
    chosen, settings = (dict(blocks(report)[name]) for name in ("privacy-tuning", "privacy-space"))
    assert (chosen["Chosen by"], chosen["Measured on"][:15]) == ("accuracy", "people held out")
    assert settings == {"train.clip": "0.5, 1", "train.learning_rate": "0.05 to 2, by powers"}
    assert "privacy-space" not in blocks(sample(evidence=(make_evidence("privacy", values=CASES["selection"]),)))


def test_banded_steps_say_whose_turn_it_is(sample: Make, make_evidence: Make) -> None:
    report = sample(evidence=(make_evidence("privacy", values=CASES["banded"]),))
    (event,) = blocks(report)["privacy-events"]
    assert event[1] == "4 groups take turns; noise correlated over 4 steps"


def test_without_a_number_or_with_an_unknown_event_the_words_are_not_measured(
    sample: Make, make_evidence: Make
) -> None:
    unknown = {**POISSON, "kind": "new"}
    for change in ({"epsilon": None}, {"max_grad_norm": None}, {"events": [unknown]}, {"events": []}):
        said = blocks(sample(evidence=(make_evidence("privacy", values=change),)))
        assert "The guarantee in words: not measured." in said[""]
        assert "privacy-guarantee" not in said
        assert "Groups, such as a family" in said[""], "what is not covered is said of every guarantee"


@pytest.mark.parametrize(
    "change",
    [
        {"second_opinion": {"accountant": "rdp", "epsilon": "3"}},
        {"epsilon_at": {"1e-6": "3"}},
        {"tuning": {**TUNING, "hold": "long"}},
        {"tuning": "logarithmic"},
    ],
)
def test_a_value_of_another_form_is_refused(sample: Make, make_evidence: Make, change: dict[str, Any]) -> None:
    with pytest.raises(Unverified, match="not of its form"):
        render_html(sample(evidence=(make_evidence("privacy", values=change),)))


def test_an_event_whose_numbers_are_none_is_shown_and_not_read(sample: Make, make_evidence: Make) -> None:
    odd = {**SCORE, "noise_multiplier": "much"}
    report = sample(evidence=(make_evidence("privacy", values={"events": [odd], "tuning": TUNING}),))
    assert blocks(report)["privacy-events"] == [["gaussian", "not known", "everybody", "much", "1"]]


def test_the_odometer_of_a_stopped_run_is_no_claim(sample: Make, make_evidence: Make) -> None:
    stopped = make_evidence("privacy", values={"odometer": {"steps": 100, "epsilon": 1.25}})
    facts = dict(blocks(sample(evidence=(stopped,)))["privacy-facts"])
    assert facts["Epsilon of the steps that were taken (no claim: who stopped may have looked)"] == "1.25"


def test_the_declared_reference_is_said_in_the_language_of_the_page(sample: Make, make_evidence: Make) -> None:
    words = "declared reference: gain = 0, job = y; of other columns the encoded midpoint: zeros"
    found = elsewhere(words)
    assert isinstance(found, Said)
    assert str(found) == words
    html = render_html(sample(evidence=(make_evidence("explanation", values={"baseline": words}),)), "zh")
    assert "声明的参照值：" in html
    body = re.sub(r'<details class="how">.*?</details>', "", html, flags=re.DOTALL)
    assert "declared reference" not in body
