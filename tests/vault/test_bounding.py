"""At most so many rows of a person are sealed, and which of them depends on nobody else."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid import vault
from pellucid.errors import BadData
from pellucid.schema import Schema
from pellucid.vault.bounding import bound_rows

SCHEMA = """
[dataset]
target = "y"
unit = "person"
units = 100
rows_per_unit = 3
purposes = ["p"]
[columns.person]
type = "identifier"
sensitivity = "identifier"
[columns.visit]
type = "integer"
bounds = [0, 1000000]
sensitivity = "personal"
[columns.y]
type = "boolean"
sensitivity = "personal"
"""
KEY = bytes(range(32))


def visits(people: list[str]) -> pa.Table:
    """One row for each name; the visit says which."""
    return pa.table({"person": people, "visit": list(range(len(people))), "y": [True] * len(people)})


def kept(table: pa.Table, key: bytes | None = KEY) -> list[tuple[str, int]]:
    bound = bound_rows(vault.check_table(table, Schema.parse(SCHEMA)), Schema.parse(SCHEMA), key=key)
    return list(zip(bound.column("person").to_pylist(), bound.column("visit").to_pylist(), strict=True))


@given(st.lists(st.sampled_from("abcdé"), min_size=1, max_size=40))
def test_nobody_has_more_rows_than_declared_and_order_stays(people: list[str]) -> None:
    """Everybody keeps all rows up to the bound, and exactly so many beyond it."""
    found = kept(visits(people))
    assert [visit for _, visit in found] == sorted(visit for _, visit in found)
    assert Counter(person for person, _ in found) == {p: min(n, 3) for p, n in Counter(people).items()}
    assert all(people[visit] == person for person, visit in found)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_which_rows_of_a_person_stay_depends_on_nobody_else(people: list[str], random: object) -> None:
    """Somebody else's rows, mixed in anywhere, change nothing: by the place among a person's own rows."""
    mixed = list(people)
    for _ in range(7):
        mixed.insert(random.randint(0, len(mixed)), "someone else")  # type: ignore[attr-defined]

    def places(names: list[str]) -> dict[str, list[int]]:
        own: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            own.setdefault(name, []).append(index)
        found: dict[str, list[int]] = {}
        for name, visit in kept(visits(names)):
            found.setdefault(name, []).append(own[name].index(visit))
        return found

    alone, together = places(people), places(mixed)
    assert together.pop("someone else", None) is not None
    assert together == alone


def test_every_row_of_a_person_is_as_likely_to_stay() -> None:
    names = [f"p{i // 10}" for i in range(20_000)]
    found = Counter(visit % 10 for _, visit in kept(visits(names), None))
    assert sum(found.values()) == 6000
    # binomial, 2000 people, chance 0.3: six standard deviations are 123
    assert all(abs(count - 600) < 123 for count in found.values()), found


def test_the_key_decides_and_is_new_each_time() -> None:
    names = ["a"] * 500
    assert kept(visits(names)) == kept(visits(names))
    assert kept(visits(names), b"other" * 6) != kept(visits(names))
    assert kept(visits(names), None) != kept(visits(names), None)


def test_without_a_bound_every_row_stays() -> None:
    schema = Schema.parse(SCHEMA.replace("rows_per_unit = 3\n", ""))
    table = vault.check_table(visits(["a"] * 9), schema)
    assert bound_rows(table, schema) is table


def test_sealed_data_holds_the_bound_and_no_trace_of_what_was_dropped(tmp_path, kit) -> None:
    sealed = kit.seal(tmp_path / "1", table=visits(["a"] * 9 + ["b"]), schema=SCHEMA)
    read = vault.read(sealed.folder, sealed.manifest, ["person", "visit", vault.TAG], sealed.release("owner"))
    assert Counter(read.column("person").to_pylist()) == {"a": 3, "b": 1}
    assert len(set(read.column(vault.TAG).to_pylist())) == 2
    other = kit.seal(tmp_path / "2", table=visits(["a"] * 3 + ["b"]), schema=SCHEMA)
    assert other.manifest.document().keys() == sealed.manifest.document().keys()
    assert other.manifest.schema == sealed.manifest.schema


def test_every_row_another_person_is_held_against_identifiers() -> None:
    """A person in several rows under unit = "row" would have several times the epsilon that is claimed."""
    schema = Schema.parse(SCHEMA.replace('unit = "person"\n', "").replace("rows_per_unit = 3\n", ""))
    vault.check_table(visits(["a", "b"]), schema)
    with pytest.raises(BadData, match="declare it as the unit, with rows_per_unit") as caught:
        vault.check_table(visits(["MARKER", "b", "MARKER "]), schema)
    assert "MARKER" not in str(caught.value)
    # who is not named is not the same person
    loose = Schema.parse(
        SCHEMA.replace('unit = "person"\n', "")
        .replace("rows_per_unit = 3\n", "")
        .replace('type = "identifier"\n', 'type = "identifier"\nmissing = "category"\n')
    )
    vault.check_table(pa.table({"person": ["a", None, None], "visit": [0, 1, 2], "y": [True] * 3}), loose)


@pytest.mark.parametrize("name", [None, "", "  "])
def test_a_row_without_a_person_is_refused(name: str | None) -> None:
    with pytest.raises(BadData, match=r'"person" is (missing|empty)'):
        vault.check_table(visits(["a", name]), Schema.parse(SCHEMA))
