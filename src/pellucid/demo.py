"""The corridor on real data, through the public verbs: UCI Adult, as the package ``xai`` ships it.

Five people: olivia owns the project, sam keeps the data, ana trains, kim audits, ravi reads. Every command is printed
before it runs, and every one must end as it should: also the three that must be refused.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pellucid.access import shipped
from pellucid.console import say
from pellucid.errors import MissingExtra, PellucidError, Tampered

__all__ = ["CENSUS_SHA256", "INSTALL", "census", "walk"]

INSTALL: Final = "pip install --no-deps xai==0.3.0"
CENSUS_SHA256: Final = "9791f289391d1c169c52b0c325601d9e82f97eac620b7ac9fba381cb063da1af"
PASSPHRASE: Final = "pellucid-demo"  # noqa: S105  # printed for everyone to see; guards public data
PURPOSE: Final = "credit scoring"
AUDIT: Final = "fairness audit"

Verb = Callable[[Sequence[str]], int]


def census() -> Path:
    """The census file inside the installed package, found without importing it.

    Raises:
        MissingExtra: The package is not installed.
        Tampered: The file is not the one this demo was written for.
    """
    found = importlib.util.find_spec("xai")
    folder = found.submodule_search_locations[0] if found and found.submodule_search_locations else None
    path = Path(folder) / "data" / "census.csv" if folder else None
    if path is None or not path.is_file():
        raise MissingExtra("the demo's data set comes with the package xai, which is not installed", fix=INSTALL)
    if hashlib.sha256(path.read_bytes()).hexdigest() != CENSUS_SHA256:
        raise Tampered("the census file is not the one this demo was written for", where=str(path), fix=INSTALL)
    return path


def hand_over(target: Path) -> None:
    """Write the census as the file that a department would hand over: no index column, no leading blanks.

    Raises:
        MissingExtra: The data set is not installed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with census().open(newline="", encoding="utf-8") as source, target.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        for row in csv.reader(source):
            writer.writerow([value.strip() for value in row[1:]])


def walk(root: Path, verb: Verb) -> Path:
    """Walk the corridor in ``root``; returns the path of the report.

    Args:
        root: A new or empty folder, which becomes the project.
        verb: Runs one command line and returns its exit code.

    Raises:
        MissingExtra: The data set is not installed.
        PellucidError: A step did not end as it must.
    """
    census()
    started = time.monotonic()
    os.environ.setdefault("PELLUCID_PASSPHRASE", PASSPHRASE)
    here = ["--project", str(root)]

    def step(*words: str, as_: str | None = None, expect: int = 0) -> None:
        command = [*words, *here, *(["--as", as_] if as_ else [])] if words[0] != "init" else list(words)
        say(f"\n$ pellucid {' '.join(_quoted(word) for word in command)}")
        code = verb(command)
        if code != expect:
            raise PellucidError(
                f"this step ended with exit code {code}, and {expect} was expected",
                where=" ".join(words),
                fix="the lines above say why",
            )
        if expect:
            say(f"(exit code {code}, as it must be)")

    schema, recipe = str(root / "schemas" / "applicants.toml"), str(root / "recipes" / "credit.toml")
    train = ("train", "credit-risk", "--data", "applicants", "--recipe", recipe)

    _title("A project, and who may do what")
    say(f"(the demo's people share the passphrase {PASSPHRASE}; yours never should)")
    step("init", str(root), "--owner", "olivia", "--name", "credit")
    for role, name in (("steward", "sam"), ("scientist", "ana"), ("auditor", "kim"), ("reader", "ravi")):
        step("identity", "new", name, as_="olivia")
        step("role", "grant", role, name, as_="olivia")

    _title("32,561 people's data, sealed column by column")
    resources = shipped().parent
    shutil.copyfile(resources / "schemas" / "applicants.toml", schema)
    shutil.copyfile(resources / "recipes" / "credit.toml", recipe)
    incoming = root / "incoming" / "applicants.csv"
    hand_over(incoming)
    step("access", "adopt", "--schema", schema, as_="olivia")
    step("seal", "applicants", str(incoming), "--schema", schema, as_="sam")
    incoming.unlink()
    say(f"(deleted {incoming})")
    step("data", "show", "applicants")

    _title("Three things that are refused")
    step(*train, "--purpose", PURPOSE, as_="ravi", expect=1)
    step(*train, "--purpose", "marketing", as_="ana", expect=1)
    export = ("data", "export", "applicants", "--columns", "ethnicity", "--purpose", PURPOSE)
    step(*export, "-o", str(root / "ethnicity.csv"), as_="ana", expect=1)

    _title("A private training, within the data set's budget")
    step(*train, "--purpose", PURPOSE, as_="ana")
    step("budget", "applicants")

    _title("The release check says no: nobody has looked at fairness yet")
    step("check", "credit-risk", expect=3)

    _title("What only people can say: the owner writes it, and leaves some of it open")
    say(f"(copied a filled-in form to {root / 'model.toml'}; an empty part is shown as missing)")
    shutil.copyfile(resources / "cards" / "credit-risk.toml", root / "model.toml")

    _title("An auditor, who may read the special columns, looks")
    step("explain", "credit-risk", "--purpose", AUDIT, as_="kim")
    step("attack", "credit-risk", "--purpose", AUDIT, as_="kim")

    _title("The report, and the check again")
    out = root / "reports" / "credit-risk"
    step("report", "credit-risk", "-o", str(out), as_="kim")
    bundle = str(out / "bundle.json")
    step("check", bundle, "--policy", str(root / "policies" / "release.toml"))

    _title("What a third party does, with the bundle and the owner's key alone")
    step("verify", bundle, "--key", str(root / "owner.pub"))
    step("verify")
    say(f"\nThe whole corridor took {time.monotonic() - started:.0f} s. The report:\n{out / 'report.html'}")
    return out / "report.html"


def _title(text: str) -> None:
    say(f"\n== {text} {'=' * max(0, 76 - len(text))}")


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)
