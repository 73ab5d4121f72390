"""Who may read a column is decided by cryptography, what for by policy, and both are recorded.

Claim: a scientist cannot read the special column, an auditor can, an undeclared purpose is refused for everybody, and
every decision stands in a log that still verifies.
"""

import tempfile
from pathlib import Path

import pandas as pd

import pellucid as plc
from pellucid import log
from pellucid.project import people

SCHEMA = """
[dataset]
target = "ill"
units = 40
purposes = ["care"]
[columns.age]
type = "integer"
bounds = [0, 120]
sensitivity = "personal"
[columns.religion]
type = "category"
categories = ["a", "b", "none"]
sensitivity = "special"
[columns.ill]
type = "boolean"
sensitivity = "personal"
"""
SECRET = "only an example"


def refused(act) -> str:
    """The reason for the refusal that must come."""
    try:
        act()
    except plc.Refused as error:
        return str(error)
    raise AssertionError("this must be refused")


def main(root: Path) -> None:
    frame = pd.DataFrame({"age": range(20, 60), "religion": ["a", "b", "none", "a"] * 10, "ill": [True, False] * 20})
    with plc.Project.init(root / "ward", owner="olga", passphrase=SECRET) as project:
        project.seal("patients", frame, schema=plc.Schema.parse(SCHEMA))
        for role, name in (("scientist", "ana"), ("auditor", "kim")):
            people.new_identity(project, name, SECRET)
            people.grant(project, role, name)

    with plc.Project.open(root / "ward", identity="ana", passphrase=SECRET) as ana:
        assert ana.read("patients", ["age"], purpose="care").num_rows == 40
        print(refused(lambda: ana.read("patients", ["religion"], purpose="care")).splitlines()[0])
        print(refused(lambda: ana.read("patients", ["age"], purpose="marketing")).splitlines()[0])
    with plc.Project.open(root / "ward", identity="kim", passphrase=SECRET) as kim:
        assert kim.read("patients", ["religion"], purpose="care").num_rows == 40
        decisions = [entry.body["allowed"] for entry in kim.entries() if entry.kind == "decision"]
        assert decisions.count(False) == 2, "both denials are in the log"
        assert log.verify(kim.log, kim.membership.log_key, kim.name).size == len(kim.entries())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
