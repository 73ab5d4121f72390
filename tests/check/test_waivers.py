"""Waivers: what counts as one, whose word it is, and what is said of those that end, have ended or are not needed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.bundle import Bundle
from pellucid.check import CheckResult, ReleasePolicy, check
from pellucid.check.waivers import SOON, parse_waivers, read_waivers
from pellucid.errors import BadFile
from pellucid.keys import SigningKey
from pellucid.log.entries import seal_record

TODAY = dt.date(2026, 6, 1)
AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
RULE = "[[require]]\nid = 'auc'\nthat = 'evaluation.auc >= 0.99'\nbecause = 'b'\nfix = 'do it'\n"
UNREAD = RULE.replace("evaluation.auc", "tuning.auc")
EASY = RULE.replace("0.99", "0.5")
EVE = SigningKey("credit/eve", b"\7" * 32)
Held = Callable[..., CheckResult]


@pytest.fixture
def held(make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path) -> Held:
    """Hold the good bundle against a policy it does not meet, with the waivers of a file."""

    def run(text: str, *, today: dt.date = TODAY, policy: str = RULE, **changed: Any) -> CheckResult:
        for path, value in changed.items():
            kind, _, name = path.partition("__")
            values[kind][name] = value
        (tmp_path / "release.toml").write_text(policy)
        (tmp_path / "waivers.toml").write_text(text)
        return check(make(values), tmp_path / "release.toml", owners=[maker.owner.verifier], today=today)

    return run


def told(result: CheckResult) -> str:
    return "\n".join(f"{each.level} {each.about} {each.says}" for each in result.notices)


def test_a_signed_waiver_beside_the_policy_turns_a_failure_into_waived(held: Held, maker: Any) -> None:
    result = held(maker.waiver("auc", RULE))
    assert (result.exit, result.findings[0].status) == (0, "waived")
    assert result.findings[0].fix == "waived by ana until 2026-12-31: ticket 7"
    assert result.notices == ()


def test_without_the_file_nothing_is_waived(held: Held) -> None:
    assert held("").exit == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"expires": dt.date(2027, 12, 31), "signed_expires": True}, "not what was signed"),
        ({"reason": "because I say so"}, "not what was signed"),
        ({"owner": "bo"}, "not what was signed"),
        ({"project": "other"}, "not what was signed, or was signed for another project"),
        ({"signer": EVE}, "holds no role that may waive"),
        ({"at": dt.datetime(2999, 1, 1, tzinfo=dt.UTC)}, "still to come"),
    ],
)
def test_a_waiver_that_was_changed_or_that_nobody_may_sign_does_not_count(
    held: Held, maker: Any, options: dict[str, Any], why: str
) -> None:
    options = dict(options)
    text = maker.waiver("auc", RULE, **{k: v for k, v in options.items() if k != "signed_expires"})
    if options.get("signed_expires"):
        text = maker.waiver("auc", RULE).replace("expires = 2026-12-31", "expires = 2027-12-31")
    result = held(text)
    assert (result.exit, result.findings[0].status) == (1, "fail")
    assert f"its waiver by {'bo' if 'owner' in options else 'ana'} does not count: " in result.findings[0].fix
    assert why in result.findings[0].fix
    assert "do it" in result.findings[0].fix
    assert why in told(result)


@pytest.mark.parametrize("signed", ["", "e30=", "bm9uc2Vuc2U=", "???"])
def test_a_waiver_without_a_signature_does_not_count(held: Held, maker: Any, signed: str) -> None:
    text = maker.waiver("auc", RULE)
    line = next(each for each in text.splitlines() if each.startswith("signed"))
    result = held(text.replace(line, f'signed = "{signed}"' if signed else ""))
    assert result.exit == 1
    assert "does not count" in result.findings[0].fix


def test_every_changed_byte_of_the_signature_shows(held: Held, maker: Any) -> None:
    text = maker.waiver("auc", RULE)
    start = text.index('signed = "') + 10
    for place in range(start, len(text) - 3, 97):
        other = "A" if text[place] != "A" else "B"
        assert held(text[:place] + other + text[place + 1 :]).exit == 1, place


def test_a_role_may_waive_if_the_policy_says_so_and_its_grants_travel_with_the_waiver(held: Held, maker: Any) -> None:
    kim = SigningKey("credit/kim", b"\5" * 32)
    person = {"name": "kim", "verifier": kim.verifier.line, "wrapping": maker.wrapping}
    fields = {"generation": 1, "identity": person, "wrapped": "", "log_key": None, "expires": None}
    grant = seal_record("grant", {"role": "auditor", **fields}, maker.owner, AT)
    forged = seal_record("grant", {"role": "auditor", **fields}, kim, AT)
    revoke = seal_record("revoke", {"role": "auditor", "identity": "kim"}, maker.owner, AT)
    may = RULE + "[trust]\nwaivers = ['auditor']\n"
    assert held(maker.waiver("auc", RULE, signer=kim, grants=[grant]), policy=may).exit == 0
    assert held(maker.waiver("auc", RULE, signer=kim, grants=[grant])).exit == 1  # by default the owner alone
    assert held(maker.waiver("auc", RULE, signer=kim), policy=may).exit == 1
    assert held(maker.waiver("auc", RULE, signer=kim, grants=[forged]), policy=may).exit == 1
    assert held(maker.waiver("auc", RULE, signer=kim, grants=[grant, revoke]), policy=may).exit == 1
    early = AT - dt.timedelta(days=1)
    assert held(maker.waiver("auc", RULE, signer=kim, grants=[grant], at=early), policy=may).exit == 1
    owner = held(maker.waiver("auc", RULE), policy=may)
    assert "ana is owner, and auditor waives here" in owner.findings[0].fix


def test_a_waiver_is_for_the_rule_as_it_stood_when_it_was_signed(held: Held, maker: Any) -> None:
    """A threshold that is tightened, a rule that comes to ask for more, and another environment are not waived."""
    bound = "[parameters]\nleast = 0.99\n[environment.lax]\nleast = 0.95\n" + RULE.replace("0.99", "parameters.least")
    signed = maker.waiver("auc", bound)
    assert held(signed, policy=bound).exit == 0
    assert (
        held(signed, policy=bound + "[[require]]\nid = 'n'\nthat = 'training.epochs >= 0'\nbecause = 'b'\n").exit == 0
    )
    for other in (
        bound.replace("least = 0.99", "least = 0.999"),
        bound.replace("evaluation.auc >= ", "evaluation.auc.low >= "),
        RULE,
    ):
        result = held(signed, policy=other)
        assert (result.exit, result.findings[0].status) == (1, "fail")
        assert (
            "the requirement was another when it was signed: evaluation.auc >= parameters.least with least = 0.99"
            in (result.findings[0].fix)
        )


def test_a_role_counts_by_the_owner_s_time_and_only_while_it_is_held(held: Held, maker: Any) -> None:
    """Not by a place in the log that the file claims, and not for a day on which the role had ended."""
    kim = SigningKey("credit/kim", b"\5" * 32)
    person = {"name": "kim", "verifier": kim.verifier.line, "wrapping": maker.wrapping}
    fields = {"generation": 1, "identity": person, "wrapped": "", "log_key": None, "role": "auditor"}
    grant = seal_record("grant", {**fields, "expires": None}, maker.owner, AT)
    revoke = seal_record("revoke", {"role": "auditor", "identity": "kim"}, maker.owner, AT + dt.timedelta(days=1))
    may = RULE + "[trust]\nwaivers = ['auditor']\n"
    late = AT + dt.timedelta(days=2)
    # the revocation is carried first, as though it stood before the grant in the log
    assert held(maker.waiver("auc", RULE, signer=kim, grants=[revoke, grant], at=late), policy=may).exit == 1
    ended = seal_record("grant", {**fields, "expires": "2026-03-10"}, maker.owner, AT)
    assert held(maker.waiver("auc", RULE, signer=kim, grants=[ended], at=AT), policy=may).exit == 1  # it has ended now
    lasting = seal_record("grant", {**fields, "expires": "2126-03-10"}, maker.owner, AT)
    assert held(maker.waiver("auc", RULE, signer=kim, grants=[lasting], at=AT), policy=may).exit == 0


def test_a_waiver_counts_on_its_last_day_and_an_expired_one_is_a_failure(held: Held, maker: Any) -> None:
    assert held(maker.waiver("auc", RULE, expires=TODAY)).exit == 0
    result = held(maker.waiver("auc", RULE, expires=TODAY - dt.timedelta(days=1)))
    assert result.exit == 1
    assert "expired on 2026-05-31" in result.findings[0].fix
    assert "warning auc the waiver by ana expired on 2026-05-31" in told(result)


def test_a_waiver_that_ends_within_thirty_days_is_warned_of(held: Held, maker: Any) -> None:
    assert SOON.days == 30
    result = held(maker.waiver("auc", RULE, expires=TODAY + SOON))
    assert result.exit == 0
    assert "warning auc the waiver by ana ends on 2026-07-01, in 30 days" in told(result)
    assert told(held(maker.waiver("auc", RULE, expires=TODAY + SOON + dt.timedelta(days=1)))) == ""
    for days, words in ((0, "today"), (1, "tomorrow"), (2, "in 2 days")):
        result = held(maker.waiver("auc", RULE, expires=TODAY + dt.timedelta(days=days)))
        assert f", {words}" in told(result)
        assert f", {words}: " in result.findings[0].fix


def test_a_waiver_never_excuses_what_was_not_measured_and_one_that_has_no_effect_is_warned_of(
    held: Held, maker: Any
) -> None:
    missing = held(maker.waiver("auc", UNREAD), policy=UNREAD)
    assert (missing.exit, missing.findings[0].status) == (3, "unmeasured")
    assert "which no waiver excuses" in told(missing)
    passing = held(maker.waiver("auc", EASY), policy=EASY)
    assert (passing.exit, passing.findings[0].status) == (0, "pass")
    assert "has no effect: the requirement is met" in told(passing)


@pytest.mark.parametrize(
    ("scope", "status"),
    [("credit-risk@1", "waived"), ("credit-risk", "waived"), ("credit-*", "waived"), ("credit-risk@2", "fail")],
)
def test_a_waiver_is_for_the_models_in_its_scope(held: Held, maker: Any, scope: str, status: str) -> None:
    assert held(maker.waiver("auc", RULE, scope=scope)).findings[0].status == status


def test_of_several_waivers_one_that_counts_is_taken(held: Held, maker: Any) -> None:
    bad = maker.waiver("auc", RULE, scope="credit-*", signer=EVE, expires=dt.date(2999, 1, 1))
    assert held(bad + maker.waiver("auc", RULE)).exit == 0


def test_a_clock_before_the_bundle_s_last_entry_is_noticed_and_revives_no_waiver(held: Held, maker: Any) -> None:
    past = dt.date(2020, 1, 1)
    result = held(maker.waiver("auc", RULE, expires=dt.date(2026, 2, 28)), today=past)
    assert result.exit == 1
    assert "expired on 2026-02-28" in result.findings[0].fix
    assert "this machine's clock says 2020-01-01, and the bundle's checkpoint is of 2026-03-01" in told(result)
    assert "clock" not in told(held("", today=AT.date()))


WAIVER = '[[waive]]\nid = "a"\nscope = "m"\nreason = "r"\nowner = "ana"\nexpires = 2026-12-31\n'


def test_waivers_are_read_whole_and_an_empty_file_holds_none(tmp_path: Path) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(WAIVER)
    policy = ReleasePolicy.parse(RULE.replace("auc'\n", "a'\n", 1).encode())
    (waiver,) = read_waivers(path, policy)
    assert (waiver.id, waiver.scope, waiver.reason, waiver.owner) == ("a", "m", "r", "ana")
    assert (waiver.expires.isoformat(), waiver.refused, waiver.line) == ("2026-12-31", None, 1)
    assert parse_waivers(b"# none\n", ["a"]) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WAIVER.replace('"a"', '"privacy.epsilo"'), 'no requirement "privacy.epsilo"; did you mean "privacy.epsilon"'),
        (WAIVER + WAIVER, 'line 7: waive[a]: "a" is waived twice for m'),
        (WAIVER.replace("expires = 2026-12-31\n", ""), '"expires" must be a date'),
        (WAIVER.replace("2026-12-31", '"2026-12-31"'), '"expires" must be a date'),
        (WAIVER.replace("2026-12-31", "2026-12-31T00:00:00Z"), '"expires" must be a date'),
        (WAIVER.replace('reason = "r"\n', ""), '"reason" is missing'),
        (WAIVER.replace('owner = "ana"\n', ""), '"owner" is missing'),
        (WAIVER.replace('scope = "m"\n', ""), '"scope" is missing'),
        (WAIVER + "until = 3", 'unknown key "until"'),
        ("[[waiver]]", 'did you mean "waive"'),
        ("waive = 3", "[[waive]]"),
        ("[[waive]\n", "waivers.toml: not TOML: "),
    ],
)
def test_every_malformed_waiver_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadFile) as error:
        parse_waivers(text.encode(), ["a", "privacy.epsilon"])
    assert says in str(error.value)
    assert error.value.exit_code == 2


def test_an_invalid_waivers_file_is_2_whatever_the_bundle_says(held: Held) -> None:
    with pytest.raises(BadFile, match='did you mean "auc"'):
        held(WAIVER.replace('"a"', '"aud"'))
