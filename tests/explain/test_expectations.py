"""What is expected, read strictly; and every kind of expectation against models whose behaviour is known."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import nn

from pellucid.check import ReleasePolicy, judge, verdict
from pellucid.errors import BadData, BadFile, UnsupportedModel
from pellucid.evidence import Estimate, Subject
from pellucid.explain import Background, Fields, attribute, estimate_shapley, permute_columns, public_rows
from pellucid.explain.directions import POINTS, course, declared_points, lift
from pellucid.explain.expectations import UNDECIDED, UNUSED, HeldOut, hold, shares
from pellucid.explain.expected import KINDS, Expectations, Limit, Monotone, Proxy, Sign
from pellucid.explain.outcomes import BACKGROUND, EXPLAINED, WALKS, Outcome, Outcomes
from pellucid.explain.proxies import guess, partial_correlation
from pellucid.schema import Encoding, Schema
from pellucid.train.encode import encode_features

ROOT = Path(__file__).resolve().parent.parent.parent
HEAD = """
[dataset]
target = "loan"
units = 1000
purposes = ["credit scoring"]
[columns.loan]
type = "category"
categories = ["no", "yes"]
sensitivity = "personal"
[columns.gender]
type = "category"
categories = ["Female", "Male"]
sensitivity = "special"
[columns.origin]
type = "category"
categories = ["a", "b", "c"]
sensitivity = "special"
"""
TEXT = (
    HEAD
    + """
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
[columns.income]
type = "number"
bounds = [0, 100000]
scale = "log"
sensitivity = "personal"
[columns.debt]
type = "number"
bounds = [0, 100]
bins = [20, 50, 80]
missing = "category"
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["x", "y", "z"]
sensitivity = "personal"
[columns.member]
type = "boolean"
missing = "category"
sensitivity = "personal"
[columns.note]
type = "text"
sensitivity = "personal"
"""
)
SCHEMA = Schema.parse(TEXT)
ENCODING = Encoding.of(SCHEMA)  # age 1, income 1, debt 4 + 1, job 3, member 1 + 1
PUBLIC = public_rows(ENCODING, 200)
SUBJECT = Subject("credit-risk@1", "0" * 64)


def linear(**weights: list[float]) -> nn.Linear:
    """A linear model whose weights are given by column; of the others 0."""
    model = nn.Linear(ENCODING.width, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
        for column, values in weights.items():
            place = ENCODING.slices()[column]
            model.weight[0, place.start : place.start + len(values)] = torch.tensor(values)
    return model


class Of(nn.Module):
    """A model that is a function of the encoded rows."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def one(kind: str, more: str = "", **about: Any) -> Expectations:
    """One expectation, through its text."""
    shown = ", ".join(f"{name.strip('_')} = {_toml(value)}" for name, value in about.items())
    return Expectations.parse(
        f'{more}\n[[expect]]\nid = "it"\nbecause = "so"\n{kind} = {{ {shown} }}', SCHEMA, where="e.toml"
    )


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def asked(model: nn.Module, kind: str, held: HeldOut | None = None, more: str = "", **about: Any) -> Outcome:
    (item,) = hold(model, one(kind, more, **about), ENCODING, held).items
    return item


@pytest.fixture(scope="module")
def held() -> HeldOut:
    """800 people. Their income says their gender, their age does not; the loan follows both."""
    rng = np.random.default_rng(11)
    x = public_rows(ENCODING, 800, seed=5)
    male = rng.random(800) < 0.5
    x[:, 1] = torch.from_numpy(np.clip(np.where(male, 0.4, -0.4) + rng.normal(0, 0.25, 800), -1, 1)).float()
    score = 2 * x[:, 0] + x[:, 1]
    y = (torch.from_numpy(rng.random(800)) < score.sigmoid()).long()
    origin = rng.choice(["a", "b"], 800)
    origin[:4] = "c"
    return HeldOut(x, y, {"gender": np.where(male, "Male", "Female"), "origin": origin})


# -- the file ----------------------------------------------------------------------------------------------------------


def test_every_kind_is_read_with_its_defaults() -> None:
    text = """
        class = "no"
        [[expect]]
        id = "a"
        because = "b"
        monotone = { column = "debt", direction = "decreasing" }
        [[expect]]
        id = "b"
        because = "b"
        irrelevant = { column = "job", at_most = 0.05 }
        [[expect]]
        id = "c"
        because = "b"
        bounded = { column = "income", at_most = 1, rows = "public" }
        [[expect]]
        id = "d"
        because = "b"
        sign = { column = "member", category = "true", is = "negative" }
        [[expect]]
        id = "e"
        because = "b"
        proxy = { of = "gender", use_at_most = 0.2 }
    """
    found = Expectations.parse(text, SCHEMA)
    assert found.outcome == "no"
    assert [item.about for item in found.items] == [
        Monotone("debt", "decreasing", 0.0),
        Limit("job", 0.05, "attribution", "held-out"),
        Limit("income", 1.0, "attribution", "public"),
        Sign("member", "true", "negative"),
        Proxy("gender", None, None, 0.2),
    ]
    assert {item.kind for item in found.items} == set(KINDS)


def test_the_digest_is_of_what_is_expected_not_of_its_blanks() -> None:
    text = '[[expect]]\nid = "a"\nbecause = "b"\nbounded = { column = "job", at_most = 0.5 }'
    first = Expectations.parse(text, SCHEMA).sha256
    assert Expectations.parse("# remark\n" + text + "\n\n", SCHEMA).sha256 == first
    assert Expectations.parse(text.replace("0.5", "0.6"), SCHEMA).sha256 != first


@pytest.mark.parametrize(
    ("text", "says", "where"),
    [
        ("", "would say that all expectations are met", "e.toml"),
        ("expect = []", "would say that all expectations are met", "e.toml"),
        ("expect = 3", r"\[\[expect\]\]", "e.toml: expect"),
        ("expect = [3]", r"\[\[expect\]\]", "e.toml: expect"),
        ("[[expct]]\nid = 'a'", 'did you mean "expect"', "e.toml: expct"),
        ("clas = 'no'\n[[expect]]\nid = 'a'", 'did you mean "class"', "e.toml: clas"),
        ("class = 'yse'\nEXPECT", 'did you mean "yes"', "e.toml: class"),
        ("class = true\nEXPECT", "must be a text", "e.toml: class"),
        ("EXPECT\nEXPECT", "stands twice", "e.toml: expect[it]"),
        ("EXPECT\nbecuase = 'x'", 'did you mean "because"', "e.toml: expect[it].becuase"),
        ("EXPECT\nsign = {column = 'job', category = 'x', is = 'positive'}", "exactly one of", "e.toml: expect[it]"),
        ("[[expect]]\nid = 'a'\nbecause = 'b'", "exactly one of", "e.toml: expect[a]"),
        ("[[expect]]\nid = 'a'\nbecause = ' '", "must be a text", "e.toml: expect[a].because"),
        ("[[expect]]\nid = 7", "must be a text", "e.toml: expect[1].id"),
        ("[[expect]]\nid = 'A B'\nbecause = 'b'", "an id is made of", "e.toml: expect[A B].id"),
        ("[[expect]]\nid = 'a'\nbecause = 'b'\nbounded = 3", "must be a table", "e.toml: expect[a].bounded"),
        ("[[expect]]\nid = 'a'\nbecause = nan", "nan and inf are not numbers", ""),
        ("[[expect]\n", "not TOML", "e.toml"),
    ],
)
def test_a_wrong_file_is_refused_and_the_error_names_the_place_and_the_nearest_key(
    text: str, says: str, where: str
) -> None:
    expect = "[[expect]]\nid = 'it'\nbecause = 'so'\nbounded = { column = 'job', at_most = 0.5 }"
    with pytest.raises(BadFile, match=says) as caught:
        Expectations.parse(text.replace("EXPECT", expect), SCHEMA, where="e.toml")
    assert where in (caught.value.where or "")


@pytest.mark.parametrize(
    ("kind", "about", "says", "key"),
    [
        ("bounded", {"column": "jb", "at_most": 0.5}, 'no column "jb"; did you mean "job"', "column"),
        ("bounded", {"column": "job", "at_most": "0.5"}, "is a text, and a number is needed", "at_most"),
        ("bounded", {"column": "job", "at_most": True}, "no number", "at_most"),
        ("bounded", {"column": "job", "at_most": 30}, "from 0 to 1", "at_most"),
        ("bounded", {"column": "job"}, "this number is missing", "at_most"),
        ("bounded", {"column": "job", "at_mots": 0.5}, 'did you mean "at_most"', "at_mots"),
        ("bounded", {"column": "job", "at_most": 0.5, "by": "auc"}, "is not one of attribution, shapley", "by"),
        ("bounded", {"column": "loan", "at_most": 0.5}, "is the target", "column"),
        ("bounded", {"column": "note", "at_most": 0.5}, "is text", "column"),
        ("bounded", {"column": 3, "at_most": 0.5}, "must be a text", "column"),
        ("irrelevant", {"column": "job", "at_most": 0.1, "by": "auk"}, 'did you mean "auc"', "by"),
        ("irrelevant", {"column": "job", "at_most": 0.1, "by": "auc", "rows": "public"}, "needs people", "rows"),
        ("monotone", {"column": "age", "direction": "incresing"}, 'did you mean "increasing"', "direction"),
        ("monotone", {"column": "job", "direction": "increasing"}, "is category", "column"),
        ("monotone", {"column": "age", "direction": "increasing", "tolerance": -1}, "from 0", "tolerance"),
        ("monotone", {"column": "age", "direction": "increasing", "tolerance": 10**400}, "from 0", "tolerance"),
        ("sign", {"column": "job", "category": "q", "is": "positive"}, '"q" is not one of x, y, z', "category"),
        ("sign", {"column": "age", "category": "x", "is": "positive"}, "is integer", "column"),
        ("sign", {"column": "member", "category": True, "is": "positive"}, "must be a text", "category"),
        ("proxy", {"of": "gender"}, "without a limit", "at_most_auc"),
        ("proxy", {"of": "gender", "at_most_auc": 0.4}, "from 0.5 to 1", "at_most_auc"),
        ("proxy", {"of": "gender", "category": "Mael", "use_at_most": 0.1}, 'did you mean "Male"', "category"),
        ("proxy", {"of": "age", "at_most_auc": 0.7}, "is integer", "of"),
    ],
)
def test_an_expectation_that_does_not_fit_the_schema_is_refused(
    kind: str, about: dict[str, Any], says: str, key: str
) -> None:
    with pytest.raises(BadFile, match=says) as caught:
        one(kind, **about)
    assert caught.value.where == f"e.toml: expect[it].{kind}.{key}"


_VALUES = st.one_of(
    st.sampled_from(["age", "job", "gender", "x", "increasing", "positive", "auc", "public", "held-out", "yes"]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)
_KEYS = st.sampled_from(["column", "at_most", "by", "rows", "direction", "tolerance", "of", "category", "is", "x"])


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["id", "because", *KINDS]), st.one_of(_VALUES, st.dictionaries(_KEYS, _VALUES)), max_size=4
        ),
        max_size=3,
    )
)
def test_whatever_a_document_holds_it_is_read_or_refused(items: list[dict[str, Any]]) -> None:
    with contextlib.suppress(BadFile):  # and nothing else
        found = Expectations._of({"expect": items}, SCHEMA, "e.toml")
        assert len(found.items) == len(items) > 0


def test_the_shipped_example_fits_the_demo_s_schema() -> None:
    schema = Schema.read(ROOT / "schemas" / "applicants.toml")
    found = Expectations.read(ROOT / "examples" / "expectations.toml", schema)
    assert {item.kind for item in found.items} == set(KINDS)


def test_the_page_s_example_fits_the_demo_s_schema() -> None:
    page = (ROOT / "docs" / "formats" / "expectations.md").read_text(encoding="utf-8")
    text = page.split("```toml\n", 1)[1].split("```", 1)[0]
    found = Expectations.parse(text, Schema.read(ROOT / "schemas" / "applicants.toml"))
    assert {item.kind for item in found.items} == set(KINDS)


# -- directions --------------------------------------------------------------------------------------------------------


def test_declared_points_are_what_encoding_makes_of_declared_values() -> None:
    declared = {
        "age": pa.array(np.linspace(17, 90, POINTS)),
        "income": pa.array(np.expm1(np.linspace(0, np.log1p(100_000), POINTS)).clip(0, 100_000)),
        "debt": pa.array([10.0, 20.0, 79.0, 90.0]),
        "job": pa.array(["x", "y", "z"]),
        "member": pa.array([False, True]),
    }
    for name, values in declared.items():
        alone = Encoding.of(SCHEMA, [name])
        expected = encode_features(pa.table({name: values}), alone)
        torch.testing.assert_close(declared_points(ENCODING, name), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("column", "weights"), [("age", [1.5]), ("debt", [0.0, 0.25, 1.0, 1.5]), ("member", [0.7])])
def test_the_course_of_a_linear_model_is_its_weight(column: str, weights: list[float]) -> None:
    model = linear(**{column: weights}, job=[1.0, -1.0, 0.5])
    up = course(model, PUBLIC, ENCODING, column)
    down = course(model, PUBLIC, ENCODING, column, rising=False)
    rise = 2 * weights[0] if column == "age" else weights[-1] - (weights[0] if column == "debt" else 0)
    assert (up.holds, up.flat, up.largest_fall, up.share.value) == (True, False, 0.0, 1.0)
    assert up.change.value == pytest.approx(rise, abs=1e-5)
    assert (down.holds, down.share.value) == (False, 0.0)
    assert down.largest_fall == pytest.approx(rise, abs=1e-5)
    assert course(model, PUBLIC, ENCODING, column, rising=False, tolerance=rise + 1e-3).holds
    assert course(model, PUBLIC, ENCODING, column, rising=False, flip=True).holds


def test_a_hump_between_equal_ends_is_found() -> None:
    hump = Of(lambda x: -(x[:, :1] ** 2) + x[:, 5:6])
    found = course(hump, PUBLIC, ENCODING, "age")
    assert not found.holds
    assert found.largest_fall == pytest.approx(1.0, abs=1e-5)
    assert found.change.value == pytest.approx(0.0, abs=1e-5)


def test_only_the_rows_that_fall_are_counted_as_falling() -> None:
    twisted = Of(lambda x: x[:, :1] * (1 - 2 * x[:, 7:8]))  # falls for people of job x, rises for the others
    found = course(twisted, PUBLIC, ENCODING, "age")
    share = float(1 - PUBLIC[:, 7].mean())
    assert not found.holds
    assert found.share.low <= share <= found.share.high
    assert found.share.value == pytest.approx(share, abs=0.005)


@given(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4))
def test_the_largest_fall_is_the_largest_over_all_pairs(table: list[float]) -> None:
    found = course(linear(debt=table), PUBLIC[:20], ENCODING, "debt")
    brute = max(max(table[i] - table[j] for j in range(i, 4)) for i in range(4))
    assert found.largest_fall == pytest.approx(brute, abs=2e-4)
    if not 0 < brute < 1e-3:  # between, float32 and its slack may tell it or not
        assert found.holds == (brute == 0)


def test_the_effect_of_a_category_is_its_weight_less_the_mean_of_the_others() -> None:
    found = lift(linear(job=[1.0, -0.5, 0.25], age=[2.0]), PUBLIC, ENCODING, "job", 0)
    assert found.effect.value == pytest.approx(1.0 - (-0.5 + 0.25) / 2, abs=1e-5)
    assert found.share.value == 1.0
    other = lift(linear(member=[-0.75]), PUBLIC, ENCODING, "member", 0)
    assert other.effect.value == pytest.approx(0.75, abs=1e-5)


def test_an_effect_of_nothing_is_exactly_nothing() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(ENCODING.width, 64), nn.Tanh(), nn.Linear(64, 1))
    with torch.no_grad():
        wide[0].weight[:, ENCODING.slices()["job"]] = 0.3  # each job adds the same
    found = lift(wide, PUBLIC, ENCODING, "job", 1)
    assert (found.effect.value, found.effect.low, found.effect.high, found.share.value) == (0.0, 0.0, 0.0, 0.0)


# -- every kind --------------------------------------------------------------------------------------------------------

MODEL = linear(age=[2.0], income=[1.0], job=[0.5, 0.0, -0.5])


@pytest.mark.parametrize(
    ("kind", "about", "status"),
    [
        ("monotone", {"column": "age", "direction": "increasing"}, "met"),
        ("monotone", {"column": "age", "direction": "decreasing"}, "not met"),
        ("monotone", {"column": "age", "direction": "decreasing", "tolerance": 4.01}, "met"),
        ("monotone", {"column": "debt", "direction": "decreasing"}, "met"),
        ("sign", {"column": "job", "category": "x", "is_": "positive"}, "met"),
        ("sign", {"column": "job", "category": "z", "is_": "positive"}, "not met"),
        ("sign", {"column": "job", "category": "z", "is_": "negative"}, "met"),
        ("sign", {"column": "member", "category": "true", "is_": "positive"}, "not met"),
        ("irrelevant", {"column": "debt", "at_most": 0.0}, "met"),
        ("irrelevant", {"column": "age", "at_most": 0.3}, "not met"),
        ("irrelevant", {"column": "member", "at_most": 0.0, "by": "auc"}, "met"),
        ("irrelevant", {"column": "age", "at_most": 0.01, "by": "auc"}, "not met"),
        ("bounded", {"column": "age", "at_most": 0.9}, "met"),
        ("bounded", {"column": "age", "at_most": 0.3}, "not met"),
        ("bounded", {"column": "income", "at_most": 0.3, "rows": "public"}, "met"),
        ("proxy", {"of": "gender", "at_most_auc": 0.7}, "not met"),
    ],
)
def test_each_kind_is_met_and_not_met_where_the_model_is_known(
    held: HeldOut, kind: str, about: dict[str, Any], status: str
) -> None:
    found = asked(MODEL, kind, held, **about)
    assert found.status == status
    assert found.measured


def test_the_measured_share_and_drop_are_those_of_attribution_and_importance(held: HeldOut) -> None:
    share = asked(MODEL, "bounded", held, column="income", at_most=0.5).measured["share"]
    attribution = attribute(MODEL, held.x, ENCODING)
    sizes = attribution.magnitude()
    assert share.value == pytest.approx(sizes["income"] / sum(sizes.values()), abs=0.005)
    drop = asked(MODEL, "irrelevant", held, column="income", at_most=0.5, by="auc").measured["drop_in_auc"]
    assert drop == permute_columns(MODEL, held.x, held.y, ENCODING).columns["income"]


@pytest.mark.parametrize(
    ("kind", "about", "says"),
    [
        ("bounded", {"column": "income", "at_most": 0.5}, ["share 0.", " to ", "income at most 0.5 by attribution"]),
        ("monotone", {"column": "age", "direction": "decreasing"}, ["largest fall", "decreasing in age"]),
        ("sign", {"column": "job", "category": "x", "is": "positive"}, ["effect ", "job = x is positive"]),
        ("proxy", {"of": "gender", "at_most_auc": 0.7}, ["auc ", "auc of gender at most 0.7"]),
    ],
)
def test_an_outcome_is_said_in_one_line_with_what_was_measured_and_what_was_asked(
    held: HeldOut, kind: str, about: dict[str, Any], says: list[str]
) -> None:
    line = asked(MODEL, kind, held, **about).said()
    assert "\n" not in line
    for part in says:
        assert part in line, line


def test_a_share_by_shapley_is_that_of_the_values_and_does_not_depend_on_a_reference(held: HeldOut) -> None:
    found = asked(MODEL, "bounded", held, column="income", at_most=0.5, by="shapley")
    background = Background(held.x[-BACKGROUND:], public=False, source="held-out rows")
    values = estimate_shapley(MODEL, held.x[:EXPLAINED], background, Fields.of(ENCODING), walks=WALKS, seed=0)
    assert found.measured["share"] == shares(values)["income"]
    moved = Encoding.of(Schema.parse(TEXT.replace('scale = "log"', 'scale = "log"\nreference = 0')))
    again = hold(MODEL, one("bounded", column="income", at_most=0.5, by="shapley"), moved, held)
    assert again.items[0].measured == found.measured
    assert "baseline" not in again.how()
    assert "share_by_shapley" in again.how()


def test_a_share_by_attribution_starts_from_the_declared_reference_and_says_so(held: HeldOut) -> None:
    moved = Encoding.of(Schema.parse(TEXT.replace('scale = "log"', 'scale = "log"\nreference = 0')))
    found = hold(MODEL, one("bounded", column="income", at_most=0.5), moved, held)
    sizes = attribute(MODEL, held.x, moved).magnitude()
    assert found.items[0].measured["share"].value == pytest.approx(sizes["income"] / sum(sizes.values()), abs=0.005)
    assert found.items[0].measured != asked(MODEL, "bounded", held, column="income", at_most=0.5).measured
    assert found.how()["baseline"].startswith("declared reference: income = 0")


def test_the_interval_of_a_share_is_that_of_the_bootstrap(held: HeldOut) -> None:
    attribution = attribute(MODEL, held.x, ENCODING)
    found = shares(attribution)
    assert sum(each.value for each in found.values()) == pytest.approx(1.0, abs=0.02)
    sizes = np.abs(attribution.rows)
    rng = np.random.default_rng(1)
    draws = [sizes[rng.integers(0, len(sizes), len(sizes))].sum(axis=0) for _ in range(1000)]
    part = np.array([draw / draw.sum() for draw in draws])
    for number, name in enumerate(attribution.columns):
        half = (found[name].high - found[name].low) / 2
        assert half == pytest.approx(1.96 * part[:, number].std(), rel=0.12, abs=0.01)
        assert half >= 1.96 * part[:, number].std() * 0.88  # rounded outwards


def test_a_share_of_people_is_no_finer_than_one_of_them_and_decided_by_what_is_published(held: HeldOut) -> None:
    for by in ("attribution", "shapley"):
        share = asked(MODEL, "bounded", held, column="age", at_most=1.0, by=by).measured["share"]
        told = share.values()
        for end in ("value", "low", "high"):
            assert told[end] * 250 == pytest.approx(round(told[end] * 250))  # of 800 people: 0.002 times 2
        for limit, status in ((told["high"], "met"), (told["high"] - 1e-6, "unmeasured"), (told["low"], "unmeasured")):
            assert asked(MODEL, "bounded", held, column="age", at_most=limit, by=by).status == status


def test_a_drop_in_auc_is_decided_by_what_is_published(held: HeldOut) -> None:
    drop = asked(MODEL, "irrelevant", held, column="income", at_most=0.5, by="auc").measured["drop_in_auc"]
    limit = drop.values()["low"]
    assert drop.low > limit  # what nobody is told
    assert asked(MODEL, "irrelevant", held, column="income", at_most=limit, by="auc").status == "unmeasured"


def test_answers_that_do_not_vary_on_these_rows_are_said_to_be_of_these_rows(held: HeldOut) -> None:
    young = HeldOut(held.x.clone(), held.y)
    young.x[:, 0] = -0.5
    found = asked(Of(lambda x: 1000 * (x[:, :1] - 0.5).relu()), "bounded", young, column="income", at_most=0.5)
    assert found.reason == "the model's answers do not vary on these rows"


def test_what_was_not_measured_is_never_met(held: HeldOut) -> None:
    people = [
        ("bounded", {"column": "age", "at_most": 1.0}),
        ("irrelevant", {"column": "debt", "at_most": 1.0, "by": "auc"}),
        ("irrelevant", {"column": "debt", "at_most": 1.0}),
        ("proxy", {"of": "gender", "at_most_auc": 1.0}),
        ("proxy", {"of": "gender", "use_at_most": 1.0}),
    ]
    nine = HeldOut(held.x[:9], held.y[:9], {"gender": held.special["gender"][:9]})
    unread = HeldOut(held.x, held.y)
    for kind, about in people:
        for whom in (None, nine) + ((unread,) if kind == "proxy" else ()):
            found = asked(MODEL, kind, whom, **about)
            assert (found.status, dict(found.measured)) == ("unmeasured", {})
            assert found.reason
            assert found.people == (whom is not None)
    alike = HeldOut(held.x, torch.zeros_like(held.y))
    assert asked(MODEL, "irrelevant", alike, column="debt", at_most=1.0, by="auc").status == "unmeasured"


def test_an_interval_over_the_limit_decides_nothing(held: HeldOut) -> None:
    share = asked(MODEL, "bounded", held, column="age", at_most=1.0).measured["share"]
    found = asked(MODEL, "bounded", held, column="age", at_most=round(share.value, 4))
    assert (found.status, found.reason) == ("unmeasured", UNDECIDED)
    assert found.measured["share"] == share


@pytest.mark.parametrize(
    ("kind", "about", "status"),
    [
        ("monotone", {"column": "age", "direction": "increasing"}, "met"),
        ("irrelevant", {"column": "age", "at_most": 0.0}, "met"),
        ("irrelevant", {"column": "age", "at_most": 0.0, "by": "auc"}, "met"),
        ("bounded", {"column": "age", "at_most": 0.0}, "met"),
        ("sign", {"column": "gender", "category": "Male", "is_": "positive"}, "not met"),
    ],
)
def test_a_column_that_is_no_feature_has_no_influence_and_the_reason_says_so(
    kind: str, about: dict[str, Any], status: str
) -> None:
    narrow = Encoding.of(SCHEMA, ["job", "debt"])
    torch.manual_seed(0)
    (found,) = hold(nn.Linear(narrow.width, 2), one(kind, **about), narrow).items
    assert (found.status, found.reason, dict(found.measured)) == (status, UNUSED, {})


def test_a_model_that_answers_all_alike_leaves_every_column_irrelevant(held: HeldOut) -> None:
    constant = linear()
    assert asked(constant, "irrelevant", held, column="age", at_most=0.0).status == "met"
    assert asked(constant, "monotone", None, column="age", direction="increasing").status == "met"
    assert asked(constant, "sign", None, column="job", category="x", is_="positive").status == "not met"
    use = asked(constant, "proxy", held, of="gender", use_at_most=0.0)
    assert use.status == "met"


def test_the_class_says_whose_score_is_meant(held: HeldOut) -> None:
    rising = {"column": "age", "direction": "increasing"}
    assert asked(MODEL, "monotone", None, 'class = "yes"', **rising).status == "met"
    assert asked(MODEL, "monotone", None, 'class = "no"', **rising).status == "not met"
    assert asked(MODEL, "sign", None, 'class = "no"', column="job", category="z", is_="positive").status == "met"
    no, yes = (asked(MODEL, "bounded", held, f'class = "{c}"', column="age", at_most=1) for c in ("no", "yes"))
    assert no.measured["share"] == yes.measured["share"]


def test_more_than_two_classes_need_one_named() -> None:
    number = '[columns.a]\ntype = "number"\nbounds = [0, 1]\nsensitivity = "personal"\n'
    schema = Schema.parse(HEAD.replace('["no", "yes"]', '["no", "yes", "later"]') + number)
    encoding = Encoding.of(schema)
    model = nn.Linear(1, 3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]]))
    rows = '[[expect]]\nid = "a"\nbecause = "b"\nmonotone = { column = "a", direction = "increasing" }\n'
    with pytest.raises(UnsupportedModel, match="3 classes"):
        hold(model, Expectations.parse(rows, schema), encoding)
    for name, status in (("no", "met"), ("yes", "not met"), ("later", "met")):
        (found,) = hold(model, Expectations.parse(f'class = "{name}"\n{rows}', schema), encoding).items
        assert found.status == status


# -- proxies -----------------------------------------------------------------------------------------------------------


def test_a_proxy_is_forbidden_only_where_it_is_both_there_and_used(held: HeldOut) -> None:
    uses, leaves = linear(income=[3.0]), linear(age=[3.0])
    limits = {"of": "gender", "at_most_auc": 0.7, "use_at_most": 0.3}
    assert asked(uses, "proxy", held, **limits).status == "not met"
    assert asked(leaves, "proxy", held, **limits).status == "met"
    assert asked(leaves, "proxy", held, of="gender", at_most_auc=0.7).status == "not met"  # it is there all the same
    found = asked(uses, "proxy", held, of="gender", category="Male", use_at_most=0.3).measured
    assert set(found) == {"Male"}
    assert found["Male"]["auc"]["logistic"]["low"] > 0.85
    assert found["Male"]["use"]["low"] > 0.8


def test_a_category_of_fewer_than_ten_people_is_not_guessed_and_not_met(held: HeldOut) -> None:
    found = asked(MODEL, "proxy", held, of="origin", at_most_auc=1.0)
    assert (found.status, set(found.measured)) == ("unmeasured", {"a", "b"})
    assert "fewer than 10" in found.reason
    assert asked(MODEL, "proxy", held, of="origin", category="b", at_most_auc=1.0).status == "met"


def test_guesses_are_out_of_fold() -> None:
    rng = np.random.default_rng(3)
    x, member = rng.normal(size=(120, 60)), rng.random(120) < 0.5  # in sample both models would guess everybody
    found = guess(x, member, x[:, 0], np.zeros(120, dtype=np.int64))
    for auc in found.auc.values():
        assert auc.low <= 0.5 <= auc.high


def test_the_partial_correlation_is_that_of_residuals() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    left = rng.normal(size=500) + 2 * labels
    right = 0.5 * left + rng.normal(size=500) - labels
    design = np.eye(3)[labels]
    a, b = (v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (left, right))
    found = partial_correlation(left, right, labels)
    assert found.value == pytest.approx(abs(np.corrcoef(a, b)[0, 1]), abs=0.0011)  # the grid of 500 people is 0.002
    assert partial_correlation(left, -right, labels) == found
    assert partial_correlation(labels * 1.0, right, labels).high == 0.0  # nothing is left of it within a class


def test_the_interval_of_a_use_covers_it_in_95_of_100() -> None:
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(400):
        labels = rng.integers(0, 2, 200)
        left = rng.normal(size=200)
        right = 0.4 * left + np.sqrt(1 - 0.16) * rng.normal(size=200)
        found = partial_correlation(left + labels, right - 3 * labels, labels)
        hits += found.low <= 0.4 <= found.high
    assert hits >= 0.93 * 400


def test_few_people_are_not_guessed() -> None:
    with pytest.raises(BadData, match="fewer than 10"):
        guess(np.zeros((100, 2)), np.arange(100) < 9, np.zeros(100), np.zeros(100, dtype=np.int64))


# -- the whole ---------------------------------------------------------------------------------------------------------

BOTH = """
[[expect]]
id = "age.rises"
because = "so"
monotone = { column = "age", direction = "increasing" }
[[expect]]
id = "age.bounded"
because = "so"
bounded = { column = "age", at_most = 0.9 }
[[expect]]
id = "gender.hidden"
because = "so"
proxy = { of = "gender", at_most_auc = 0.9 }
"""


@pytest.fixture(scope="module")
def outcomes(held: HeldOut) -> Outcomes:
    return hold(MODEL, Expectations.parse(BOTH, SCHEMA), ENCODING, held)


def test_evidence_of_public_rows_alone_is_post_processing_and_for_anyone() -> None:
    public = hold(MODEL, one("monotone", column="age", direction="increasing"), ENCODING).evidence(SUBJECT)
    assert (public.coverage, public.tier) == ("post-processing", "public")
    absent = hold(MODEL, one("bounded", column="age", at_most=0.5), ENCODING).evidence(SUBJECT)
    assert (absent.coverage, absent.tier) == ("post-processing", "public")


def test_evidence_that_looked_at_people_is_uncovered_and_for_auditors(held: HeldOut, outcomes: Outcomes) -> None:
    evidence = outcomes.evidence(SUBJECT)
    assert (evidence.kind, evidence.coverage, evidence.tier) == ("expectation", "uncovered", "auditor")
    refused = HeldOut(held.x, torch.zeros_like(held.y), {})
    looked = hold(MODEL, one("irrelevant", column="age", at_most=0.5, by="auc"), ENCODING, refused)
    assert looked.values()["unmeasured"] == 1
    assert looked.evidence(SUBJECT).coverage == "uncovered"  # that nothing could be said is said of people too


def test_evidence_is_canonical_json_with_estimates_and_rounded_counts(outcomes: Outcomes) -> None:
    from pellucid.evidence import canonical

    evidence = outcomes.evidence(SUBJECT)
    assert canonical(evidence.statement())
    first, second, third = evidence.values["expectations"]
    assert set(second["measured"]["share"]) == {"value", "low", "high", "n"}
    assert second["measured"]["share"]["n"] == 800
    assert first["measured"]["largest_fall"] == 0.0
    assert third["measured"]["Male"]["auc"]["boosting"]["n"] == 800
    assert evidence.how["proxy"]["seed"] == 0


@pytest.mark.parametrize(
    ("that", "status"),
    [
        ("expectation.met >= 2.0", "pass"),
        ("expectation.not_met == 0.0 && expectation.unmeasured == 0.0", "fail"),
        ("expectation.unmeasured == 0.0", "pass"),
        ("expectation.status['age.rises'] == 'met'", "pass"),
        ("expectation.status['gender.hidden'] == 'met'", "fail"),
        ("expectation.status['never.asked'] == 'met'", "unmeasured"),
    ],
)
def test_a_release_policy_may_require_what_was_expected(outcomes: Outcomes, that: str, status: str) -> None:
    text = f'[[require]]\nid = "r"\nthat = """{that}"""\nbecause = "b"\n'
    (finding,) = judge(ReleasePolicy.parse(text.encode()), [outcomes.evidence(SUBJECT)], dt.date(2026, 6, 1))
    assert finding.status == status
    assert verdict([finding]).exit == {"pass": 0, "fail": 1, "unmeasured": 3}[status]


def test_no_row_and_no_group_is_in_a_repr(held: HeldOut, outcomes: Outcomes) -> None:
    assert "tensor" not in repr(held)
    assert "Male" not in repr(held)
    assert "tensor" not in repr(outcomes)


def test_the_model_and_every_generator_stand_afterwards_where_they_stood(held: HeldOut) -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(ENCODING.width, 8), nn.Dropout(0.5), nn.Linear(8, 2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    hold(model, Expectations.parse(BOTH, SCHEMA), ENCODING, held)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(each.grad is None and each.requires_grad for each in model.parameters())
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == np.random.get_state()[1].tolist()
    assert states[2] == random.getstate()


def test_the_same_seed_says_the_same_and_another_may_not(held: HeldOut, outcomes: Outcomes) -> None:
    again = hold(MODEL, Expectations.parse(BOTH, SCHEMA), ENCODING, held)
    assert again.values() == outcomes.values()
    other = hold(MODEL, Expectations.parse(BOTH, SCHEMA), ENCODING, held, seed=1)
    assert other.values()["expectations"][2] != outcomes.values()["expectations"][2]


def test_bad_rows_are_refused_and_a_random_model_too(held: HeldOut) -> None:
    asking = Expectations.parse(BOTH, SCHEMA)
    with pytest.raises(BadData, match="slots"):
        hold(MODEL, asking, ENCODING, HeldOut(held.x[:, :-1], held.y))
    with pytest.raises(BadData, match="NaN"):
        hold(MODEL, asking, ENCODING, HeldOut(torch.full_like(held.x, torch.nan), held.y))
    with pytest.raises(BadData, match="labels"):
        hold(MODEL, asking, ENCODING, HeldOut(held.x, held.y[:-1]))
    with pytest.raises(BadData, match="labels"):
        hold(MODEL, asking, ENCODING, HeldOut(held.x, held.y + 2))
    with pytest.raises(UnsupportedModel, match="second time"):
        hold(Of(lambda x: x[:, :1] + torch.rand(len(x), 1)), asking, ENCODING, held)


@examples(max_examples=25)
@given(st.floats(-3, 3), st.floats(0, 1))
def test_a_status_follows_from_the_printed_interval_alone(weight: float, limit: float) -> None:
    rows = {"column": "age", "at_most": limit, "rows": "public"}
    found = asked(linear(age=[weight], income=[1.0]), "bounded", None, **rows)
    share: Estimate = found.measured["share"]
    expected = "met" if share.high <= limit else "not met" if share.low > limit else "unmeasured"
    assert found.status == expected
