"""``pellucid waive``: decided, logged, signed, and believed offline."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

SOON = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=20)).isoformat()
LATER = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=200)).isoformat()
UNMET = """
[[require]]
id = "evaluation.auc"
that = "evaluation.auc >= 0.9999"
because = "nothing is that good"
"""


@pytest.fixture
def unmet(fresh: Any) -> Any:
    """A project whose release policy its model fails."""
    (fresh.root / "policies" / "release.toml").write_text(UNMET)
    return fresh


def words(unmet: Any, *more: str, model: str = "risk@1", expires: str = LATER) -> tuple[str, ...]:
    where = ("--project", str(unmet.root))
    return ("waive", "evaluation.auc", model, "--reason", "ticket 7: ü", "--expires", expires, *where, *more)


def test_a_waiver_lets_the_model_pass_and_travels_with_the_policy(pellucid: Any, unmet: Any, tmp_path: Path) -> None:
    check = ("check", "risk", "--project", unmet.root)
    assert pellucid(*check).code == 1
    ran = pellucid(*words(unmet, "--as", "olivia", "--json"))
    assert ran.code == 0
    assert set(ran.json) == {"id", "scope", "owner", "expires", "file", "index"}
    assert (ran.json["scope"], ran.json["owner"]) == ("risk@1", "olivia")
    assert pellucid(*check).code == 0
    logged = pellucid("log", "show", str(ran.json["index"]), "--project", unmet.root, "--json").json
    assert logged["body"]["action"] == "release"
    assert logged["body"]["purpose"] == f"waive evaluation.auc until {LATER}"
    # a third party: bundle, policy, waivers and the owner's key, nothing else
    for name in ("release.toml", "waivers.toml"):
        (tmp_path / name).write_bytes((unmet.root / "policies" / name).read_bytes())
    offline = ("check", unmet.bundle, "--policy", tmp_path / "release.toml", "--key", unmet.key)
    assert pellucid(*offline, "--json").json["findings"][0]["status"] == "waived"
    (tmp_path / "waivers.toml").write_text((tmp_path / "waivers.toml").read_text().replace("ticket 7", "ticket 8"))
    ran = pellucid(*offline)
    assert ran.code == 1
    assert "not what was signed" in " ".join(ran.out.split())


def test_a_waiver_that_ends_soon_is_warned_of(pellucid: Any, unmet: Any) -> None:
    assert pellucid(*words(unmet, "--as", "olivia", model="risk", expires=SOON)).code == 0
    ran = pellucid("check", "risk", "--project", unmet.root, "--json")
    assert ran.code == 0
    assert "ends on" in ran.json["notices"][0]["says"]


def test_who_may_not_release_is_denied_and_the_denial_is_in_the_log(pellucid: Any, unmet: Any) -> None:
    for name in ("ana", "kim", "ravi"):
        before = len(pellucid("log", "show", "--project", unmet.root, "--json").json)
        assert pellucid(*words(unmet, "--as", name)).code == 1
        assert len(pellucid("log", "show", "--project", unmet.root, "--json").json) == before + 1
    assert "[[waive]]\nid" not in (unmet.root / "policies" / "waivers.toml").read_text()


def test_a_role_that_both_policies_let_waive_does(pellucid: Any, unmet: Any) -> None:
    access = unmet.root / "policies" / "access.cedar"
    rule = 'permit (principal in Role::"auditor", action == Action::"release", resource);'
    rule = f'@id("auditor-waives") @because("x")\n{rule}'
    access.write_text(f"{access.read_text()}\n{rule}\n")
    assert pellucid("access", "adopt", "--project", unmet.root, "--as", "olivia").code == 0
    denied = pellucid(*words(unmet, "--as", "kim"))
    assert denied.code == 1
    assert "lets owner waive" in denied.err
    (unmet.root / "policies" / "release.toml").write_text(UNMET + '[trust]\nwaivers = ["auditor"]\n')
    assert pellucid(*words(unmet, "--as", "kim")).code == 0
    assert pellucid("check", "risk", "--project", unmet.root).code == 0
    assert pellucid("role", "revoke", "auditor", "kim", "--project", unmet.root, "--as", "olivia").code == 0
    assert pellucid("check", "risk", "--project", unmet.root).code == 1  # the bundle knows of the revocation


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"evaluation.auc": "evaluation.acu"}, 'did you mean "evaluation.auc"'),
        ({"risk@1": "rissk"}, 'did you mean "risk'),
        ({LATER: "2020-01-01"}, "this day has passed"),
        ({LATER: "tomorrow"}, "this is no day"),
        ({"ticket 7: ü": " "}, "not blank"),
        ({"ticket 7: ü": "a\nb"}, "one line"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    pellucid: Any, unmet: Any, change: dict[str, str], says: str
) -> None:
    waivers = unmet.root / "policies" / "waivers.toml"
    before = waivers.read_bytes()
    ran = pellucid(*[change.get(word, word) for word in words(unmet, "--as", "olivia")])
    assert ran.code == 2
    assert says in ran.err
    assert waivers.read_bytes() == before


def test_twice_is_a_misuse(pellucid: Any, unmet: Any) -> None:
    assert pellucid(*words(unmet, "--as", "olivia")).code == 0
    ran = pellucid(*words(unmet, "--as", "olivia"))
    assert ran.code == 2
    assert f"is waived for risk@1 already, until {LATER}" in ran.err
    assert json.dumps("ticket 7: ü", ensure_ascii=False) in (unmet.root / "policies" / "waivers.toml").read_text()
