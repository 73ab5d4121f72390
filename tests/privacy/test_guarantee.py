"""The statement says what the evidence says, nothing that it does not, and everything that NIST SP 800-226 asks for."""

from __future__ import annotations

import math

import pytest

from pellucid.privacy import accounting
from pellucid.privacy.capabilities import CAPABLE
from pellucid.privacy.events import Event, Laplace, MixtureOfGaussians, RepeatAndSelect, TruncatedPoisson
from pellucid.privacy.guarantee import TOPICS, guarantee, in_words, not_covered

EVENTS = [
    Event(1.0, 4.0, 3),
    Event(0.05, 2.0, 30),
    Event(0.02, 3.0, 30, 4),
    Laplace(8.0, 5),
    TruncatedPoisson(0.05, 2.0, 1000, 60, 30),
    MixtureOfGaussians.of_rows(0.02, 3, 4.0, 30),
    RepeatAndSelect((Event(0.05, 4.0, 30),), 5.0, 0.0),
]


def values(*events, **more):
    records = [event.record() for event in events]
    return {
        "epsilon": accounting.epsilon(records, 1e-5),
        "delta": 1e-5,
        "noise_multiplier": 2.0,
        "sample_rate": 0.05,
        "steps": sum(event.count for event in events),
        "max_grad_norm": 1.5,
        "adjacency": "add-or-remove-one",
        "unit": "row",
        "accountant": accounting.claimant(records),
        "second_opinion": accounting.second_opinion(records, 1e-5),
        "epsilon_at": accounting.epsilon_at(records, 1e-5),
        "events": records,
        **more,
    }


def said(statement, topic: str) -> str:
    return " ".join(sentence.text for sentence in statement if sentence.topic == topic)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_every_topic_is_said_of_every_mechanism_in_order_and_in_whole_sentences(event):
    statement = guarantee(values(event))
    topics = [sentence.topic for sentence in statement]
    assert topics == sorted(topics, key=TOPICS.index)
    assert set(topics) == set(TOPICS)
    for sentence in statement:
        assert sentence.text.endswith(".")
        assert "{" not in sentence.text
    assert str(event.count) in said(statement, "sampling") or event.kind == "repeat_and_select"


def test_every_kind_of_event_has_its_words():
    assert {event.kind for event in EVENTS} == set(CAPABLE)
    said_of = [said(guarantee(values(event)), "sampling") for event in EVENTS]
    assert len(set(said_of)) == len(EVENTS)


def test_epsilon_is_said_at_every_delta_and_the_second_opinion_beside_it():
    given = values(EVENTS[1])
    statement = guarantee(given)
    for number in (given["epsilon"], *given["epsilon_at"].values()):
        assert f"{number:.15g}" in said(statement, "strength")
    assert f"{given['second_opinion']['epsilon']:.15g}" in said(statement, "accounting")
    assert "no second accountant" in said(guarantee(values(EVENTS[-1])), "accounting")


def test_a_person_with_several_rows_is_named_as_the_unit():
    statement = guarantee(values(EVENTS[5], unit="patient", unit_rows=3))
    assert 'a person, named by the column "patient", with at most 3 rows' in said(statement, "unit")
    assert "k people together" in said(statement, "not covered")
    assert "row more" not in said(statement, "neighbours")


def test_who_is_replaced_and_who_stopped_early_is_said():
    statement = guarantee(values(EVENTS[0], adjacency="replace-one"), {"status": "stopped"})
    assert "another row" in said(statement, "neighbours")
    assert "stopped early" in said(statement, "accounting")
    assert "stopped early" not in said(guarantee(values(EVENTS[0]), {"status": "complete"}), "accounting")


def test_the_time_a_tuning_took_is_said_to_tell_unless_the_end_was_held():
    tuned = RepeatAndSelect((Event(0.05, 4.0, 30),), 5.0, 0.0)
    for more in ({}, {"tuning": {"hold": 0.0}}):
        text = said(guarantee(values(tuned, **more)), "sampling")
        assert "tells about how many runs there were" in text
        assert "Neither the number" not in text
    held = said(guarantee(values(tuned, tuning={"hold": 7200.0})), "sampling")
    assert "Neither the number nor the other runs were shown to anybody" in held
    assert "7200 seconds" in held


def test_no_digit_of_a_bound_is_lost():
    """Six digits of 2.999871 are 2.99987: less than was proved."""
    assert "2.999871" in said(guarantee({**values(EVENTS[1]), "epsilon": 2.999871}), "promise")


def test_what_delta_leaves_out_is_said():
    assert "Delta, 1e-05, is what epsilon leaves out" in said(guarantee(values(EVENTS[0])), "delta")


def test_the_chances_of_rows_are_those_of_the_binomial_distribution():
    """Of 3 rows, each drawn with chance 0.1: 0.729 none, 0.243 one, 0.028 more, by hand."""
    event = MixtureOfGaussians.of_rows(0.1, 3, 4.0, 30).record()
    first, second = in_words(event, {"unit": "patient"})
    assert "every row was drawn on its own, not every person" in str(first)
    parts = second.parts
    assert parts["none"] == pytest.approx(0.729, abs=1.1e-4)
    assert parts["one"] == pytest.approx(0.243, abs=1.1e-4)
    assert parts["more"] == pytest.approx(0.028, abs=1.1e-4)
    assert parts["none"] + parts["one"] + parts["more"] == pytest.approx(1, abs=3e-4)
    odd = {**event, "sensitivities": ["0.5", "1", "2.5"]}
    assert "at most 2.5" in str(in_words(odd, {"unit": "patient"})[0])


@pytest.mark.parametrize(
    ("shape", "word"), [(0.0, "logarithmic"), (1.0, "geometric"), (math.inf, "Poisson"), (0.5, "negative binomial")]
)
def test_a_selection_says_how_many_runs_and_what_each_composes(shape, word):
    tuned = RepeatAndSelect((Event(0.05, 4.0, 30), Event(1.0, 5.0, 1)), 5.0, shape)
    told = {"distribution": "any", "trials": 5.0, "score_noise": 5.0, "hold": 0.0}
    text = said(guarantee(values(tuned, tuning=told)), "sampling")
    assert f"a {word}" in text or f"truncated {word}" in text
    assert "5 on average" in text
    assert "In each run: In each of 30 steps every row was drawn" in text
    assert "In each run: The score of a run" in text
    unscored = said(guarantee(values(tuned, tuning={**told, "score_noise": None})), "sampling")
    assert "In each run: Everybody was in one noisy sum" in unscored


def test_of_people_drawn_as_a_whole_the_statement_says_what_is_clipped():
    of_people = values(EVENTS[1], unit="patient", unit_rows=4, sampling="user")
    assert "comes with all their rows" in said(guarantee(of_people), "sampling")
    assert "one person adds" in said(guarantee(of_people), "noise")
    of_rows = values(EVENTS[5], unit="patient", unit_rows=3, sampling="example")
    assert "comes with all their rows" not in said(guarantee(of_rows), "sampling")
    assert "one row adds" in said(guarantee(of_rows), "noise")


def test_every_noise_that_was_added_is_within_what_is_said():
    boosted = values(Event(1.0, 4.0, 3), Event(1.0, 6.0, 60))
    assert "4 to 6 times" in said(guarantee(boosted), "noise")
    adaptive = said(guarantee(values(EVENTS[1]), {"clipping": "adaptive"}), "noise")
    assert "followed from noisy counts" in adaptive


def test_the_rate_of_banded_steps_is_that_within_the_group_whose_turn_it_is():
    assert "with chance 0.08" in said(guarantee(values(EVENTS[2])), "sampling")


def test_what_is_not_covered_is_said_without_any_number():
    assert not_covered({"unit": "row"}) == guarantee(values(EVENTS[0]))[-len(not_covered({})) :]
    assert not_covered({"unit": "patient"})[2].text.startswith("Groups, such as a family: for k people")
