"""What explanations compare with: the declared reference, written as encoding writes it, and named in the result."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.evidence import Evidence, canonical
from pellucid.explain import Explanation, again, attribute, check_validity, measure_robustness, public_rows
from pellucid.explain.reference import code_of, reference_row, reference_words
from pellucid.explain.robustness import missing_code
from pellucid.schema import Encoding, Schema
from pellucid.train.encode import encode_row

TEXT = """
[dataset]
target = "loan"
units = 1000
purposes = ["credit scoring"]
[columns.loan]
type = "boolean"
sensitivity = "personal"
[columns.gain]
type = "number"
bounds = [0, 99999]
scale = "log"
reference = 0
sensitivity = "personal"
[columns.hours]
type = "integer"
bounds = [1, 99]
reference = 40
sensitivity = "personal"
[columns.age]
type = "integer"
bounds = [17, 90]
bins = [25, 35, 65]
reference = 35
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["x", "y", "z"]
reference = "y"
missing = "category"
sensitivity = "personal"
[columns.member]
type = "boolean"
reference = true
sensitivity = "personal"
"""
DECLARED = Encoding.of(Schema.parse(TEXT))  # gain 1, hours 1, age 4, job 3 + 1, member 1
REFERENCE = {"gain": 0.0, "hours": 40, "age": 35, "job": "y", "member": True}


def without(encoding: Encoding, *kept: str) -> Encoding:
    """``encoding`` without its references, but those of the columns ``kept``."""
    codes = (code if code.column in kept else dataclasses.replace(code, reference=None) for code in encoding.codes)
    return Encoding(tuple(codes), encoding.target, encoding.classes)


def net(width: int) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 1))


def test_the_reference_row_is_the_row_that_encoding_makes_of_the_declared_values() -> None:
    assert torch.equal(reference_row(DECLARED)[None], encode_row(REFERENCE, DECLARED))


@given(st.floats(0, 99999), st.integers(1, 99), st.integers(17, 90), st.sampled_from("xyz"), st.booleans())
def test_any_declared_value_becomes_what_encoding_makes_of_it(
    gain: float, hours: int, age: int, job: str, member: bool
) -> None:
    values = {"gain": gain, "hours": hours, "age": age, "job": job, "member": member}
    row = torch.cat([code_of(code, values[code.column]) for code in DECLARED.codes])
    assert torch.allclose(row[None], encode_row(values, DECLARED), atol=1e-6)


def test_without_a_reference_the_midpoint_is_what_it_was() -> None:
    plain = without(DECLARED)
    assert not reference_row(plain).any()
    assert reference_words(plain) == "encoded midpoint: zeros"


def test_the_words_name_every_declared_value_and_what_the_others_are() -> None:
    assert reference_words(DECLARED) == "declared reference: gain = 0, hours = 40, age = 35, job = y, member = true"
    assert reference_words(without(DECLARED, "gain")) == (
        "declared reference: gain = 0; of other columns the encoded midpoint: zeros"
    )


def test_attribution_starts_from_the_declared_reference() -> None:
    model, x = net(DECLARED.width), public_rows(DECLARED, 40)
    found = attribute(model, x, DECLARED)
    given_row = attribute(model, x, DECLARED, baseline=reference_row(DECLARED))
    assert (found.rows == given_row.rows).all()
    assert found.baseline == reference_words(DECLARED)
    assert (again(model, x, found) == pytest.approx(found.rows, abs=1e-9)) is True
    assert attribute(model, encode_row(REFERENCE, DECLARED), DECLARED, tolerance=1.0).rows == pytest.approx(0.0)


def test_a_column_that_is_nearly_always_at_its_reference_is_not_ranked_by_its_distance_from_the_middle() -> None:
    """Most people have no gain: from the middle of the log scale, everybody would come a long way down to nothing."""
    x = public_rows(DECLARED, 500)
    x[:, 0] = -1.0
    x[:20, 0] = 0.5
    model = nn.Linear(DECLARED.width, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.5, *[0.0] * (DECLARED.width - 2)]]))
    middle = attribute(model, x, without(DECLARED)).magnitude()
    declared = attribute(model, x, without(DECLARED, "gain")).magnitude()
    assert middle["gain"] > 3 * middle["hours"]
    assert declared["gain"] == pytest.approx(20 * 1.5 / 500, abs=1e-5)
    assert declared["gain"] < declared["hours"] == pytest.approx(middle["hours"], abs=1e-6)


def test_an_unknown_value_is_its_missing_code_else_its_fill_else_its_reference() -> None:
    codes = {code.column: code for code in DECLARED.codes}
    assert missing_code(codes["job"]).tolist() == [0, 0, 0, 1]
    assert missing_code(codes["gain"]).tolist() == [-1]
    assert missing_code(codes["age"]).tolist() == [0, 0, 1, 0]
    filled = dataclasses.replace(codes["gain"], fill=99999)
    assert missing_code(filled).tolist() == pytest.approx([1])
    x = public_rows(DECLARED, 100)
    y = (x[:, 1] > 0).long()
    found = measure_robustness(net(DECLARED.width), x, y, DECLARED, noise=(), corruption=(), attack=())
    assert found.how()["missing"]["gain"] == "declared reference"


def test_the_evidence_says_what_was_compared_with_and_stays_public(subject) -> None:
    x = public_rows(DECLARED, 50)
    found = Explanation(attribute(net(DECLARED.width), x, DECLARED, public=True))
    evidence = found.evidence(subject)
    assert (evidence.coverage, evidence.tier) == ("post-processing", "public")
    assert evidence.values["baseline"] == reference_words(DECLARED)
    assert Evidence.from_statement(json.loads(canonical(evidence.statement()))) == evidence
    assert check_validity(net(DECLARED.width), x, DECLARED, found, models=2, thorough=True).faithfulness is not None
