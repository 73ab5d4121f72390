from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.access import Membership
from pellucid.errors import NotAdopted, NotTrusted, PellucidError, Tampered
from pellucid.evidence import Evidence, Subject
from pellucid.keys import Identity, PublicIdentity, SigningKey, WrapKey, b64
from pellucid.log.entries import RECORDS, Entry, parse, seal_evidence, seal_record

TODAY = dt.date(2026, 6, 1)
AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def identity(name: str) -> Identity:
    return Identity(name, SigningKey.generate(f"credit/{name}"), WrapKey.generate())


OLGA, ANA, BEN, OTHER_ANA = identity("olga"), identity("ana"), identity("ben"), identity("ana")
LOG = SigningKey.generate("credit/log")
KEYS = {(role, n): WrapKey.generate().public for role in ("owner", "scientist", "auditor") for n in (1, 2)}


def public(who: Identity) -> dict[str, str]:
    return {"name": who.name, "verifier": who.signing.verifier.line, "wrapping": who.wrapping.public.text}


def genesis(owner: Identity = OLGA) -> tuple[str, dict[str, Any]]:
    return "genesis", {"project": "credit", "owner": public(owner), "log": LOG.verifier.line}


def role_key(role: str, generation: int = 1) -> tuple[str, dict[str, Any]]:
    key = KEYS.get((role, generation)) or KEYS["owner", 1]
    body = {"role": role, "generation": generation, "public": key.text, "wrapped": b64(b"for the owner")}
    return "role-key", {name: value for name, value in body.items() if name in RECORDS["role-key"]}


def grant(role: str, who: Identity, **fields: Any) -> tuple[str, dict[str, Any]]:
    generation = fields.get("generation", 1)
    wrapped = b64(f"{role} {generation} {who.name}".encode())
    base = {"role": role, "generation": 1, "identity": public(who), "wrapped": wrapped, "log_key": None}
    return "grant", {**base, "expires": None, **fields}


def revoke(role: str, name: str) -> tuple[str, dict[str, Any]]:
    return "revoke", {"role": role, "identity": name}


def adopt(what: str, sha256: str) -> tuple[str, dict[str, Any]]:
    return "adopt", {"what": what, "sha256": sha256}


def log(*records: tuple[str, dict[str, Any]], signer: Identity = OLGA) -> list[Entry]:
    """Real leaves, sealed and parsed."""
    return [parse(i, seal_record(kind, body, signer.signing, AT)) for i, (kind, body) in enumerate(records)]


def by(signer: Identity, index: int, record: tuple[str, dict[str, Any]]) -> Entry:
    return parse(index, seal_record(*record, signer.signing, AT))


def fold(*records: tuple[str, dict[str, Any]]) -> Membership:
    return Membership.fold(log(genesis(), role_key("scientist"), role_key("auditor"), *records))


def test_genesis_names_project_owner_and_log_key() -> None:
    state = Membership.fold(log(genesis()), OLGA.signing.verifier)
    assert (state.project, state.owner, state.owner_name) == ("credit", OLGA.signing.verifier, "olga")
    assert (state.log_key, state.size) == (LOG.verifier, 1)
    assert state.identity("olga") == PublicIdentity("olga", OLGA.signing.verifier, OLGA.wrapping.public)
    assert state.roles() == frozenset()


def test_the_owner_holds_owner_without_a_grant_and_cannot_lose_it() -> None:
    state = Membership.fold(log(genesis(), role_key("owner"), grant("owner", OLGA), revoke("owner", "olga")))
    assert state.roles_of("olga", TODAY) == {"owner"}
    assert state.members("owner", TODAY) == {"olga"}
    assert state.identity("olga") is not None
    assert state.wrapped_role_keys("olga") == []


def test_another_owner_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="another owner") as caught:
        Membership.fold(log(genesis()), ANA.signing.verifier)
    assert (caught.value.exit_code, caught.value.where) == (3, "log entry 0")


def test_genesis_by_another_key_than_it_names_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="not signed by that key"):
        Membership.fold(log(genesis(OLGA), signer=ANA))


def test_a_log_that_does_not_begin_with_genesis_is_refused() -> None:
    with pytest.raises(Tampered, match="empty"):
        Membership.fold([])
    with pytest.raises(Tampered, match="begin with genesis"):
        Membership.fold(log(role_key("scientist")))
    with pytest.raises(Tampered, match="begin with genesis"):
        Membership.fold([by(OLGA, 1, genesis())])
    with pytest.raises(Tampered, match="second genesis"):
        fold(genesis())


def test_entries_out_of_order_are_refused() -> None:
    entries = log(genesis(), role_key("scientist"), grant("scientist", ANA), revoke("scientist", "ana"))
    for order in ((0, 1, 3, 2), (0, 1, 1), (0, 2, 1)):
        with pytest.raises(Tampered, match=r"out of order|no key of generation"):
            Membership.fold([entries[i] for i in order])


@pytest.mark.parametrize(
    "record",
    [role_key("reader"), grant("scientist", BEN), revoke("scientist", "ana"), adopt("access.cedar", "0" * 64)],
    ids=["role-key", "grant", "revoke", "adopt"],
)
def test_only_the_owner_may_sign(record: tuple[str, dict[str, Any]]) -> None:
    entries = log(genesis(), role_key("owner"), role_key("scientist"), grant("owner", ANA))
    Membership.fold([*entries, by(OLGA, 9, record)])  # by the owner it is fine
    for signer in (ANA, BEN, Identity("olga", SigningKey("credit/olga", b"1" * 32), WrapKey.generate())):
        with pytest.raises(NotTrusted, match=f"this {record[0]} is signed by") as caught:
            Membership.fold([*entries, by(signer, 9, record)])
        assert caught.value.where == "log entry 9"


def test_entries_of_other_kinds_by_anyone_are_passed_over() -> None:
    evidence = Evidence("review", Subject("m@1", "0" * 64), {"verdict": "approve"}, {}, "public")
    state = Membership.fold(
        [
            *log(genesis()),
            by(BEN, 1, ("budget", {"dataset": "d", "epsilon": 1, "delta": 1e-6, "order": None})),
            parse(2, seal_evidence(evidence, BEN.signing)),
        ]
    )
    assert state.size == 3
    assert state.names() == {"olga"}
    assert state.name_of(BEN.signing.verifier) is None


def test_a_grant_makes_a_member_until_it_is_revoked() -> None:
    state = fold(grant("scientist", ANA), grant("auditor", ANA), grant("auditor", BEN))
    assert state.roles_of("ana", TODAY) == {"scientist", "auditor"}
    assert state.members("auditor", TODAY) == {"ana", "ben"}
    assert state.names() == {"olga", "ana", "ben"}
    state = fold(grant("scientist", ANA), grant("auditor", ANA), revoke("auditor", "ana"))
    assert state.roles_of("ana", TODAY) == {"scientist"}
    assert state.wrapped_role_keys("ana") == [("scientist", 1, b64(b"scientist 1 ana"))]
    assert state.roles_of("nobody", TODAY) == frozenset()


def test_a_revoked_member_may_be_granted_again() -> None:
    assert fold(grant("scientist", ANA), revoke("scientist", "ana"), grant("scientist", ANA)).roles_of(
        "ana", TODAY
    ) == {"scientist"}


def test_revoking_what_is_not_held_changes_nothing() -> None:
    state = fold(grant("scientist", ANA), revoke("auditor", "ana"), revoke("scientist", "ben"))
    assert state.roles_of("ana", TODAY) == {"scientist"}
    assert state.names() == {"olga", "ana"}


def test_a_grant_holds_up_to_and_including_the_day_it_expires() -> None:
    state = fold(grant("scientist", ANA, expires="2026-06-01", log_key=b64(b"log")))
    assert state.roles_of("ana", TODAY) == {"scientist"}
    tomorrow = TODAY + dt.timedelta(days=1)
    assert state.roles_of("ana", tomorrow) == frozenset()
    assert state.members("scientist", tomorrow) == frozenset()
    assert state.identity("ana") is not None  # the name still belongs to her
    assert state.wrapped_role_keys("ana", TODAY) == state.wrapped_role_keys("ana") != []
    assert state.wrapped_role_keys("ana", tomorrow) == []
    assert (state.wrapped_log_key("ana", TODAY), state.wrapped_log_key("ana", tomorrow)) == (b64(b"log"), None)


def test_the_last_grant_says_how_long_it_holds() -> None:
    later = TODAY + dt.timedelta(days=400)
    longer = fold(grant("scientist", ANA, expires="2026-06-01"), grant("scientist", ANA))
    assert longer.roles_of("ana", later) == {"scientist"}
    shorter = fold(grant("scientist", ANA), grant("scientist", ANA, expires="2026-06-01"))
    assert shorter.roles_of("ana", later) == frozenset()


def test_role_keys_have_generations_that_rise() -> None:
    state = fold()
    assert state.role_key("scientist") == (1, KEYS["scientist", 1])
    assert state.role_key("wizard") is None
    assert state.roles() == {"scientist", "auditor"}
    state = fold(grant("scientist", ANA), role_key("scientist", 2), grant("scientist", ANA, generation=2))
    assert state.role_key("scientist") == (2, KEYS["scientist", 2])
    assert [(role, n) for role, n, _ in state.wrapped_role_keys("ana")] == [("scientist", 1), ("scientist", 2)]
    state = fold(grant("scientist", ANA), role_key("scientist", 2), revoke("scientist", "ana"))
    assert state.wrapped_role_keys("ana") == []  # a revoke takes every generation
    for generation in (1, 0):
        with pytest.raises(Tampered, match="does not follow 1"):
            fold(role_key("scientist", generation))


def test_a_grant_needs_a_role_key_before_it() -> None:
    for record in (grant("reader", ANA), grant("scientist", ANA, generation=2)):
        with pytest.raises(Tampered, match="no key of generation"):
            fold(record)


def test_a_name_granted_with_other_keys_is_refused_unless_revoked_everywhere() -> None:
    first = (grant("scientist", ANA), grant("auditor", ANA, expires="2026-01-01"))
    with pytest.raises(NotTrusted, match="other keys") as caught:
        fold(*first, grant("auditor", OTHER_ANA))
    assert caught.value.where == "log entry 5"
    with pytest.raises(NotTrusted, match="other keys"):  # an expired grant is not a revoked one
        fold(*first, revoke("scientist", "ana"), grant("scientist", OTHER_ANA))
    state = fold(*first, revoke("scientist", "ana"), revoke("auditor", "ana"), grant("auditor", OTHER_ANA))
    found = state.identity("ana")
    assert found is not None
    assert found.verifier == OTHER_ANA.signing.verifier
    assert state.name_of(ANA.signing.verifier) == state.name_of(OTHER_ANA.signing.verifier) == "ana"
    # the same verifier with another wrapping key would hand the role to someone else
    mixed = Identity("ana", ANA.signing, OTHER_ANA.wrapping)
    with pytest.raises(NotTrusted, match="other keys"):
        fold(grant("scientist", ANA), grant("auditor", mixed))


def test_the_name_of_the_owner_is_never_anothers() -> None:
    false = identity("olga")
    for before in ((), (grant("scientist", OLGA), revoke("scientist", "olga"))):
        with pytest.raises(NotTrusted, match="other keys"):
            fold(*before, grant("scientist", false))


def test_the_log_key_is_one_that_an_unrevoked_grant_holds() -> None:
    with_key, without = grant("scientist", ANA, log_key=b64(b"log")), grant("auditor", ANA)
    assert fold(with_key, without).wrapped_log_key("ana") == b64(b"log")
    assert fold(with_key, grant("scientist", ANA)).wrapped_log_key("ana") == b64(b"log")  # renewed, and kept
    assert fold(with_key, without, revoke("scientist", "ana")).wrapped_log_key("ana") is None
    assert fold(without).wrapped_log_key("ana") is None
    assert fold(with_key).wrapped_log_key("ben") is None


def test_the_newest_adoption_wins() -> None:
    state = fold(adopt("access.cedar", "a" * 64), adopt("schema", "b" * 64), adopt("access.cedar", "c" * 64))
    assert state.adopted("access.cedar") == "c" * 64
    assert state.adopted("release.toml") is None
    state.require_adopted("access.cedar", "c" * 64)
    with pytest.raises(NotAdopted, match="an owner adopted cccc") as caught:
        state.require_adopted("access.cedar", "a" * 64)
    assert caught.value.exit_code == 3
    with pytest.raises(NotAdopted, match="no owner adopted it"):
        state.require_adopted("release.toml", "a" * 64)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("role-key", {"generation": "1"}),
        ("role-key", {"generation": True}),
        ("role-key", {"generation": -1}),
        ("role-key", {"role": "Wizard"}),
        ("role-key", {"role": None}),
        ("role-key", {"public": "AAAA"}),
        ("role-key", {"public": 3}),
        ("grant", {"role": ["scientist"]}),
        ("grant", {"generation": 1.5}),
        ("grant", {"identity": {**public(ANA), "name": "A na"}}),
        ("grant", {"identity": {**public(ANA), "verifier": "x"}}),
        ("grant", {"identity": {**public(ANA), "wrapping": "x"}}),
        ("grant", {"wrapped": "not base64!"}),
        ("grant", {"wrapped": None}),
        ("grant", {"wrapped": ""}),
        ("grant", {"log_key": 3}),
        ("grant", {"log_key": "?"}),
        ("grant", {"expires": "tomorrow"}),
        ("grant", {"expires": "20261231"}),
        ("grant", {"expires": 3}),
        ("revoke", {"identity": {"name": "ana"}}),
        ("revoke", {"role": 3}),
        ("adopt", {"sha256": "A" * 64}),
        ("adopt", {"sha256": "a" * 63}),
        ("adopt", {"sha256": None}),
        ("adopt", {"what": 3}),
    ],
)
def test_a_record_that_cannot_be_meant_is_refused(kind: str, change: dict[str, Any]) -> None:
    base = {
        "role-key": role_key("reader"),
        "grant": grant("scientist", ANA),
        "revoke": revoke("scientist", "ana"),
        "adopt": adopt("access.cedar", "a" * 64),
    }[kind]
    fold(base)
    with pytest.raises(Tampered) as caught:
        fold((kind, {**base[1], **change}))
    assert caught.value.where == "log entry 3"


@pytest.mark.parametrize("change", [{"project": ""}, {"project": 3}, {"log": "x"}, {"log": None}])
def test_a_genesis_that_cannot_be_meant_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Tampered):
        Membership.fold(log(("genesis", {**genesis()[1], **change})))


def test_repr_shows_no_wrapped_key() -> None:
    assert b64(b"scientist 1 ana") not in repr(fold(grant("scientist", ANA)))


# -- a naive twin: for each question, look through all records again --------------------------------------------------

PEOPLE = {"ana": ANA, "ben": BEN, "olga": OLGA}
DAYS = [None, "2026-05-31", "2026-06-01", "2026-07-01"]
STEP = st.one_of(
    st.tuples(
        st.just("grant"),
        st.sampled_from(["scientist", "auditor"]),
        st.sampled_from(sorted(PEOPLE)),
        st.sampled_from(DAYS),
    ),
    st.tuples(st.just("revoke"), st.sampled_from(["scientist", "auditor"]), st.sampled_from(sorted(PEOPLE)), st.none()),
)


def holds(steps: Sequence[tuple[str, str, str, str | None]], role: str, name: str, today: dt.date) -> bool:
    for kind, what, who, expires in reversed(steps):
        if (what, who) == (role, name):
            return kind == "grant" and (expires is None or today.isoformat() <= expires)
    return False


@settings(max_examples=40)
@given(st.lists(STEP, max_size=12))
def test_the_fold_agrees_with_a_search_for_the_last_word(steps: list[tuple[str, str, str, str | None]]) -> None:
    records = [
        grant(role, PEOPLE[who], expires=expires) if kind == "grant" else revoke(role, who)
        for kind, role, who, expires in steps
    ]
    state = fold(*records)
    for today in (TODAY - dt.timedelta(days=30), TODAY, TODAY + dt.timedelta(days=1), dt.date(2030, 1, 1)):
        for role in ("scientist", "auditor"):
            held = {who for who in PEOPLE if holds(steps, role, who, today)}
            assert state.members(role, today) == held
            assert {who for who in PEOPLE if role in state.roles_of(who, today)} == held


@settings(max_examples=40)
@given(st.integers(0, 5), st.data())
def test_any_trust_entry_signed_by_another_spoils_the_log(place: int, data: st.DataObject) -> None:
    records = [
        role_key("scientist"),
        grant("scientist", ANA),
        adopt("access.cedar", "a" * 64),
        grant("scientist", BEN),
        revoke("scientist", "ben"),
        role_key("scientist", 2),
    ]
    signer = data.draw(st.sampled_from([ANA, BEN, OTHER_ANA]))
    entries = [by(OLGA, i, record) for i, record in enumerate([genesis(), *records])]
    entries[place + 1] = by(signer, place + 1, records[place])
    with pytest.raises(NotTrusted):
        Membership.fold(entries)


def test_every_refusal_is_of_the_error_tree() -> None:
    for body in ({}, {"owner": 3}, {"project": "x", "owner": {"name": 3}, "log": 1}):
        with pytest.raises(PellucidError):
            Membership.fold([Entry(0, "genesis", body, OLGA.signing.verifier, b"")])
