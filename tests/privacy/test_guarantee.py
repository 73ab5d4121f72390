"""The statement says what the evidence says, nothing that it does not, and everything that NIST SP 800-226 asks for."""

from __future__ import annotations

import pytest

from pellucid.privacy import accounting
from pellucid.privacy.capabilities import CAPABLE
from pellucid.privacy.events import Event, Laplace, MixtureOfGaussians, RepeatAndSelect, TruncatedPoisson
from pellucid.privacy.guarantee import TOPICS, guarantee

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
        assert f"{number:g}" in said(statement, "strength")
    assert f"{given['second_opinion']['epsilon']:g}" in said(statement, "accounting")
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
        assert "neither it" not in text
    held = said(guarantee(values(tuned, tuning={"hold": 7200.0})), "sampling")
    assert "neither it nor the other runs were shown to anybody" in held
    assert "7200 seconds" in held
