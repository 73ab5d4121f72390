"""Planted label errors are found, clean labels are left alone, and nobody is named to whom it is not due."""

from __future__ import annotations

import hashlib
import hmac
import json
import random

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pellucid.errors import BadData
from pellucid.evidence import Evidence, canonical
from pellucid.explain.labels import find_label_errors, keyed
from pellucid.explain.predictions import Predictions

KEY = bytes(range(32))


def problem(n: int, seed: int, flips: float, apart: float = 2.5) -> tuple[Predictions, np.ndarray]:
    """Held-out people with some labels flipped, scored by a model that learned from others with flips too."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 2 * n)
    x = rng.normal(size=(2 * n, 4)) + apart * (2 * truth[:, None] - 1) / 2
    flipped = rng.random(2 * n) < flips
    labels = np.where(flipped, 1 - truth, truth)
    model = LogisticRegression().fit(x[:n], labels[:n])
    return Predictions(model.decision_function(x[n:]), labels[n:]), flipped[n:]


def names(n: int) -> list[str]:
    return [f"person-{number}" for number in range(n)]


def test_ten_percent_of_flipped_labels_are_found_with_precision_and_recall_above_nine_tenths() -> None:
    p, flipped = problem(2000, 1, 0.1)
    found = find_label_errors(p, names(2000), key=KEY)
    suspects = set(found.suspects)
    planted = {keyed(name, KEY) for name, flip in zip(names(2000), flipped, strict=True) if flip}
    assert len(suspects & planted) / len(suspects) > 0.9
    assert len(suspects & planted) / len(planted) > 0.9
    assert found.rate.low <= flipped.mean() <= found.rate.high


def test_clean_separable_data_yields_close_to_none() -> None:
    p, _ = problem(2000, 2, 0.0, apart=6.0)
    found = find_label_errors(p, names(2000), key=KEY)
    assert len(found.suspects) <= 2
    assert found.rate.value <= 0.001


def test_the_least_plausible_label_comes_first() -> None:
    p, _ = problem(1000, 3, 0.1)
    found = find_label_errors(p, names(1000), key=KEY)
    own = np.where(p.labels == 1, p.probability, 1 - p.probability)
    place = {keyed(name, KEY): own[row] for row, name in enumerate(names(1000))}
    order = [place[one] for one in found.suspects]
    assert order == sorted(order)


def test_rates_by_class_are_shares_of_the_people_with_that_label() -> None:
    rng = np.random.default_rng(4)
    p, _ = problem(1500, 4, 0.0)
    labels = np.where((p.labels == 1) & (rng.random(1500) < 0.3), 0, p.labels)  # only ones were written as zeros
    p = Predictions(p.logits, labels)
    found = find_label_errors(p, names(1500), key=KEY)
    suspects = {int(row) for row in range(1500) if keyed(f"person-{row}", KEY) in set(found.suspects)}
    for number in (0, 1):
        rows = np.flatnonzero(labels == number)
        assert found.by_class[number].value == pytest.approx(np.mean([r in suspects for r in rows]), abs=0.002)
    assert found.by_class[0].low > found.by_class[1].high


def test_classes_are_named_where_somebody_names_them_and_a_reader_is_warned_of_hard_cases() -> None:
    p, _ = problem(800, 5, 0.1)
    plain = find_label_errors(p, names(800), key=KEY)
    assert all("name" not in each for each in plain.values()["classes"])
    named = find_label_errors(p, names(800), key=KEY, classes=("<=50K", ">50K"))
    assert [(each["class"], each["name"]) for each in named.values()["classes"]] == [(0, "<=50K"), (1, ">50K")]
    assert "hard cases" in named.how()["reading"]
    with pytest.raises(BadData, match="names do not fit"):
        find_label_errors(p, names(800), key=KEY, classes=("only",))


def test_confident_errors_equal_a_plain_loop() -> None:
    p, _ = problem(800, 5, 0.1)
    found = find_label_errors(p, names(800), key=KEY, threshold=0.95)
    expected = []
    for row in range(800):
        other = 1 - p.probability[row] if p.labels[row] == 1 else p.probability[row]
        if other > 0.95:
            expected.append((-other, keyed(f"person-{row}", KEY)))
    assert list(found.confident) == [name for _, name in sorted(expected)]
    assert expected


def test_identifiers_are_hmacs_under_the_key() -> None:
    text = hmac.new(KEY, b"pellucid/person@1\x00person-7", hashlib.sha256).hexdigest()
    assert keyed("person-7", KEY) == text
    assert keyed("person-7", KEY[::-1]) != text
    assert keyed("person-8", KEY) != text


def test_auditors_read_rates_only_and_stewards_keyed_identifiers(subject) -> None:
    p, _ = problem(1000, 6, 0.1)
    found = find_label_errors(p, names(1000), key=KEY)
    auditor, steward = found.evidence(subject), found.steward_evidence(subject)
    assert (auditor.tier, steward.tier, auditor.coverage, steward.coverage) == (
        "auditor",
        "steward",
        *["uncovered"] * 2,
    )
    for item in (auditor, steward):
        assert Evidence.from_statement(json.loads(canonical(item.statement()))) == item
    open_text, closed_text = (canonical(item.statement()).decode() for item in (auditor, steward))
    assert not any(one in open_text + repr(found) for one in (*found.suspects, *found.confident))
    assert all(one in closed_text for one in (*found.suspects, *found.confident))
    assert "person-" not in open_text + closed_text + repr(found)
    assert KEY.hex() not in closed_text
    assert steward.values["suspects"]["n"] == len(found.suspects) // 10 * 10


def test_a_class_of_few_people_is_suppressed_with_another_and_does_not_stop_the_rest() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], [200, 150, 80, 4])
    logits = 4 * np.eye(4)[labels] + rng.normal(size=(434, 4))
    found = find_label_errors(Predictions(logits, labels), names(434), key=KEY)
    assert found.suppressed == (2, 3)
    assert set(found.by_class) == {0, 1}


def test_a_class_nobody_has_is_left_out() -> None:
    labels = np.repeat([0, 2], 100)
    logits = 4 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(200, 3))
    assert set(find_label_errors(Predictions(logits, labels), names(200), key=KEY).by_class) == {0, 2}


def test_cleanlab_prints_nothing_and_leaves_the_generators_alone(capsys: pytest.CaptureFixture[str]) -> None:
    p, _ = problem(300, 7, 0.1)
    np.random.seed(3)
    random.seed(3)
    before = np.random.get_state()[1].copy(), random.getstate()
    one = find_label_errors(p, names(300), key=KEY)
    assert (np.random.get_state()[1] == before[0]).all()
    assert random.getstate() == before[1]
    assert capsys.readouterr() == ("", "")
    assert one == find_label_errors(p, names(300), key=KEY)


def test_bad_input_is_refused_and_nobody_is_named() -> None:
    p, _ = problem(100, 8, 0.1)
    with pytest.raises(BadData, match="32 bytes"):
        find_label_errors(p, names(100), key=b"short")
    for ids in (names(99), ["person-1"] * 100, [1] * 100):
        with pytest.raises(BadData, match="identifier of its own") as caught:
            find_label_errors(p, ids, key=KEY)
        assert "person-" not in str(caught.value)
    for threshold in (0.4, 1.0, float("nan")):
        with pytest.raises(BadData, match="confident error"):
            find_label_errors(p, names(100), key=KEY, threshold=threshold)
    with pytest.raises(BadData, match="two classes"):
        find_label_errors(Predictions(np.zeros(30), np.zeros(30, dtype=np.int64)), names(30), key=KEY)
