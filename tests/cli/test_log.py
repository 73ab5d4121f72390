"""``pellucid log show``: lines that fit."""

from __future__ import annotations

from typing import Any


def test_the_listing_fits_80_columns_and_loses_no_word(pellucid: Any, corridor: Any) -> None:
    here = ("--project", corridor.root)
    lines = pellucid("log", "show", *here).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert set(lines[1]) == {"─"}
    entries = pellucid("log", "show", *here, "--json").json
    assert sum(line.split(" ", 1)[0].isdigit() for line in lines[2:]) == len(entries)
    words = "".join("".join(lines[2:]).split())
    for entry in entries:
        assert str(entry["about"]).split()[0] in words
