"""The state of trust: who the owner is, who holds which role, what was adopted. A fold over the entries of the log.

Rules:

1. Entry 0 is ``genesis``, signed by the owner it names. There is no other genesis.
2. ``role-key``, ``grant``, ``revoke`` and ``adopt`` count if that owner's key signed them. By anyone else they are not
   skipped but refused: a log that holds one is not to be trusted.
3. A grant is for a role and a generation whose ``role-key`` stands before it. Generations of a role rise.
4. A name belongs to one identity, its verifier and wrapping key, from its first grant until it is revoked from every
   role. The owner's name belongs to the owner for ever.
5. The last grant of a role to a name says how long it holds: up to and including the day ``expires``, or until revoked.
6. A revoke takes a role with all its wrapped keys from a name. To take away what was already unwrapped needs a new
   generation of the role's key and new data keys; the fold cannot do that.
7. The owner holds the role ``owner`` without a grant. Granting ``owner`` to others lets the policy allow them
   everything, but not sign grants: the root of trust is one key.

Other kinds of entry are passed over. Nothing is read or written here.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from pellucid.errors import BadFile, NotAdopted, NotTrusted, Tampered
from pellucid.keys import PublicIdentity, VerifyKey, WrapPublicKey, identity_name, unb64
from pellucid.log.entries import Entry

__all__ = ["Membership"]

_OWNERS: Final = {"role-key", "grant", "revoke", "adopt"}


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a name holds of one role: its wrapped keys by generation, and what the last grant said."""

    keys: Mapping[int, str]
    log_key: str | None
    expires: dt.date | None

    def active(self, today: dt.date) -> bool:
        return self.expires is None or today <= self.expires


@dataclass(frozen=True, slots=True)
class Membership:
    """The state of trust after the last entry that was folded. Made by :meth:`fold`.

    Attributes:
        project: The project's name.
        owner: The root: the key that signs grants and adoptions.
        owner_name: The name of the identity it belongs to.
        log_key: The key that signs the log's checkpoints.
        size: One more than the index of the last entry that was folded.
    """

    project: str
    owner: VerifyKey
    owner_name: str
    log_key: VerifyKey
    size: int
    _role_keys: dict[str, dict[int, WrapPublicKey]] = field(default_factory=dict, repr=False)
    _grants: dict[tuple[str, str], _Grant] = field(default_factory=dict, repr=False)  # (name, role)
    _identities: dict[str, PublicIdentity] = field(default_factory=dict, repr=False)
    _signers: dict[str, str] = field(default_factory=dict, repr=False)  # verifier-key line -> name, revoked ones too
    _adopted: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def fold(cls, entries: Iterable[Entry], owner: VerifyKey | None = None) -> Membership:
        """The state of trust that ``entries`` make.

        Args:
            entries: Entries of one log in order, from entry 0; those of other kinds may be left out.
            owner: The owner whom the reader trusts. None takes the one that entry 0 names on its word: right for a
                project's own log on its own machine, never for a verifier.

        Raises:
            NotTrusted: The log is another owner's; an entry that only the owner may sign is by someone else; a name is
                granted with keys of another identity. ``where`` names the entry.
            Tampered: No entry, no genesis at 0, a second one, indices that do not rise, a record that cannot be meant.
        """
        state: Membership | None = None
        size = 0
        for entry in entries:
            where = f"log entry {entry.index}"
            try:
                if state is None:
                    state = _genesis(cls, entry, owner, where)
                elif entry.index < size:
                    raise Tampered("entries are out of order", where=where)
                elif changed := _changes(state, entry, where):
                    state = dataclasses.replace(state, **changed)
            except (BadFile, KeyError, TypeError, ValueError, AttributeError) as error:
                raise Tampered(f"this {entry.kind} record cannot be meant", where=where) from error
            size = entry.index + 1
        if state is None:
            raise Tampered("the log is empty: it does not say whose it is", where="log entry 0")
        return dataclasses.replace(state, size=size)

    # -- people and roles

    def roles(self) -> frozenset[str]:
        """Every role that has a key."""
        return frozenset(self._role_keys)

    def roles_of(self, name: str, today: dt.date) -> frozenset[str]:
        """The roles that ``name`` holds on the day ``today``; none for a name that nobody granted anything."""
        held = {role for (who, role), grant in self._grants.items() if who == name and grant.active(today)}
        return frozenset(held | {"owner"} if name == self.owner_name else held)

    def members(self, role: str, today: dt.date) -> frozenset[str]:
        """The names that hold ``role`` on the day ``today``."""
        names = {self.owner_name, *(who for who, _ in self._grants)}
        return frozenset(name for name in names if role in self.roles_of(name, today))

    def names(self) -> frozenset[str]:
        """The names that belong to someone: the owner's, and those granted a role and not revoked from all."""
        return frozenset(self._identities)

    def identity(self, name: str) -> PublicIdentity | None:
        """The public identity that ``name`` belongs to, or None. Whether it holds a role today is another question."""
        return self._identities.get(name)

    def name_of(self, key: VerifyKey) -> str | None:
        """The name under which the owner ever granted something to this very key, even if revoked since, or None."""
        return self._signers.get(key.line)

    # -- keys

    def role_key(self, role: str) -> tuple[int, WrapPublicKey] | None:
        """The newest generation of a role and its public key, or None if the role has no key."""
        keys = self._role_keys.get(role)
        return max(keys.items()) if keys else None

    def wrapped_role_keys(self, name: str, today: dt.date | None = None) -> list[tuple[str, int, str]]:
        """The private role keys wrapped to ``name``, as (role, generation, base64), by role and generation.

        Args:
            name: The identity.
            today: Leave out what has expired; None keeps it. What was revoked is never among them.
        """
        return sorted(
            (role, generation, wrapped)
            for (who, role), grant in self._grants.items()
            if who == name and (today is None or grant.active(today))
            for generation, wrapped in grant.keys.items()
        )

    def wrapped_log_key(self, name: str, today: dt.date | None = None) -> str | None:
        """The log's private key wrapped to ``name`` in base64, or None; ``today`` as for :meth:`wrapped_role_keys`.

        Every such wrapping holds the one key that genesis names, so any grant that has one will do.
        """
        for (who, _), grant in self._grants.items():
            if who == name and grant.log_key is not None and (today is None or grant.active(today)):
                return grant.log_key
        return None

    # -- adopted policies and schemas

    def adopted(self, what: str) -> str | None:
        """The SHA-256 last adopted as ``what``, or None. The newest adoption of a name wins."""
        return self._adopted.get(what)

    def require_adopted(self, what: str, sha256: str) -> None:
        """Return if ``sha256`` is what the owner last adopted as ``what``.

        Raises:
            NotAdopted: Nothing was adopted under that name, or something else.
        """
        adopted = self.adopted(what)
        if adopted != sha256:
            said = f"an owner adopted {adopted[:12]}…, this is {sha256[:12]}…" if adopted else "no owner adopted it"
            raise NotAdopted(
                f"{what} is not in force: {said}",
                where=what,
                fix="restore the adopted file, or let an owner run `pellucid access adopt`",
            )


def _genesis(cls: type[Membership], entry: Entry, owner: VerifyKey | None, where: str) -> Membership:
    if entry.index != 0 or entry.kind != "genesis":
        raise Tampered("the log does not begin with genesis", where=where)
    identity = _identity(entry.body["owner"], where)
    if entry.signer != identity.verifier:
        raise NotTrusted(f"genesis names {identity.name} as owner but is not signed by that key", where=where)
    if owner is not None and owner != identity.verifier:
        raise NotTrusted(
            f"this log belongs to another owner ({identity.verifier.line})",
            where=where,
            fix="name that owner's key if you trust it, after comparing it by another way",
        )
    return cls(
        project=_text(entry.body["project"]),
        owner=identity.verifier,
        owner_name=identity.name,
        log_key=VerifyKey.parse(entry.body["log"], where=where),
        size=1,
        _identities={identity.name: identity},
        _signers={identity.verifier.line: identity.name},
    )


def _changes(state: Membership, entry: Entry, where: str) -> dict[str, Any]:
    """What ``entry`` changes; nothing, if it is not about trust."""
    if entry.kind == "genesis":
        raise Tampered("a second genesis", where=where)
    if entry.kind not in _OWNERS:
        return {}
    if entry.signer != state.owner:
        raise NotTrusted(
            f"this {entry.kind} is signed by {entry.signer.name}, not by the owner",
            where=where,
            fix="only the owner may grant, revoke and adopt; find out who wrote this entry",
        )
    return _STEPS[entry.kind](state, entry.body, where)


def _role_key(state: Membership, body: Mapping[str, Any], where: str) -> dict[str, Any]:
    role, generation = identity_name(body["role"]), _generation(body)
    known = state._role_keys.get(role, {})
    if known and generation <= max(known):
        raise Tampered(f"generation {generation} of role {role} does not follow {max(known)}", where=where)
    key = WrapPublicKey.parse(body["public"], where=where)
    if "wrapped" in body:  # the private half, wrapped to the owner
        unb64(_text(body["wrapped"]), where=where)
    return {"_role_keys": {**state._role_keys, role: {**known, generation: key}}}


def _grant(state: Membership, body: Mapping[str, Any], where: str) -> dict[str, Any]:
    role, generation = identity_name(body["role"]), _generation(body)
    if generation not in state._role_keys.get(role, {}):
        raise Tampered(f"role {role} has no key of generation {generation} before this grant", where=where)
    identity = _identity(body["identity"], where)
    held = state._identities.get(identity.name)
    if held is not None and held != identity:
        _other_keys(identity.name, where)
    expires = None if body["expires"] is None else _day(body["expires"])
    unb64(_text(body["wrapped"]), where=where)
    if body["log_key"] is not None:
        unb64(_text(body["log_key"]), where=where)
    grants = dict(state._grants)
    old = grants.pop((identity.name, role), None)
    grants[identity.name, role] = _Grant(
        {**(old.keys if old else {}), generation: body["wrapped"]},
        body["log_key"] if body["log_key"] is not None else (old.log_key if old else None),
        expires,
    )
    return {
        "_grants": grants,
        "_identities": {**state._identities, identity.name: identity},
        "_signers": {**state._signers, identity.verifier.line: identity.name},
    }


def _revoke(state: Membership, body: Mapping[str, Any], _where: str) -> dict[str, Any]:
    # two owners' machines may revoke at once, so revoking what is not held changes nothing
    role, name = identity_name(body["role"]), identity_name(body["identity"])
    grants = {key: grant for key, grant in state._grants.items() if key != (name, role)}
    identities = state._identities
    if name != state.owner_name and not any(who == name for who, _ in grants):
        identities = {who: identity for who, identity in identities.items() if who != name}
    return {"_grants": grants, "_identities": identities}


def _adopt(state: Membership, body: Mapping[str, Any], where: str) -> dict[str, Any]:
    sha256 = _text(body["sha256"])
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise Tampered("not a SHA-256 digest", where=where)
    return {"_adopted": {**state._adopted, _text(body["what"]): sha256}}


_STEPS: Final = {"role-key": _role_key, "grant": _grant, "revoke": _revoke, "adopt": _adopt}


def _other_keys(name: str, where: str) -> NoReturn:
    raise NotTrusted(
        f"{name} is granted a role with other keys than those the name belongs to",
        where=where,
        fix=f"revoke {name} from every role before the name is given to other keys",
    )


def _identity(record: Mapping[str, Any], where: str) -> PublicIdentity:
    return PublicIdentity(
        identity_name(record["name"]),
        VerifyKey.parse(record["verifier"], where=where),
        WrapPublicKey.parse(record["wrapping"], where=where),
    )


def _generation(body: Mapping[str, Any]) -> int:
    generation = body["generation"]
    if not isinstance(generation, int) or isinstance(generation, bool) or generation < 0:
        raise ValueError("not a generation")
    return generation


def _day(text: Any) -> dt.date:
    day = dt.date.fromisoformat(_text(text))
    if day.isoformat() != text:
        raise ValueError("not a day in the form 2031-12-31")
    return day


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("not a text")
    return value
