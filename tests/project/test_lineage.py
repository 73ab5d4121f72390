"""Data that is made of other data: what is spent on the people in it is spent on both."""

from __future__ import annotations

from typing import Any

import pytest
from tests.project.conftest import PURPOSE, Place, make_frame

from pellucid.errors import BudgetExceeded, UnknownName
from pellucid.log import Writer, parse
from pellucid.privacy.folding import related


def release(place: Place, dataset: str, epsilon: float) -> None:
    place.open("sid").release(dataset, ["count"], purpose=PURPOSE, epsilon=epsilon)


def halved(place: Place, *parents: str) -> None:
    place.open().seal("half", make_frame().head(1500), schema=place.schema, parents=parents)


def test_data_made_of_other_data_shares_what_is_spent(sealed: Place) -> None:
    release(sealed, "applicants", 2.0)
    halved(sealed, "applicants")
    before = sealed.open().budget("applicants").spent
    assert sealed.open().budget("half").spent == before > 0
    release(sealed, "half", 1.0)
    assert sealed.open().budget("applicants").spent == sealed.open().budget("half").spent > before
    with pytest.raises(BudgetExceeded):
        release(sealed, "half", 8.0)  # which the budget of half alone would have held


def test_without_from_each_ledger_counts_for_itself(sealed: Place) -> None:
    """The sharp edge: Pellucid cannot see that the same people are in a file it was not told about."""
    release(sealed, "applicants", 2.0)
    halved(sealed)
    assert sealed.open().budget("half").spent == 0
    release(sealed, "half", 8.0)  # all of a budget that is not whole
    assert related(sealed.open().counted(), "half") == {"half"}


def test_a_version_is_never_sealed_without_what_it_is_made_of(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in between, nobody can use a version of which it is not known whose people are in it."""
    release(sealed, "applicants", 2.0)
    append = Writer.append

    def failing(writer: Writer, leaf: bytes) -> Any:
        if parse(0, leaf).kind == "lineage":
            raise OSError("the disk is full")
        return append(writer, leaf)

    monkeypatch.setattr(Writer, "append", failing)
    with pytest.raises(OSError, match="disk"):
        halved(sealed, "applicants")
    monkeypatch.undo()
    with pytest.raises(UnknownName):
        sealed.open().budget("half")
    halved(sealed, "applicants")
    assert sealed.open().budget("half").spent > 0
    assert sealed.verified() > 0


def test_a_budget_that_a_later_schema_declares_changes_nothing_and_is_told(sealed: Place, capsys: Any) -> None:
    sealed.open().seal("applicants", make_frame(), schema=sealed.schema)
    assert "the schema declares" not in capsys.readouterr().err
    sealed.schema.write_text(sealed.schema.read_text(encoding="utf-8").replace("epsilon = 8.0", "epsilon = 20.0"))
    assert sealed.open().seal("applicants", make_frame(), schema=sealed.schema) == "applicants@3"
    assert "the schema declares a budget of 20 at delta 1e-05; in force stays 8" in capsys.readouterr().err
    budget = sealed.open().budget("applicants").budget
    assert budget is not None
    assert budget.epsilon == 8.0
