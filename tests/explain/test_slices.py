"""Slice search against loops and scipy, planted slices, data of chance alone, and what may be published of people."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pellucid.errors import BadData, UnknownName
from pellucid.evidence import Estimate, Evidence, canonical
from pellucid.explain.intervals import rate
from pellucid.explain.slices import Slices, find_slices
from pellucid.explain.slices.columns import code_table, quantile_edges, roundest
from pellucid.explain.slices.figures import decade, estimate, overlap, ratio
from pellucid.explain.slices.halves import halves
from pellucid.explain.slices.search import MAX_TABLES, search
from pellucid.explain.slices.significance import Sample, adjust, welch


def values(rows: int, columns: int, levels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, levels, (rows, columns))


def named(matrix: np.ndarray) -> dict[str, np.ndarray]:
    return {f"c{column}": matrix[:, column] for column in range(matrix.shape[1])}


def errors(matrix: np.ndarray, planted: list[tuple[Mapping[int, int], float]], base: float, seed: int) -> np.ndarray:
    """0/1 errors at rate ``base``, and at another where all values of a planted conjunction meet."""
    chance = np.full(len(matrix), base)
    for where, level in planted:
        chance[np.logical_and.reduce([matrix[:, c] == v for c, v in where.items()])] = level
    return (np.random.default_rng([seed, 1]).random(len(matrix)) < chance).astype(np.float64)


def words(where: Mapping[int, int]) -> str:
    return " and ".join(f"c{c} = {v}" for c, v in where.items())


def found(result: Slices) -> set[str]:
    return {one.where for one in result.slices}


# --- the search against a loop over rows


def above(inside: np.ndarray, outside: np.ndarray) -> tuple[float, float]:
    """Welch by scipy; where the variance inside is the lower one, by hand with the one outside."""
    if len(inside) < 2 or len(outside) < 2:
        return 0.0, 1.0
    a, b = max(inside.var(ddof=1), outside.var(ddof=1)), outside.var(ddof=1)
    n, m = len(inside), len(outside)
    gap = inside.mean() - outside.mean()
    if a / n + b / m == 0:
        t = math.copysign(math.sqrt(n + m - 1), gap) if gap else 0.0
        return t, float(stats.t.sf(t, n + m - 2)) if gap > 0 else 1.0
    t = gap / math.sqrt(a / n + b / m)
    freedom = (a / n + b / m) ** 2 / ((a / n) ** 2 / (n - 1) + (b / m) ** 2 / (m - 1))
    return t, float(stats.t.sf(t, freedom)) if t > 0 else 1.0


def naive(matrix: np.ndarray, losses: np.ndarray, order: int, minimum: int) -> dict[tuple, tuple[float, float]]:
    """t and p of every conjunction that is large enough, one row mask after the other."""
    rows, columns = matrix.shape
    everything = {}
    big = {
        (c, v)
        for c in range(columns)
        for v in np.unique(matrix[:, c]).tolist()
        if minimum <= (matrix[:, c] == v).sum() <= rows - minimum
    }
    for size in range(1, order + 1):
        for where in itertools.combinations(sorted(big), size):
            if len({c for c, _ in where}) < size:
                continue
            inside = np.logical_and.reduce([matrix[:, c] == v for c, v in where])
            if inside.sum() < minimum:
                continue
            t, p = above(losses[inside], losses[~inside])
            for left_out in where if size > 1 else ():
                rest = np.logical_and.reduce([matrix[:, c] == v for c, v in where if (c, v) != left_out]) & ~inside
                p = max(p, above(losses[inside], losses[rest])[1] if rest.sum() >= 10 else 1.0)
            everything[where] = (t, p)
    return everything


@settings(max_examples=25)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 3]),
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.booleans(),
    st.integers(40, 300),
)
def test_every_conjunction_is_searched_and_its_test_equals_a_loop_over_rows(
    seed: int, order: int, levels: list[int], binary: bool, rows: int
) -> None:
    rng = np.random.default_rng(seed)
    # skewed values: some cells are too small, and some columns have one value
    matrix = np.stack([np.minimum(rng.geometric(0.4, rows) - 1, level - 1) for level in levels], axis=1)
    chance = 0.2 + 0.5 * (matrix[:, 0] == 0) * (matrix[:, -1] == 0)
    losses = (rng.random(rows) < chance).astype(float) if binary else rng.exponential(chance)
    level = 0.45
    screened = search([c.astype(np.int32) for c in matrix.T], losses, order=order, minimum=10, q=level)
    twin = naive(matrix, losses, order, 10)
    assert screened.searched == len(twin)
    p = np.array([p for _, p in twin.values()])
    adjusted = stats.false_discovery_control(p) if p.size else p
    expected = {where: (*tp, q) for (where, tp), q in zip(twin.items(), adjusted, strict=True) if q <= level - 1e-9}
    got = {one.where: (one.t, one.p, one.q) for one in screened.found if one.q <= level - 1e-9}
    assert got.keys() == expected.keys()
    for where, figures in got.items():
        assert figures == pytest.approx(expected[where], rel=1e-7, abs=1e-9)
    assert [one.t for one in screened.found] == sorted((one.t for one in screened.found), reverse=True)


@pytest.mark.slow
def test_counts_are_exact_where_single_precision_is_not() -> None:
    # 2^24 + 2 rows: a sum of float32 ones stops at 2^24
    rows = (1 << 24) + 2
    codes = np.zeros(rows, dtype=np.int32)
    codes[:10] = 1
    losses = np.zeros(rows)
    losses[:8] = 1.0
    screened = search([codes], losses, order=1, minimum=10, q=0.1)
    (one,) = screened.found
    assert screened.searched == 2
    assert one.where == ((0, 1),)
    # rest: 0 of rows - 10, so that only the slice varies
    assert one.t == pytest.approx(0.8 / math.sqrt(0.8 * 0.2 * 10 / 9 / 10), rel=1e-12)


def test_large_losses_with_little_spread_are_tested_accurately() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 400).astype(np.int32)
    spread = rng.exponential(size=400) * (1 + codes)
    near = search([codes], spread, order=1, minimum=10, q=0.4).found
    far = search([codes], spread + 1e7, order=1, minimum=10, q=0.4).found
    assert [one.t for one in far] == pytest.approx([one.t for one in near], rel=1e-6)


# --- the tests of significance


@pytest.mark.parametrize("seed", range(30))
def test_welch_equals_scipy_where_the_variance_inside_is_the_larger_one_and_never_claims_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = rng.exponential(rng.exponential(3), rng.integers(2, 30))
    two = rng.exponential(rng.exponential(1), rng.integers(2, 30))
    if one.mean() < two.mean():
        one, two = two, one
    t, p = welch(Sample.of(one), Sample.of(two))
    twin = stats.ttest_ind(one, two, equal_var=False, alternative="greater")
    if one.var(ddof=1) >= two.var(ddof=1):
        assert (t.item(), p.item()) == pytest.approx((twin.statistic, twin.pvalue), rel=1e-9)
    else:
        assert t.item() < twin.statistic
    assert (t.item(), p.item()) == pytest.approx(above(one, two), rel=1e-9)
    assert welch(Sample.of(two), Sample.of(one))[1].item() == 1.0  # above 0.5


def test_ten_people_who_agree_by_chance_prove_little() -> None:
    # nine in ten are wrong everywhere: ten wrong ones in a row are to be expected in every third slice
    _, p = welch(Sample.of(np.ones(10)), Sample.of(np.repeat([1.0, 0.0], [900, 100])))
    assert p.item() > 0.1


@pytest.mark.parametrize("value", [0.0, 1.0, 0.7, 3e7 / 7])
def test_where_nothing_varies_nothing_is_significant(value: float) -> None:
    assert welch(Sample.of(np.full(20, value)), Sample.of(np.full(3001, value)))[1].item() == 1.0
    # rounding leaves means that differ in the last digit, and a spread of nearly nothing
    for n, m in itertools.combinations(range(10, 200, 7), 2):
        one, two = (Sample(np.array([float(k)]), np.array([v]), np.array([1e-34])) for k, v in ((n, value), (m, value)))
        assert welch(Sample(one.n, np.nextafter(one.mean, np.inf), one.variance), two)[1].item() > 0.1


def test_a_model_that_always_fails_here_and_never_elsewhere_is_found_out() -> None:
    for value in (1.0, 0.7):
        t, p = welch(Sample.of(np.full(20, value)), Sample.of(np.zeros(30)))
        assert t.item() == pytest.approx(7.0)
        assert p.item() == pytest.approx(stats.t.sf(7.0, 48))
    kind = np.random.default_rng(0).integers(0, 5, 500)
    assert found(find_slices((kind == 3) * 1.0, {"kind": kind})) == {"kind = 3"}


def test_one_unit_proves_nothing() -> None:
    assert welch(Sample.of(np.ones(1)), Sample.of(np.arange(5.0) / 9))[1].item() == 1.0
    assert welch(Sample.of(np.ones(9)), Sample.of(np.zeros(1)))[1].item() == 1.0


def test_a_p_value_above_the_level_is_given_as_one_and_others_are_unchanged() -> None:
    rng = np.random.default_rng(3)
    n = rng.integers(2, 40, 500).astype(float)
    inside = Sample(n, rng.normal(size=500), rng.exponential(size=500))
    outside = Sample(n[::-1].copy(), rng.normal(size=500), rng.exponential(size=500))
    t, p = welch(inside, outside)
    cut_t, cut = welch(inside, outside, level=0.1)
    assert np.array_equal(t, cut_t)
    assert np.array_equal(cut, np.where(p <= 0.1, p, 1.0))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.5))
def test_adjusted_p_values_equal_scipy_also_when_only_small_ones_are_handed_over(p: list[float], q: float) -> None:
    whole = stats.false_discovery_control(p)
    assert adjust(np.array(p), len(p)) == pytest.approx(whole)
    small = np.array([value for value in p if value <= q])
    part = adjust(small, len(p))
    expected = whole[[value <= q for value in p]]
    # a value that is q but for rounding may fall on either side
    near = q * (1 + 1e-12)
    assert ((part <= near) == (expected <= near)).all()
    assert part[part <= near] == pytest.approx(expected[expected <= near])


def test_rows_of_one_person_are_not_counted_as_evidence_of_their_own() -> None:
    rng = np.random.default_rng(4)
    by_person = rng.exponential(size=30)
    rows = np.repeat(by_person, 7)
    people = np.repeat(np.arange(30), 7)
    once, often = Sample.of(by_person), Sample.of(rows, people)
    assert often.n.item() == 30
    assert often.mean.item() == pytest.approx(once.mean.item())
    assert often.variance.item() == pytest.approx(once.variance.item())
    alone = Sample.of(by_person, rng.permutation(30))
    assert alone.variance.item() == pytest.approx(once.variance.item())


# --- what is found


def test_a_planted_slice_of_the_size_in_the_field_notes_is_found_and_nothing_else() -> None:
    matrix = values(50_000, 30, 10, seed=1)
    planted = {3: 4, 17: 2}
    losses = errors(matrix, [(planted, 0.75)], 0.15, seed=1)
    result = find_slices(losses, named(matrix), order=2)
    assert found(result) == {words(planted)}
    (card,) = result.slices
    inside = int(((matrix[:, 3] == 4) & (matrix[:, 17] == 2)).sum())
    assert 450 < inside < 550
    assert inside - 20 < card.n <= inside
    assert card.error.low < 0.75 < card.error.high
    assert card.lift.low < 0.75 / 0.15 < card.lift.high
    assert result.searched > 43_000
    assert card.confirmed.q <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_planted_slices_of_one_two_and_three_values_are_all_found(seed: int) -> None:
    matrix = values(50_000, 12, 5, seed)
    planted = [{0: 1}, {2: 3, 5: 0}, {7: 4, 8: 1, 11: 2}]
    losses = errors(matrix, list(zip(planted, (0.3, 0.6, 0.75), strict=True)), 0.15, seed)
    result = find_slices(losses, named(matrix))
    assert {words(where) for where in planted} <= found(result)
    assert len(result.slices) <= 4


def test_an_interaction_that_no_single_column_shows_is_found() -> None:
    matrix = values(20_000, 6, 2, seed=5)
    # wrong where the two agree: each column alone says nothing
    losses = errors(matrix, [({1: 0, 4: 0}, 0.5), ({1: 1, 4: 1}, 0.5)], 0.2, seed=5)
    assert found(find_slices(losses, named(matrix))) == {"c1 = 0 and c4 = 0", "c1 = 1 and c4 = 1"}


def test_a_longer_slice_that_adds_nothing_and_a_shorter_one_that_it_explains_are_dropped() -> None:
    matrix = values(30_000, 8, 4, seed=6)
    single = find_slices(errors(matrix, [({2: 1}, 0.5)], 0.15, seed=6), named(matrix))
    assert found(single) == {"c2 = 1"}  # not "c2 = 1 and c5 = 3", which is as bad
    pair = find_slices(errors(matrix, [({2: 1, 3: 0}, 0.7)], 0.15, seed=6), named(matrix))
    assert found(pair) == {"c2 = 1 and c3 = 0"}  # not "c2 = 1", which is worse only by it


def test_a_copy_of_a_column_makes_no_second_card() -> None:
    matrix = values(8000, 3, 4, seed=7)
    losses = errors(matrix, [({1: 2}, 0.6)], 0.2, seed=7)
    result = find_slices(losses, {**named(matrix), "copy": np.array(list("wxyz"))[matrix[:, 1]]})
    assert len(result.slices) == 1
    assert result.slices[0].where in ("c1 = 2", "copy = y")


def test_other_losses_than_errors_have_means_and_a_lift() -> None:
    rng = np.random.default_rng(8)
    matrix = values(10_000, 5, 4, seed=8)
    losses = rng.exponential(np.where((matrix[:, 0] == 1) & (matrix[:, 3] == 2), 2.0, 0.5))
    (card,) = find_slices(losses, named(matrix)).slices
    assert card.where == "c0 = 1 and c3 = 2"
    assert card.error.low < 2.0 < card.error.high
    assert card.lift.low < 4.0 < card.lift.high


def test_ranges_missing_values_booleans_and_names_are_told_in_words() -> None:
    rng = np.random.default_rng(9)
    rows = 12_000
    age = rng.integers(18, 90, rows).astype(float)
    income = np.where(rng.random(rows) < 0.1, np.nan, rng.lognormal(10, 1, rows))
    job = rng.choice(["sales", "nurse", "baker"], rows)
    member = rng.random(rows) < 0.5
    table = {"age": age, "income": income, "job": job.astype(object), "member": member}
    bad = {
        "age 25 to 35 and job = sales": (age >= 25) & (age < 35) & (job == "sales"),
        "income missing": np.isnan(income),
        "age 65 or more and member = true": (age >= 65) & member,
        "age below 25": age < 25,
    }
    chance = np.full(rows, 0.1)
    for inside in bad.values():
        chance[inside] = 0.6
    result = find_slices((rng.random(rows) < chance) * 1.0, table, edges={"age": [25, 35, 50, 65]})
    assert set(bad) <= found(result)


# --- data of chance alone


def chance_alone(seed: int) -> Slices:
    rng = np.random.default_rng([seed, 7])
    matrix = values(2000, 8, 4, seed)
    kind = seed % 4
    losses = (
        rng.random(2000) < (0.05, 0.5, 0.9)[kind]
        if kind < 3
        else rng.lognormal(0, 1, 2000)  # rare, even, usual, skewed
    )
    return find_slices(losses * 1.0, named(matrix), share=0.0, seed=seed)


def test_data_of_chance_alone_yields_nothing() -> None:
    assert not any(chance_alone(seed).slices for seed in range(12))


@pytest.mark.slow
def test_false_discoveries_of_chance_alone_are_at_or_below_q_over_200_seeds() -> None:
    # every discovery is false here: the false discovery rate is the share of seeds with any
    share = np.mean([bool(chance_alone(seed).slices) for seed in range(200)])
    assert share <= 0.1


@pytest.mark.slow
def test_false_discoveries_beside_true_ones_are_at_or_below_q() -> None:
    # truly worse are the planted ones and what overlaps them; columns 4 to 9 say nothing, alone or together
    shares = []
    for seed in range(40):
        matrix = values(6000, 10, 4, seed)
        losses = errors(matrix, [({0: 1}, 0.4), ({1: 2, 2: 3}, 0.6)], 0.15, seed)
        cards = find_slices(losses, named(matrix), seed=seed).slices
        false = sum(set(one.columns) <= {f"c{c}" for c in range(4, 10)} for one in cards)
        shares.append(false / max(1, len(cards)))
    assert np.mean(shares) <= 0.1


# --- halves


def test_halves_are_of_people_and_differ_by_one_at_most() -> None:
    people = np.random.default_rng(1).integers(0, 101, 5000)
    people = np.unique(people, return_inverse=True)[1].astype(np.int64)
    one, two = halves(np.arange(5000.0), [], people, seed=3)
    assert not set(one.units) & set(two.units)
    assert abs(one.people - two.people) <= 1
    assert sorted([*one.losses, *two.losses]) == list(range(5000))


def test_a_person_of_many_rows_is_no_slice() -> None:
    rng = np.random.default_rng(2)
    rows = 6000
    people = rng.integers(0, 600, rows)
    # eight people, 80 rows: as a slice of rows it would be large and clearly worse
    table = {"club": np.where(people < 8, "x", "y"), "other": rng.choice(["a", "b"], rows)}
    losses = np.where(people < 8, rng.random(rows) < 0.9, rng.random(rows) < 0.1) * 1.0
    assert "club = x" in found(find_slices(losses, table, share=0.0))
    result = find_slices(losses, table, people=people, share=0.0)
    assert "club = x" not in found(result)
    assert result.error.n == 600
    assert result.how()["variance"].startswith("by person")


def test_a_slice_of_many_people_with_many_rows_is_found_and_counts_people() -> None:
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(2000), 3)
    club = rng.choice(["x", "y", "z"], 2000)[people]
    losses = (rng.random(6000) < np.where(club == "x", 0.5, 0.1)) * 1.0
    result = find_slices(losses, {"club": club}, people=np.array([f"p{p}" for p in people], dtype=object))
    (card,) = result.slices
    assert card.where == "club = x"
    assert card.n <= len(set(people[club == "x"])) < card.n + 20
    assert card.error.low < 0.5 < card.error.high


# --- what may be published


def small_world(seed: int = 0) -> Slices:
    matrix = values(3000, 4, 3, seed)
    return find_slices(errors(matrix, [({0: 1, 2: 2}, 0.7), ({1: 0}, 0.4)], 0.1, seed), named(matrix), seed=seed)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(60, 400))
def test_nobody_is_in_a_cell_of_fewer_than_ten(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.stack([np.minimum(rng.geometric(0.5, rows) - 1, 4) for _ in range(4)], axis=1)
    losses = (rng.random(rows) < np.where(matrix[:, 0] == 0, 0.1, 0.9)) * 1.0
    try:
        result = find_slices(losses, named(matrix), q=0.4, share=0.0, seed=seed)
    except BadData:  # no value is held by enough people
        return
    first, second = halves(losses, code_table(named(matrix), rows, edges={}, bins=10), None, seed)
    for card in result.slices:
        wanted = dict(part.split(" = ") for part in card.where.split(" and "))
        for half, figures in ((first, card.found), (second, card.confirmed)):
            data = [np.array([int(value) for value in np.unique(matrix[:, c])])[half.codes[c]] for c in range(4)]
            inside = np.logical_and.reduce([data[int(name[1:])] == int(value) for name, value in wanted.items()])
            assert inside.sum() >= 10
            assert (~inside).sum() >= 10
            assert figures.n == inside.sum() // 10 * 10
            for name in wanted if len(wanted) > 1 else ():  # what a shorter slice has beyond this one
                others = [data[int(c[1:])] == int(v) for c, v in wanted.items() if c != name]
                assert (np.logical_and.reduce(others) & ~inside).sum() >= 10


def test_every_count_is_rounded_and_every_rate_is_on_its_grid() -> None:
    document = small_world().values()
    assert document["slices"]

    def walk(item: object) -> None:
        if isinstance(item, dict):
            if "value" in item:
                assert item.keys() == {"value", "low", "high", "n"}
            if "n" in item:
                assert item["n"] % 10 == 0
            for part in item.values():
                walk(part)
        if isinstance(item, list):
            for part in item:
                walk(part)

    walk(document)
    for card in document["slices"]:
        for half in (card["half_a"], card["half_b"]):
            assert half["error"]["value"] == rate(half["error"]["value"], half["n"]).value
            assert half["p"] in (0.1, *(10.0**-k for k in range(2, 10)))
            assert half["lift"]["value"] == pytest.approx(
                half["error"]["value"] / half["rest"]["value"], abs=1e-6
            )  # of published numbers
        assert card["error"] == card["half_b"]["error"]


def test_a_p_value_is_rounded_up_to_a_power_of_ten_and_never_zero() -> None:
    assert [decade(p, 0.1) for p in (0.0, 1e-300, 2e-9, 1e-6, 1.1e-6, 0.0099, 0.03)] == [
        1e-9,
        1e-9,
        1e-8,
        1e-6,
        1e-5,
        0.01,
        0.1,
    ]
    assert decade(0.03, 0.05) == 0.05


def test_a_lift_without_errors_elsewhere_is_absent_rather_than_infinite() -> None:
    assert ratio(Estimate(0.5, 0.4, 0.6, 100), Estimate(0.0, 0.0, 0.1, 100)) is None
    lift = ratio(Estimate(0.5, 0.4, 0.6, 100), Estimate(0.25, 0.2, 0.3, 900))
    assert lift.value == 2
    assert lift.low == pytest.approx(2 * math.exp(-math.hypot(math.log(1.25), math.log(1.2))))
    assert lift.high == pytest.approx(2 * math.exp(math.hypot(math.log(1.2), math.log(1.25))))


def test_an_overlap_of_fewer_than_ten_people_is_not_shown() -> None:
    assert overlap(9, 400) is None
    assert overlap(100, 400) == 0.25
    assert overlap(399, 400) == 1.0
    assert overlap(12, 400) == 0.05
    cards = small_world().slices
    place = {card.where: number for number, card in enumerate(cards)}
    one, two = place["c0 = 1 and c2 = 2"], place["c1 = 0"]
    assert cards[one].overlap[two] == cards[two].overlap[one]
    # independent columns: 1/27 in both, of 1/9 + 1/3 - 1/27 in either
    assert cards[one].overlap[two] == pytest.approx(1 / 11, abs=0.03)


def test_a_rate_is_wilsons_and_other_means_are_normal() -> None:
    losses = np.repeat([0.0, 1.0], [80, 27])
    assert estimate(Sample.of(losses), binary=True, by_row=True) == rate(27 / 107, 107)
    other = np.random.default_rng(0).exponential(size=107)
    got = estimate(Sample.of(other), binary=False, by_row=True)
    half = stats.norm.ppf(0.975) * other.std(ddof=1) / math.sqrt(107)
    assert (got.value, got.low, got.high) == pytest.approx((other.mean(), other.mean() - half, other.mean() + half))


def test_evidence_is_uncovered_for_auditors_and_canonical(subject) -> None:
    result = small_world()
    evidence = result.evidence(subject)
    assert (evidence.kind, evidence.coverage, evidence.tier) == ("slices", "uncovered", "auditor")
    assert Evidence.from_statement(json.loads(canonical(evidence.statement()))) == evidence
    assert evidence.how["seed"] == 0
    assert evidence.how["searched"] == evidence.values["searched"] == 174  # 12 + 54 + 108
    assert evidence.how["q"] == 0.1


def test_a_seed_makes_it_repeatable_and_the_order_of_columns_changes_no_figure() -> None:
    one, two, other = small_world(), small_world(), small_world(1)
    assert one == two
    assert one.values() != other.values()
    matrix = values(3000, 4, 3, 0)
    losses = errors(matrix, [({0: 1, 2: 2}, 0.7), ({1: 0}, 0.4)], 0.1, 0)
    turned = find_slices(losses, dict(reversed(named(matrix).items())))
    assert [card.found for card in turned.slices] == [card.found for card in one.slices]


def test_at_most_top_cards_and_the_number_confirmed_is_said() -> None:
    matrix = values(20_000, 4, 5, seed=3)
    losses = errors(matrix, [({0: 1}, 0.5), ({1: 1}, 0.5), ({2: 1}, 0.5)], 0.1, seed=3)
    result = find_slices(losses, named(matrix), top=2)
    assert len(result.slices) == 2
    assert result.confirmed >= 3


# --- columns


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=300), st.integers(2, 12))
def test_every_quantile_bin_holds_ten_people(numbers: list[float], bins: int) -> None:
    data = np.array(numbers)
    edges = quantile_edges(data, bins)
    assert (np.diff(edges) > 0).all()
    counts = np.bincount(np.searchsorted(edges, data, side="right"), minlength=edges.size + 1)
    assert edges.size == 0 or counts.min() >= 10


def test_quantile_edges_are_round_numbers_and_no_persons_value() -> None:
    data = np.random.default_rng(0).lognormal(10, 0.7, 5000)
    edges = quantile_edges(data, 10)
    assert 7 <= edges.size <= 9
    assert not set(edges) & set(data)
    assert all(float(f"{edge:.2g}") == edge for edge in edges)
    counts = np.bincount(np.searchsorted(edges, data, side="right"))
    assert counts.max() < 1000


def test_a_value_that_most_people_have_gets_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(1)
    gain = np.where(rng.random(3000) < 0.9, 0.0, rng.uniform(100, 9000, 3000))
    (column,) = code_table({"gain": gain}, 3000, edges={}, bins=10)
    assert (np.bincount(column.codes)[0], column.words[0]) == ((gain == 0).sum(), "gain below 100")


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_the_roundest_number_lies_in_its_range(low: float, width: float) -> None:
    high = low + width
    if low < high:
        assert low < roundest(low, high) <= high


def test_the_roundest_number_has_the_fewest_digits() -> None:
    got = [roundest(*ends) for ends in ((34, 35.5), (-3, 7), (1234, 1311), (0.213, 0.318), (47, 61), (-0.32, -0.21))]
    assert got == [35, 0, 1300, 0.3, 50, -0.3]


def test_few_values_are_kept_as_they_are_and_many_are_binned() -> None:
    few, many = code_table({"kids": np.arange(60) % 4, "x": np.arange(60.0)}, 60, edges={}, bins=4)
    assert few.words == ("kids = 0", "kids = 1", "kids = 2", "kids = 3", "kids missing")
    assert few.codes.tolist() == (np.arange(60) % 4).tolist()
    assert many.words[0].startswith("x below")
    assert many.words[-1] == "x missing"


# --- bad input


def test_bad_losses_are_refused() -> None:
    table = {"a": np.array(["x", "y"] * 100)}
    good = np.tile([0.0, 1.0], 100)
    for losses in (
        np.where(np.arange(200) == 3, np.nan, good),
        np.where(np.arange(200) == 3, np.inf, good),
        good - 0.5,
        good * 1e200,
        good.reshape(2, 100),
        good.astype(str),
        good[:0],
    ):
        with pytest.raises(BadData, match="losses must be"):
            find_slices(losses, table)
    with pytest.raises(BadData, match="one value a row"):
        find_slices(good[:-1], table)
    for rows in (1, 39):
        with pytest.raises(BadData, match="10 people each"):
            find_slices(good[:rows], {"a": table["a"][:rows]})


def test_bad_columns_are_refused_and_no_value_is_shown() -> None:
    good = np.tile([0.0, 1.0], 100)
    with pytest.raises(BadData, match="no column"):
        find_slices(good, {})
    with pytest.raises(BadData, match="not a text") as caught:
        find_slices(good, {"a": np.array(["secret"] * 199 + [None], dtype=object)})
    assert "secret" not in str(caught.value)
    with pytest.raises(BadData, match="infinite"):
        find_slices(good, {"a": np.where(np.arange(200) == 3, np.inf, good)})
    with pytest.raises(BadData, match="text, booleans or numbers"):
        find_slices(good, {"a": np.zeros(200, dtype="datetime64[s]")})
    with pytest.raises(UnknownName, match='did you mean "age"'):
        find_slices(good, {"age": good}, edges={"agee": [1]})
    with pytest.raises(BadData, match="rising"):
        find_slices(good, {"age": good}, edges={"age": [2, 1]})
    with pytest.raises(BadData, match="only numbers"):
        find_slices(good, {"a": np.array(["x", "y"] * 100)}, edges={"a": [1]})
    for people in (np.arange(199), np.linspace(0, 1, 200), np.array([None] * 200, dtype=object)):
        with pytest.raises(BadData, match="people"):
            find_slices(good, {"a": good}, people=people)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"order": 0}, {"order": 4}, {"bins": 1}, {"top": 0}, {"seed": -1}, {"share": 0.5}, {"share": -0.1}),
        *({"q": 0.0}, {"q": 0.5}, {"q": math.nan}),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadData):
        find_slices(np.zeros(100), {"a": np.arange(100) % 2}, **wrong)


def test_a_table_in_which_nothing_can_be_searched_is_refused_rather_than_called_clean() -> None:
    losses = np.tile([0.0, 1.0], 100)
    for column in (np.full(200, "same"), np.array([f"name {row}" for row in range(200)])):
        with pytest.raises(BadData, match="shared by enough people"):
            find_slices(losses, {"a": column})


def test_a_model_without_errors_or_with_nothing_else_has_no_slices() -> None:
    table = {"a": np.arange(400) % 3, "same": np.zeros(400)}
    for losses in (np.zeros(400), np.ones(400), np.full(400, 0.7)):
        result = find_slices(losses, table)
        assert result.slices == ()
        assert result.values()["slices"] == []


def test_more_columns_than_rows_are_searched_or_said_to_be_too_many() -> None:
    matrix = values(90, 100, 2, seed=0)
    losses = (matrix[:, 5] == 1) * 1.0
    result = find_slices(losses, named(matrix), order=2)
    assert found(result) == {"c5 = 1"}
    columns = 1 + math.isqrt(2 * MAX_TABLES)
    with pytest.raises(BadData, match="fewer columns"):
        find_slices(losses, named(values(90, columns, 2, seed=0)), order=2)


def test_the_table_and_the_losses_are_not_written_to() -> None:
    matrix = values(500, 3, 3, seed=0)
    losses = errors(matrix, [], 0.3, seed=0)
    table = {name: column.copy() for name, column in named(matrix).items()}
    for array in (losses, *table.values()):
        array.setflags(write=False)
    find_slices(losses, table)


def test_a_value_that_most_people_have_is_searched_whatever_share_a_slice_must_be() -> None:
    rng = np.random.default_rng(1)
    most = rng.random(4000) < 0.8
    losses = (rng.random(4000) < np.where(most, 0.3, 0.1)) * 1.0
    assert found(find_slices(losses, {"most": most}, share=0.4)) == {"most = true"}
