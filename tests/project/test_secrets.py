"""Plaintext stays in the sealed files: planted values are looked for everywhere else."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from tests.project.conftest import PASSPHRASE, PURPOSE, Place, found, make_frame, make_plan

from pellucid.errors import PellucidError
from pellucid.project import data, people, publish
from pellucid.project.model import load

ROWS = 4153  # with a test share near a third no count looks like a year, and methods are cited with years
"""The exact number of people, which is private: the schema declares 3,000."""
MARKERS = ("MARKER-person-7f3a", "MARKER-note-91bc", "31337.137", "27182.818")


def planted() -> Any:
    frame = make_frame(ROWS)
    frame.loc[17, "person"] = "MARKER-person-7f3a"
    frame.loc[18, "note"] = "MARKER-note-91bc"
    frame.loc[19, "income"] = 31337.137
    frame.loc[20, "income"] = 27182.818
    return frame


def found_in(text: bytes | str) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [marker for marker in MARKERS if marker.encode() in data or marker.encode("utf-16-le") in data]


def test_planted_values_are_found_in_no_report_bundle_log_error_repr_or_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    place = found(tmp_path / "tiny")
    said: list[str] = []

    def failing(act: Any) -> None:
        try:
            act()
        except PellucidError as error:
            said.extend([str(error), repr(error), repr(error.args), repr(vars(error).get("where"))])
        else:
            pytest.fail("this should have failed")

    owner = place.open()
    label = owner.seal("applicants", planted(), schema=place.schema)
    sealed = data.dataset(owner, label)
    said += [repr(owner), repr(sealed), repr(sealed.manifest), repr(owner.identity), repr(owner.log_key)]
    # errors of every kind about the very rows that hold a marker
    failing(lambda: owner.seal("applicants", planted().assign(job="MARKER-note-91bc"), schema=place.schema))
    failing(lambda: owner.seal("applicants", planted().assign(age=31337.137), schema=place.schema))
    failing(lambda: owner.seal("applicants", planted().drop(columns="age"), schema=place.schema))
    csv = tmp_path / "broken.csv"
    csv.write_text("person,age\nMARKER-person-7f3a,31337.137,27182.818\n", encoding="utf-8")
    failing(lambda: owner.seal("applicants", csv, schema=place.schema))
    csv.unlink()
    failing(lambda: place.open("sid").read("applicants", ["person"], purpose=PURPOSE))
    # the corridor
    place.train()
    model = load(place.open("kim"), "tiny")
    model.evaluate()
    model.explain()
    model.attack()
    said += [repr(model.sealed), repr(model.subject), repr(place.open("kim").membership)]
    for tier in ("public", "auditor", "steward"):
        made = publish.report(owner, "tiny", tier=tier, out=tmp_path / "out" / tier, policy=place.policy)
        said.append(made.summary)
    said += [repr(owner.budget("applicants")), repr(publish.verify_project(owner)), repr(owner.entries())]
    run = place.open("sid").run("again", data="applicants", purpose=PURPOSE, plan=make_plan(), features=["income"])
    said.append(repr(run))
    said += [repr(people.role_key(owner, "steward", 1)), repr(owner.identity.wrapping)]

    for text in said:
        assert found_in(text) == []
        assert PASSPHRASE not in text
    assert found_in("".join(capfd.readouterr())) == []
    assert found_in(caplog.text) == []
    for leaf in owner.log.entries():
        assert found_in(leaf) == []
    for entry in owner.entries():
        assert found_in(repr(dict(entry.body))) == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"report.html", "bundle.json", "log.sqlite", "manifest.json"} <= {path.name for path in files}
    for path in files:
        assert found_in(path.read_bytes()) == [], path
        assert found_in(path.name) == []
    assert not [path for path in temporary.rglob("*") if path.is_file()]
    # and they are there for whoever may read them
    table = place.open("sam").read("applicants", ["person", "note", "income"], purpose=PURPOSE).to_pandas()
    assert [table["person"][17], table["note"][18], table["income"][19]] == [*MARKERS[:2], 31337.137]


def test_the_exact_count_of_people_is_nowhere(tmp_path: Path) -> None:
    place = found(tmp_path / "tiny")
    place.open().seal("applicants", planted(), schema=place.schema)
    place.train()
    auditor = place.open("kim")
    model = load(auditor, "tiny")
    model.evaluate()
    model.attack()
    held_out = len(model.held_out()[0])
    # what ends in zero may stand there: published counts are rounded down to ten
    counts = [count for count in (ROWS, held_out, ROWS - held_out) if count % 10]
    word = "[0-9A-Za-z.+/=]"  # not inside a digest, a key or a decimal
    private = re.compile(rf"(?<!{word})({'|'.join(map(str, counts))})(?!{word})")
    assert private.search(f"{ROWS} people")
    published = publish.report(place.open(), "tiny", tier="steward", policy=place.policy)
    for entry in place.open().entries():
        assert not private.search(str(dict(entry.body))), f"entry {entry.index}, {entry.kind}"
    assert not private.search(published.json.read_text(encoding="utf-8"))
    assert not private.search(published.summary)
    manifest = (place.root / "data" / "applicants" / "1" / "manifest.json").read_text(encoding="utf-8")
    assert not private.search(manifest)


def test_keys_and_passphrase_are_in_no_file_and_no_repr(trained: Place) -> None:
    owner = trained.open()
    secrets = [
        owner.identity.signing.secret(),
        owner.identity.wrapping.secret(),
        owner.log_key.secret(),
        PASSPHRASE.encode(),
    ]
    from pellucid.keys import b64

    needles = [form for secret in secrets for form in (secret, secret.hex().encode(), b64(secret).encode())]
    for path in trained.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), path
    shown = repr([owner, owner.identity, owner.identity.signing, owner.log_key, owner.membership, vars(owner).keys()])
    assert not any(needle.decode("latin-1") in shown for needle in needles)


def test_nothing_is_said_on_standard_output_or_error(sealed: Place) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sealed.train()
    assert (out.getvalue(), err.getvalue()) == ("", "")
