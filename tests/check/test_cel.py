from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.check import cel
from pellucid.check.program import Outcome, Program
from pellucid.errors import BadFile

NAN = math.nan
VALUES: dict[str, Any] = {
    "privacy": {"epsilon": 2.5, "delta": 1e-5, "steps": 10, "accountant": "pld", "ok": True, "zero": 0, "nan": NAN},
    "dataset": {"units": 32000, "purposes": ["credit scoring", "audit"], "retention": None},
    "explanation": {"importance": {"age": 0.1, "education-num": 0.2}, "empty": {}},
    "evaluation": {"auc": {"value": 0.9, "low": 0.85, "high": 0.92, "n": 9600}, "inf": math.inf},
    "fairness": {
        "columns": {
            "gender": {
                "groups": [
                    {"group": "Female", "n": 3200, "auc": {"low": 0.88}},
                    {"group": "Male", "n": 6400, "auc": {"low": 0.84}},
                ],
                "partial": [{"group": "a", "n": 10, "auc": {"low": 0.9}}, {"group": "b", "n": 20}],
                "none": [],
            }
        }
    },
    "slices": {"list": [1, 2.0, 3], "holes": [1, None], "deep": [[1], []]},
}
GROUPS = "fairness.columns.gender.groups"
PARTIAL = "fairness.columns.gender.partial"


def outcome(expression: str, values: dict[str, Any] | None = None) -> Outcome:
    return cel.compile(expression).evaluate(VALUES if values is None else values)


@pytest.mark.parametrize(
    ("expression", "truth"),
    [
        ("privacy.epsilon <= 3", True),
        ("privacy.epsilon <= 3.0", True),
        ("privacy.epsilon <= 2", False),
        ("privacy.epsilon < 3u", True),
        ("privacy.steps >= 10", True),
        ("privacy.steps == 10", True),
        ("privacy.steps == 10.0", True),
        ("privacy.steps != 0xA", False),
        ("dataset.units > 1000", True),
        ("evaluation.auc.low >= 0.85", True),
        ('evaluation["auc"]["low"] >= 0.85', True),
        ("privacy.accountant == 'pld'", True),
        ("privacy.accountant != 'pld'", False),
        ("privacy.accountant in ['pld', 'rdp']", True),
        ("privacy.accountant.startsWith('p') && privacy.accountant.endsWith('d')", True),
        ("privacy.accountant.contains('x')", False),
        ('"age" in explanation.importance', True),
        ('"height" in explanation.importance', False),
        ('"audit" in dataset.purposes', True),
        ('explanation.importance["education-num"] > explanation.importance.age', True),
        ("privacy.epsilon * 2 == 5 && privacy.epsilon / 2 == 1.25 && privacy.epsilon - 1 == 1.5", True),
        ("-privacy.epsilon + 3 == 0.5", True),
        ("privacy.epsilon -1 == 1.5", True),
        ("1 / 2 < privacy.epsilon && 1 / 2 > 0", True),
        ("!privacy.ok", False),
        ("privacy.ok ? privacy.steps > 1 : false", True),
        ("privacy.zero == 0 || 1 / privacy.zero > 3", True),  # decided before the division
        (f"{GROUPS}.all(g, g.n > 5)", True),
        (f"{GROUPS}.all(g, g.auc.low > 0.85)", False),
        (f"{GROUPS}.exists(g, g.auc.low > 0.85)", True),
        (f"{GROUPS}.exists_one(g, g.group == 'Male')", True),
        (f"{GROUPS}.filter(g, g.n > 5000).all(g, g.group == 'Male')", True),
        (f"{GROUPS}.map(g, g.n).all(n, n > 100)", True),
        (f"size({GROUPS}) == 2 && {GROUPS}.size() == 2", True),
        (f"{PARTIAL}.filter(g, has(g.auc)).all(g, g.auc.low > 0.8)", True),
        ("explanation.importance.all(k, explanation.importance[k] > 0.0)", True),
        ("['gender'].all(c, fairness.columns[c].groups.all(g, g.n > 5))", True),
        ("fairness.columns.all(c, fairness.columns[c].groups.all(g, g.n > 5))", True),
        ("slices.list == [1, 2, 3] && slices.list[0] == 1", True),
        ("slices.list.all(x, x >= 1) && slices.list.exists_one(x, x == 2)", True),
        ("has(privacy.epsilon)", True),
        ("has(privacy.epsilonn)", False),
        ("has(attack.epsilon_lower)", False),
        ("has(dataset.retention)", False),  # null is absent
        ("!has(attack.epsilon_lower) || attack.epsilon_lower < privacy.epsilon", True),
        ("has(attack.epsilon_lower) && attack.epsilon_lower < privacy.epsilon", False),
        ("has(attack.epsilon_lower) ? attack.epsilon_lower < 1 : privacy.epsilon < 3", True),
        ("privacy.epsilon <= 3 // the officer's number", True),
        ("(((privacy.epsilon))) <= (3)", True),
    ],
)
def test_known_answers(expression: str, truth: bool) -> None:
    found = outcome(expression)
    assert found.truth is truth
    assert not found.absent
    assert not found.empty


UNMEASURED = [
    "privacy.epsilonn <= 3",
    "attack.epsilon_lower <= 3",
    "dataset.retention == 'never'",
    "privacy.epsilon.low <= 3",
    "privacy.nan <= 3",
    "!(privacy.nan > 3)",
    "evaluation.inf > 1",
    "has(privacy.nan) && privacy.nan <= 3",  # has() excuses what is absent, not what is no number
    'explanation.importance["height"] < 1.0',
    "slices.list[3] == 1",
    "slices.list[-1] == 1",
    "slices.list[0.5] == 1",
    "size(slices.holes) == 2",
    "slices.holes.all(x, x > 0)",
    "privacy.nan.all(g, g.n > 5)",
    "fairness.columns.gender.none.all(g, g.n > 5)",
    "fairness.columns.gender.none.exists(g, g.n > 5)",
    "!fairness.columns.gender.none.exists(g, g.n > 5)",
    "explanation.empty.all(k, explanation.empty[k] > 0)",
    f"{GROUPS}.filter(g, g.n > 1e9).all(g, g.n > 5)",
    "slices.deep.all(l, l.all(x, x > 0))",
    f"{PARTIAL}.all(g, g.auc.low > 0.5)",
    f"{PARTIAL}.exists(g, g.auc.low > 0.5)",
    f"{PARTIAL}.exists_one(g, g.auc.low > 0.5)",
    f"{PARTIAL}.filter(g, g.auc.low > 0.5).size() == 1",
    "fairness.columns['ethnicity'].groups.all(g, g.n > 5)",
    "['gender', 'ethnicity'].exists(c, fairness.columns[c].groups.all(g, g.n > 5))",
    "has(attack.epsilon_lower) && attack.epsilon_lower < 1 || attack.auc.low < 0.6",  # one guard, another path
    "!has(attack.epsilon_lower) || privacy.nothing > 1",
    "!has(privacy.epsilon) || privacy.ok || privacy.epsilon.low > 1",  # the guard is there, what is below it is not
]


@pytest.mark.parametrize("expression", UNMEASURED)
@pytest.mark.parametrize("around", ["{}", "!({})", "{} || privacy.ok", "privacy.ok || ({})", "({}) && !privacy.ok",
                                    "!privacy.ok && ({})", "privacy.ok ? privacy.ok : ({})", "({}) == privacy.ok",
                                    "slices.list.all(i, privacy.ok || ({}))"])  # fmt: skip
def test_a_missing_path_or_an_empty_range_is_unmeasured_whatever_the_rest_says(expression: str, around: str) -> None:
    if around.startswith("{}"):
        around = around.replace("{}", "({})")
    found = outcome(around.format(expression))
    assert found.truth is None
    assert found.absent or found.empty


@pytest.mark.parametrize(
    "expression",
    [
        "attack.epsilon_lower < 1 || has(attack.epsilon_lower)",
        "has(attack.epsilon_lower) || attack.epsilon_lower < 1",
        "!has(attack.epsilon_lower) && attack.epsilon_lower < 1",
        "!(has(attack.auc) || attack.auc.low < 0.6)",
        f"has(attack.auc) || {GROUPS}.exists(g, g.n > attack.auc.n)",
        "has(slices.more) || slices.more.all(s, s > 1)",
    ],
)
def test_a_path_that_has_excused_and_that_is_needed_after_all_is_unmeasured(expression: str) -> None:
    assert outcome(expression).truth is None
    assert outcome(expression).absent
    assert outcome(f"privacy.ok || ({expression})").truth is True  # excused, and not needed


def test_the_outcome_names_what_is_missing_and_what_is_empty() -> None:
    assert outcome(f"{PARTIAL}.all(g, g.auc.low > 0.5)").absent == (f"{PARTIAL}.b.auc.low",)
    assert outcome("fairness.columns.gender.none.all(g, g.n > 5)").empty == ("fairness.columns.gender.none",)
    assert outcome("privacy.nope < 1 && attack.auc.low < 1").absent == ("privacy.nope", "attack.auc.low")


def test_values_show_what_each_path_resolved_to() -> None:
    assert outcome(f"{GROUPS}.all(g, g.auc.low > 0.8) && privacy.epsilon < privacy.nope").values == {
        f"{GROUPS}.Female.auc.low": 0.88,
        f"{GROUPS}.Male.auc.low": 0.84,
        "privacy.epsilon": 2.5,
        "privacy.nope": None,
    }
    found = outcome(f"{GROUPS}.map(g, g.auc).all(a, a.low > 0.8)")
    assert found.truth is True
    assert found.values[f"{GROUPS}.Male.auc.low"] == 0.84  # an item keeps its path on its way through map and filter
    found = outcome("fairness.columns.all(c, fairness.columns[c].groups.size() > 1)")
    assert list(found.values) == ["fairness.columns.gender.groups"]
    assert outcome("privacy.nan < 1").values == {"privacy.nan": None}  # JSON has no NaN


@pytest.mark.parametrize(
    ("expression", "paths", "guarded"),
    [
        ("privacy.epsilon <= 3", ("privacy.epsilon",), set()),
        ('privacy["epsilon"] <= privacy.epsilon', ("privacy.epsilon",), set()),
        ('explanation.importance["education-num"] < 1', ('explanation.importance["education-num"]',), set()),
        ("slices.list[0] < 1", ("slices.list[0]",), set()),
        ("has(attack.epsilon_lower) && attack.auc.low < 1", ("attack.epsilon_lower", "attack.auc.low"),
         {"attack.epsilon_lower"}),
        (f"{GROUPS}.all(g, g.n > 5)", (GROUPS, f"{GROUPS}[].n"), set()),
        (f"{GROUPS}.filter(h, has(h.auc)).all(g, g.auc.low > 5)", (GROUPS, f"{GROUPS}[].auc", f"{GROUPS}[].auc.low"),
         {f"{GROUPS}[].auc"}),
        ("slices.list.all(x, x > 1)", ("slices.list",), set()),
        ("fairness.columns.all(c, fairness.columns[c].x < 1)", ("fairness.columns", "fairness.columns[c].x"), set()),
        ("dataset.columns[training.target] == 'x'", ("dataset.columns[training.target]", "training.target"), set()),
    ],
)  # fmt: skip
def test_paths_are_every_evidence_path_without_the_macros_own_variables(
    expression: str, paths: tuple[str, ...], guarded: set[str]
) -> None:
    program = cel.compile(expression)
    assert program.paths == paths
    assert program.guarded == guarded
    assert program.kinds == {path.split(".")[0] for path in paths if "." in path}


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("privacy.epsilon <", "not CEL"),
        ("privacy.epsilon <= 3)", "column 21"),
        ("privacy epsilon", "not CEL"),
        ("`privacy`", "not CEL"),
        ("privcy.epsilon <= 3", 'did you mean "privacy"'),
        ("epsilon <= 3", "not a kind of evidence"),
        ("g.n > 1", "not a kind of evidence"),
        (f"{GROUPS}.all(g, h.n > 1)", "not a kind of evidence"),
        (f"{GROUPS}.all(g, g.n > 1) && g.n > 1", "not a kind of evidence"),
        ("sise(privacy.accountant) > 1", 'did you mean "size"'),
        ("privacy.accountant.matches('(a+)+$')", "not a function"),
        ("size(privacy.accountant, 1) > 1", "takes 1"),
        ("size() > privacy.epsilon", "takes 1"),
        ("privacy.accountant.startsWith()", "takes 2"),
        ("has(privacy)", "has() takes one path"),
        ("has(privacy.epsilon, 3)", "has() takes one path"),
        ("has(1 < 2)", "has() takes one path"),
        ("has()", "has() takes one path"),
        ("true", "reads no evidence"),
        ("1 < 2", "reads no evidence"),
        ("[1].all(x, x > 0)", "reads no evidence"),
        ("3.0", "yes or no"),
        ("'yes'", "yes or no"),
        ("privacy.epsilon + 1", "yes or no"),
        ("-privacy.epsilon", "yes or no"),
        ("size(dataset.purposes)", "yes or no"),
        ("[privacy.epsilon]", "yes or no"),
        (f"{GROUPS}.map(g, g.n > 1)", "yes or no"),
        (f"{GROUPS}.filter(g, g.n > 1)", "yes or no"),
        (f"{GROUPS}.all(g, 1)", "yes or no"),
        ("privacy.ok ? 1 : 2", "yes or no"),
        (f"{GROUPS}.all(g)", "takes a variable and an expression"),
        (f"{GROUPS}.all(privacy, true)", "must be a new name"),
        (f"{GROUPS}.all(g.n, true)", "must be a new name"),
        (f"{GROUPS}.all(g, {GROUPS}.all(g, g.n > 1))", "must be a new name"),
        ("slices.deep.all(a, a.all(b, b.all(c, c.all(d, d > 1))))", "macros nest deeper"),
        ("privacy.epsilon == null", "null is not in the language"),
        ("b'a' == privacy.accountant", "bytes are not in the language"),
        ("{'a': 1}.a == privacy.epsilon", "maps are not in the language"),
        ("privacy{a: 1}", "messages are not in the language"),
        (".privacy.ok", "a leading dot is not in the language"),
        ("privacy.steps % 2 == 0", "% is not in the language"),
        ("[1, 2][0] < privacy.epsilon", "something computed"),
        (f"{GROUPS}.filter(g, g.n > 1)[0].n > 1", "something computed"),
        ("privacy.epsilon < 1e400", "too large"),
        ("privacy.epsilon < 99999999999999999999", "too large"),
        ("privacy.accountant == '\\U99999999'", "escape"),
        ("!" * 100 + "privacy.ok", "nests deeper"),
        ("privacy.epsilon < " + "-(" * 60 + "1" + ")" * 60, "nests deeper"),
        ("privacy.epsilon < " + "+".join(["1"] * 500), "nests deeper"),
        ("privacy" + ".a" * 500 + " < 1", "nests deeper"),
        ("[" * 300 + "privacy.ok" + "]" * 300 + " == 1", "nests deeper"),
        ("privacy.ok" + " " * 2000, "longer than 2000"),
    ],
)
def test_every_malformed_expression_is_refused_by_name(expression: str, says: str) -> None:
    with pytest.raises(BadFile) as error:
        cel.compile(expression)
    assert says in str(error.value)


def test_long_and_bracketed_is_not_deep() -> None:
    assert outcome(" && ".join(["privacy.ok"] * 140)).truth is True
    assert outcome("(" * 900 + "privacy.ok" + ")" * 900).truth is True


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("privacy.accountant <= 3", "<= takes numbers, and this is a text"),
        ("privacy.ok <= 3", "<= takes numbers, and this is a truth value"),
        ("privacy.ok == 1", "a truth value is compared with a number"),
        ("privacy.accountant == 3", "a text is compared with a number"),
        ("privacy.accountant != 3", "a text is compared with a number"),
        ("privacy.accountant in [3]", "a text is compared with a number"),
        ("privacy.epsilon in 3", "in looks into a list"),
        ("1 in explanation.importance", "in looks into a list"),
        ("privacy.epsilon", "yes or no is needed here, and this is a number"),
        ("privacy.accountant && privacy.ok", "yes or no"),
        ("!privacy.steps", "yes or no"),
        ("privacy.steps ? true : false", "yes or no"),
        ("privacy.epsilon / 0 > 1", "a division by zero"),
        ("privacy.epsilon / privacy.zero > 1", "a division by zero"),
        ("privacy.epsilon * 1e308 * 1e308 > 1", "not finite"),
        ("privacy.epsilon + 'a' == 'a'", "takes numbers"),
        ("-privacy.accountant < 1", "takes numbers"),
        ("privacy.accountant.all(c, c == 'p')", "a range must be a list or a map"),
        ("privacy.epsilon.all(c, c == 'p')", "a range must be a list or a map"),
        ("size(privacy.epsilon) == 1", "size() takes"),
        ("privacy.epsilon.contains('a')", "contains() takes texts"),
        ("slices.list.all(x, x)", "yes or no"),
        ("privacy.ok && 1 / 0 > 1", "a division by zero"),
        ("1 / 0 > 1 || privacy.ok", "a division by zero"),  # CEL would swallow this one
    ],
)
def test_types_never_mix_and_errors_are_never_swallowed(expression: str, says: str) -> None:
    with pytest.raises(BadFile, match=says.replace("(", r"\(").replace(")", r"\)")):
        outcome(expression)


def test_the_work_of_one_evaluation_is_bounded() -> None:
    values = {"slices": {"list": list(range(1000))}}
    program = cel.compile("slices.list.all(a, slices.list.all(b, slices.list.all(c, a + b + c >= 0)))")
    with pytest.raises(BadFile, match="visits more than"):
        program.evaluate(values)


def test_evidence_that_nests_deep_is_an_error_and_not_a_crash() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(BadFile, match="nests too deep"):
        outcome("size(slices.deep) == 1", {"slices": {"deep": deep}})


def test_a_program_holds_no_state_between_evaluations() -> None:
    program: Program = cel.compile("privacy.epsilon <= 3")
    answers = [program.evaluate({"privacy": {"epsilon": e}}).truth for e in (1, 4, None, NAN, 2)]
    assert answers == [True, False, None, None, True]


# -- the second oracle: celpy's own evaluator, where the languages agree ----------------------------------------------

numbers = st.sampled_from(["privacy.epsilon", "privacy.delta", "dataset.units", "evaluation.auc.low", "2.5", "3.0",
                           "explanation.importance['age']", "fairness.columns.gender.groups[0].n"])  # fmt: skip
texts = st.sampled_from(["privacy.accountant", "'pld'", "'rdp'", "'p' + 'ld'"])
relations = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
calculations = st.recursive(
    numbers, lambda n: st.tuples(n, st.sampled_from("+-*"), n).map(lambda t: f"({t[0]} {t[1]} {t[2]})"), max_leaves=4
)
atoms = st.one_of(
    st.tuples(calculations, relations, calculations).map(" ".join),
    st.tuples(texts, relations, texts).map(" ".join),
    st.sampled_from(
        [
            "privacy.ok",
            "true",
            "false",
            "has(privacy.epsilon)",
            "has(privacy.nope)",
            "'age' in explanation.importance",
            "'nope' in explanation.importance",
            "privacy.accountant in ['pld', 'rdp']",
            "privacy.accountant.startsWith('p')",
            f"{GROUPS}.all(g, g.auc.low > 0.85)",
            f"{GROUPS}.exists(g, g.auc.low > 0.85)",
            f"{GROUPS}.exists_one(g, g.auc.low > 0.85)",
            f"{GROUPS}.filter(g, g.auc.low > 0.85).size() > 0",
            "explanation.importance.all(k, explanation.importance[k] > 0.15)",
        ]
    ),
)
booleans = st.recursive(
    atoms,
    lambda b: st.one_of(
        st.tuples(b, st.sampled_from(["&&", "||"]), b).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        b.map(lambda e: f"!({e})"),
        st.tuples(b, b, b).map(lambda t: f"({t[0]}) ? ({t[1]}) : ({t[2]})"),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def celpy_environment() -> Iterator[Any]:
    """celpy raises the recursion limit of the whole process; its own evaluator is the only one that needs it."""
    import celpy

    limit = sys.getrecursionlimit()
    yield celpy.Environment()
    sys.setrecursionlimit(limit)


@given(expression=booleans.map(lambda e: f"privacy.ok && ({e})").filter(lambda e: len(e) <= cel.MAX_LENGTH))
def test_where_all_is_measured_celpy_evaluates_the_same(celpy_environment: Any, expression: str) -> None:
    import celpy
    from celpy.celtypes import BoolType

    def doubles(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: doubles(item) for key, item in value.items() if item is not None}
        if isinstance(value, list):
            return [doubles(item) for item in value if item is not None]
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    context = {kind: celpy.json_to_cel(doubles(values)) for kind, values in VALUES.items()}
    oracle = celpy_environment.program(celpy_environment.compile(expression)).evaluate(context)
    assert isinstance(oracle, BoolType)
    assert outcome(expression).truth is bool(oracle)


@given(st.text(alphabet="privacy.epsilon<>=!&|?:()[]'\"0123456789,+-*/% \n\\xuUgall{}hs_", max_size=60))
def test_any_text_compiles_or_is_a_bad_file(text: str) -> None:
    try:
        program = cel.compile(text)
    except BadFile:
        return
    assert program.paths
