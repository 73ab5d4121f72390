"""No suppressed cell of a few people can be computed: by exhaustive search on small tables, by LP on larger ones."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.disclosure import MINIMUM_CELL, feasible, protect, suppressed_cells, suppressed_groups

groups = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1)
pairs = st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz"))
tables = st.dictionaries(pairs, st.integers(1, 60), min_size=1)
small_tables = st.dictionaries(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), st.integers(1, 6), min_size=1)
cubes = st.dictionaries(st.tuples(*[st.sampled_from("ab")] * 3), st.integers(1, 40), min_size=2)


def lines_of(sizes: Mapping[tuple[str, str], int], minimum_cell: int) -> list[list[tuple[str, str]]]:
    """Every total of a table of two columns that is published: written here once more, on purpose."""
    found = [list(sizes)]
    for axis in (0, 1):
        totals: Counter[str] = Counter()
        for cell, size in sizes.items():
            totals[cell[axis]] += size
        shown = set(totals) - set(suppressed_groups(totals, minimum_cell))
        found += [[cell for cell in sizes if cell[axis] == name] for name in shown]
    return found


def worlds(
    sizes: Mapping[Any, int], hidden: Sequence[Any], lines: Sequence[Collection[Any]]
) -> Iterator[dict[Hashable, int]]:
    """Every table that fits what is published, by trying them all."""
    rest = sum(sizes[cell] for cell in hidden)
    for guess in itertools.product(range(rest + 1), repeat=len(hidden)):
        world = dict(zip(hidden, guess, strict=True))
        if all(
            sum(world.get(cell, 0) for cell in line) == sum(sizes[cell] for cell in line if cell in world)
            for line in lines
        ):
            yield world


@given(groups)
def test_what_is_left_when_published_groups_are_taken_from_the_total_is_never_one_small_group(
    sizes: dict[str, int],
) -> None:
    hidden = suppressed_groups(sizes)
    shown = set(sizes) - set(hidden)
    assert all(sizes[name] >= MINIMUM_CELL for name in shown)
    if hidden and shown:
        assert len(hidden) >= 2
        assert len(shown) >= 2
        for name in hidden:
            low, high = feasible(sizes, hidden, [list(sizes)], name)
            assert high - low >= MINIMUM_CELL - 1e-6
    if min(sizes.values()) >= MINIMUM_CELL:
        assert hidden == ()


@given(groups, st.sets(st.sampled_from("abcdefgh"), max_size=2))
def test_a_group_that_is_held_back_is_no_more_certain_than_a_small_one(sizes: dict[str, int], also: set[str]) -> None:
    hidden = suppressed_groups(sizes, also=also)
    assert also & set(sizes) <= set(hidden)
    if set(sizes) - set(hidden):
        for name in hidden:
            low, high = feasible(sizes, hidden, [list(sizes)], name)
            assert high - low >= MINIMUM_CELL - 1e-6


@settings(max_examples=60)
@given(small_tables)
def test_exhaustive_search_finds_no_small_cell_to_within_less_than_the_protection(
    sizes: dict[tuple[str, str], int],
) -> None:
    least = 3
    hidden = sorted(suppressed_cells(sizes, least))
    assert all(sizes[cell] >= least for cell in sizes if cell not in hidden)
    if len(hidden) in (0, len(sizes)) or sum(sizes[c] for c in hidden) ** len(hidden) > 200_000:
        return
    possible = list(worlds(sizes, hidden, lines_of(sizes, least)))
    assert {cell: sizes[cell] for cell in hidden} in possible
    for cell in hidden:
        if sizes[cell] < least:
            values = {world[cell] for world in possible}
            assert max(values) - min(values) >= least


@settings(max_examples=60)
@given(small_tables)
def test_linear_programming_and_exhaustive_search_agree_on_what_an_attacker_finds(
    sizes: dict[tuple[str, str], int],
) -> None:
    hidden = sorted(sizes)[:4]
    lines = lines_of(sizes, 3)
    if (sum(sizes[c] for c in hidden) + 1) ** len(hidden) > 200_000:
        return
    possible = list(worlds(sizes, hidden, lines))
    for cell in hidden:
        low, high = feasible(sizes, hidden, lines, cell)
        values = [world[cell] for world in possible]
        assert (round(low, 6), round(high, 6)) == (min(values), max(values))


@settings(max_examples=50)
@given(tables)
def test_no_small_cell_of_two_columns_is_determined_to_within_less_than_the_protection(
    sizes: dict[tuple[str, str], int],
) -> None:
    hidden = suppressed_cells(sizes)
    assert all(sizes[cell] >= MINIMUM_CELL for cell in sizes if cell not in hidden)
    if min(sizes.values()) >= MINIMUM_CELL:
        assert not hidden
    if len(hidden) == len(sizes):
        return
    for cell in hidden:
        if sizes[cell] < MINIMUM_CELL:
            low, high = feasible(sizes, hidden, lines_of(sizes, MINIMUM_CELL), cell)
            assert high - low >= MINIMUM_CELL - 1e-6


@settings(max_examples=40)
@given(cubes, st.data())
def test_no_small_cell_follows_from_crossed_tables(sizes: dict[tuple[str, str, str], int], data: st.DataObject) -> None:
    # three columns of which every pair is published as a table of its own, where it has the people
    lines: list[list[tuple[str, str, str]]] = [list(sizes)]
    for axes in itertools.combinations(range(3), 2):
        for key in {tuple(cell[a] for a in axes) for cell in sizes}:
            line = [cell for cell in sizes if tuple(cell[a] for a in axes) == key]
            if sum(sizes[cell] for cell in line) >= MINIMUM_CELL:
                lines.append(line)
    also = data.draw(st.sets(st.sampled_from(sorted(sizes)), max_size=1))
    hidden = protect(sizes, lines, MINIMUM_CELL, also)
    assert also <= hidden
    if len(hidden) == len(sizes):
        return
    for cell in hidden:
        if sizes[cell] < MINIMUM_CELL or cell in also:
            low, high = feasible(sizes, hidden, lines, cell)
            assert high - low >= MINIMUM_CELL - 1e-6


def test_totals_that_say_too_much_by_themselves_leave_nothing_to_publish() -> None:
    sizes = {("a", "x"): 3, ("a", "y"): 8, ("b", "z"): 50}
    assert protect(sizes, [[("a", "x")], list(sizes)], MINIMUM_CELL) == set(sizes)


def test_the_least_is_suppressed() -> None:
    sizes = {(a, b): 50 for a in "abc" for b in "xyz"}
    sizes["a", "x"] = 3
    hidden = suppressed_cells(sizes)
    assert ("a", "x") in hidden
    assert len(hidden) == 4  # a rectangle: fewer would follow from a line


def test_the_same_table_is_suppressed_in_the_same_way() -> None:
    sizes = {(a, b): 7 + (i * j) % 23 for i, a in enumerate("abcdef") for j, b in enumerate("uvwxyz")}
    assert len({suppressed_cells(dict(sorted(sizes.items(), reverse=back))) for back in (False, True)}) == 1


def test_a_table_without_small_cells_is_published_whole() -> None:
    assert protect({"a": 10, "b": 11}, [["a", "b"]], MINIMUM_CELL) == frozenset()
    assert protect({}, [], MINIMUM_CELL) == frozenset()


@pytest.mark.parametrize("status", [1, 2, 4])
def test_where_the_solver_gives_no_answer_everything_is_suppressed(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """An iteration limit or numerical trouble, which no small table brings about."""
    sizes = {("a", "x"): 3, ("a", "y"): 50, ("b", "x"): 60, ("b", "y"): 70, ("c", "x"): 80, ("c", "y"): 90}
    assert 0 < len(suppressed_cells(sizes)) < len(sizes)
    failed = scipy.optimize.OptimizeResult(status=status, x=None)
    monkeypatch.setattr(scipy.optimize, "linprog", lambda *_, **__: failed)
    assert suppressed_cells(sizes) == frozenset(sizes)
