r"""The evidence bundle: what a third party needs, besides an owner's key, to believe a model's evidence.

    {"format": "pellucid/bundle@1",
     "subject": {"name": "credit-risk@1", "digest": {"sha256": "…"}},
     "evidence": [{"envelope": {…}, "index": 17, "proof": ["…", …]}, …],
     "grants":   [the same shape: entry 0, then every grant and revocation of every signer],
     "checkpoint": "credit\n41\n…\n\n— credit/log …\n"}

Evidence and grants are leaves of the project's log, each with its RFC 6962 inclusion proof (base64 hashes) to the one
signed checkpoint. The chain is owner → log key (entry 0) → checkpoint, and owner → signer (a grant) → evidence. The
file is accepted only in canonical bytes, so every changed byte shows. What a bundle cannot show: that no revocation was
left out or came later, or that the log has no other branch (docs/threat-model.md).
"""

from __future__ import annotations

import datetime as dt
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pellucid.errors import BadFile, NotTrusted, Tampered, Unverified
from pellucid.evidence import TIERS, Evidence, Subject, canonical, digest, parse_canonical
from pellucid.keys import VerifyKey, b64, unb64
from pellucid.log import tree
from pellucid.log.entries import Entry, parse
from pellucid.log.note import Checkpoint, open_checkpoint
from pellucid.log.store import Log

__all__ = [
    "FORMAT",
    "SIGNING_ROLES",
    "Bundle",
    "Item",
    "Verified",
    "build",
    "objections",
    "read",
    "role_holder",
    "verify",
]

FORMAT: Final = "pellucid/bundle@1"
MAX_BYTES: Final = 64 << 20
SIGNING_ROLES: Final = frozenset({"owner", "steward", "scientist", "auditor"})
"""Roles whose members may sign evidence; a reader may not."""
MAKES: Final = frozenset({"dataset", "training", "privacy", "provenance", "tuning", "unsafe", "release"})
"""Kinds that say how a model was made: they count only from those who may make one."""
MAKING_ROLES: Final = frozenset({"owner", "scientist"})
_ONE_RUN: Final = frozenset({"training", "privacy", "provenance"})
_ONCE: Final = frozenset({"training", "privacy"})

Passed = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Item:
    """One leaf of the log with its inclusion proof."""

    envelope: Mapping[str, Any]
    index: int
    proof: tuple[bytes, ...]

    @property
    def leaf(self) -> bytes:
        """The bytes that were logged."""
        return canonical(self.envelope)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as read: nothing in it is believed before :func:`verify`."""

    subject: Subject
    evidence: tuple[Item, ...]
    grants: tuple[Item, ...]
    checkpoint: str

    def to_bytes(self) -> bytes:
        """The canonical bytes of the file."""
        return canonical(
            {
                "format": FORMAT,
                "subject": {"name": self.subject.name, "digest": {"sha256": self.subject.sha256}},
                "evidence": [_item_document(item) for item in self.evidence],
                "grants": [_item_document(item) for item in self.grants],
                "checkpoint": self.checkpoint,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "bundle") -> Bundle:
        """The bundle in ``data``.

        Raises:
            Tampered: Not canonical JSON, or not exactly a bundle.
            Unverified: A bundle of another version.
        """
        if len(data) > MAX_BYTES:
            raise _too_large(where)
        document = parse_canonical(data, where=where)
        if not isinstance(document, dict) or "format" not in document:
            raise Tampered("not a bundle", where=where)
        if document["format"] != FORMAT:
            raise Unverified(
                f"this bundle is of format {document['format']!r}, which this Pellucid does not know",
                where=where,
                fix=f"this version reads {FORMAT}",
            )
        try:
            if set(document) != {"format", "subject", "evidence", "grants", "checkpoint"}:
                raise Tampered("not exactly a bundle", where=where)
            subject = document["subject"]
            if set(subject) != {"name", "digest"} or set(subject["digest"]) != {"sha256"}:
                raise Tampered("not exactly a subject", where=where)
            checkpoint = document["checkpoint"]
            if not isinstance(checkpoint, str):
                raise Tampered("the checkpoint is not a text", where=where)
            return cls(
                Subject(str(subject["name"]), str(subject["digest"]["sha256"])),
                tuple(_item(value, f"{where}: evidence[{i}]") for i, value in enumerate(document["evidence"])),
                tuple(_item(value, f"{where}: grants[{i}]") for i, value in enumerate(document["grants"])),
                checkpoint,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Tampered("not exactly a bundle", where=where) from error


@dataclass(frozen=True, slots=True)
class Verified:
    """What a bundle proves.

    Attributes:
        project: The project whose log holds it all.
        subject: The model.
        evidence: The statements in the order in which they count: of a kind, the last one does. First what its trainer
            said of the model, then what others said, so that nobody replaces an auditor's finding about a model of his
            own; last what no later word takes back: a rejection by somebody who has not approved since, and the attack
            that showed the most. Within each, in the order of the log.
        signers: Who signed each of them, by name in the project.
        owner: The trusted owner at the root of the chain.
        log_key: The log's key, named by the owner in entry 0.
        checkpoint: The signed tree head all proofs lead to.
        indices: The log entry of each statement.
    """

    project: str
    subject: Subject
    evidence: tuple[Evidence, ...]
    signers: tuple[str, ...]
    owner: VerifyKey
    log_key: VerifyKey
    checkpoint: Checkpoint
    indices: tuple[int, ...]


def read(path: Path | str) -> Bundle:
    """The bundle in a file, unverified.

    Raises:
        BadFile: There is no such file, or it is not a regular one.
        Tampered: It is not a bundle in canonical bytes, or larger than 64 MiB.
    """
    path = Path(path)
    try:
        _require_regular(path)
        if path.stat().st_size > MAX_BYTES:
            raise _too_large(str(path))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # no more, even of a file that grows while it is read
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise BadFile("there is no such bundle", where=str(path)) from error
    return Bundle.from_bytes(data, where=str(path))


def _too_large(where: str) -> Tampered:
    fix = "a bundle holds evidence; weights and data stay beside it"
    return Tampered(f"a bundle of more than {MAX_BYTES >> 20} MiB is not accepted", where=where, fix=fix)


def build(log: Log, subject: Subject, evidence: Iterable[int], grants: Iterable[int]) -> Bundle:
    """The bundle of the log entries ``evidence`` and ``grants`` (indices), under the log's newest checkpoint."""
    with log.reading() as snapshot:
        note = snapshot.checkpoint()
        if note is None:
            raise Unverified("the log has no checkpoint yet")
        size = snapshot.size

        def item(index: int) -> Item:
            envelope = parse_canonical(snapshot.entry(index), where=f"log entry {index}")
            return Item(envelope, index, tuple(snapshot.inclusion(index, size)))

        return Bundle(
            subject,
            tuple(item(index) for index in sorted(set(evidence))),
            tuple(item(index) for index in sorted({0, *grants})),
            note,
        )


def verify(bundle: Bundle, owners: Sequence[VerifyKey], *, passed: Passed | None = None) -> Verified:
    """What ``bundle`` proves to someone who trusts ``owners`` and nobody else.

    Args:
        bundle: The bundle as read.
        owners: Trusted owners. None is an error of use: trust has no default here.
        passed: Called with name and detail of each check as it passes.

    Raises:
        NotTrusted: The chain does not begin at one of ``owners``, or a signer did not hold, at the time the evidence
            says, a role that signs evidence of its kind.
        Tampered: A signature, proof or binding does not hold; training, privacy and provenance are not of one signer;
            there are two training or two privacy statements; or times fall along the log.
        BadFile: ``owners`` is empty.
    """
    tell = passed or (lambda _name, _detail: None)
    if not owners:
        raise BadFile("no trusted owner was named", fix="name one with --key OWNER.pub, or in [trust] of the policy")
    try:
        return _verify(bundle, owners, tell)
    except (BadFile, KeyError, TypeError, ValueError, AttributeError) as error:
        # signed by someone who may, and yet not of the shape that its kind has
        raise Tampered("a signed entry does not have the shape of its kind", where="bundle") from error


def _verify(bundle: Bundle, owners: Sequence[VerifyKey], tell: Passed) -> Verified:
    root, owner, log_key = _root(bundle, owners)
    tell("owner", f"{owner.line}")
    checkpoint = open_checkpoint(bundle.checkpoint, log_key, where="bundle: checkpoint")
    if checkpoint.origin != root.body["project"]:
        raise Tampered("the checkpoint is of another project", where="bundle: checkpoint")
    tell("checkpoint", f"{checkpoint.origin}, {checkpoint.size} entries, signed by {log_key.name}")
    for name, items in (("grants", bundle.grants), ("evidence", bundle.evidence)):
        _order(items, name)
        for item in items:
            where = f"bundle: {name}, log entry {item.index}"
            tree.verify_inclusion(
                tree.leaf_hash(item.leaf), item.index, checkpoint.size, list(item.proof), checkpoint.root, where=where
            )
    tell("inclusion", f"{len(bundle.grants) + len(bundle.evidence)} entries proved to be in the log")
    grants = [parse(item.index, item.leaf) for item in bundle.grants]
    entries = [parse(item.index, item.leaf) for item in bundle.evidence]
    tell("signatures", f"{len(grants) + len(entries)} signatures hold")
    by = [_signer(entry, root, grants, owner) for entry in entries]
    tell("grants", f"every signer was granted a role by {owner.name}: {', '.join(sorted(set(by)))}")
    said = [_evidence(entry) for entry in entries]
    _bind(bundle.subject, said)
    _one_run(entries)
    _own_words(entries, by)
    _in_time([*grants, *entries])
    order = _weight(entries)
    evidence, signers = tuple(said[i] for i in order), tuple(by[i] for i in order)
    tell("subject", f"every statement is about {bundle.subject.name} or the data it was trained on")
    indices = tuple(entries[i].index for i in order)
    return Verified(root.body["project"], bundle.subject, evidence, signers, owner, log_key, checkpoint, indices)


def up_to(tier: str) -> frozenset[str]:
    """The tiers that a reader of ``tier`` may have: that one and those below.

    Raises:
        BadFile: There is no such tier.
    """
    if tier not in TIERS:
        raise BadFile(f'"{tier}" is not a tier', fix=f"use one of {', '.join(TIERS)}")
    return frozenset(TIERS[: TIERS.index(tier) + 1])


def weights_digest(path: Path) -> str:
    """SHA-256 of a weights file, which a bundle's subject names."""
    try:
        _require_regular(path)
        return digest(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadFile("the weights cannot be read", where=str(path)) from error


def _require_regular(path: Path) -> None:
    """Refuse a pipe or a device, which could be read for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadFile("this is not a regular file", where=str(path))


def _item_document(item: Item) -> dict[str, Any]:
    return {"envelope": dict(item.envelope), "index": item.index, "proof": [b64(h) for h in item.proof]}


def _item(value: Any, where: str) -> Item:
    if set(value) != {"envelope", "index", "proof"}:
        raise Tampered("not exactly an entry with a proof", where=where)
    index = value["index"]
    if not isinstance(index, int) or isinstance(index, bool) or index < 0 or not isinstance(value["envelope"], dict):
        raise Tampered("not exactly an entry with a proof", where=where)
    return Item(value["envelope"], index, tuple(unb64(text, where=where) for text in value["proof"]))


def _order(items: Sequence[Item], name: str) -> None:
    indices = [item.index for item in items]
    if not indices or indices != sorted(set(indices)):
        raise Tampered("entries must stand once each, in the order of the log", where=f"bundle: {name}")


def _root(bundle: Bundle, owners: Sequence[VerifyKey]) -> tuple[Entry, VerifyKey, VerifyKey]:
    """Entry 0, the trusted owner who signed it, and the log's key that it names."""
    if not bundle.grants or bundle.grants[0].index != 0:
        raise Tampered("entry 0 of the log is missing", where="bundle: grants")
    root = parse(0, bundle.grants[0].leaf)
    if root.kind != "genesis":
        raise Tampered("entry 0 is not the start of a project", where="bundle: grants")
    owner = next((key for key in owners if key == root.signer), None)
    if owner is None:
        raise NotTrusted(
            f"this bundle's project is owned by {root.signer.line}, whom you did not name as trusted",
            where="bundle",
            fix="get the owner's key from the owner and pass it with --key",
        )
    if root.body["owner"]["verifier"] != owner.line:
        raise Tampered("entry 0 names another owner than the one who signed it", where="bundle: grants")
    return root, owner, VerifyKey.parse(root.body["log"], where="log entry 0")


def _signer(entry: Entry, root: Entry, grants: Sequence[Entry], owner: VerifyKey) -> str:
    """The name of the signer, who held a fitting role at the moment of signing by the owner's word."""
    when = _at(entry)
    if entry.signer == owner:
        return str(root.body["owner"]["name"])
    kind = entry.evidence.kind
    fitting = MAKING_ROLES if kind in MAKES else SIGNING_ROLES
    before = [grant for grant in grants if grant.index <= entry.index]
    name = role_holder(before, owner, entry.signer, fitting, when)
    if name is None:
        raise NotTrusted(
            f"{entry.signer.name} was not granted a role that signs evidence of kind {kind},"
            " or not at the time it says",
            where=f"bundle: log entry {entry.index}",
        )
    return name


def role_holder(
    grants: Sequence[Entry], owner: VerifyKey, key: VerifyKey, roles: Collection[str], when: dt.datetime
) -> str | None:
    """The name under which ``key`` held one of ``roles`` at a moment, by the owner's word; None if it did not.

    Args:
        grants: Grants and revocations in the order of the log; those that ``owner`` did not sign are passed over.
        owner: The trusted owner.
        key: Whose role is asked for.
        roles: Any of them will do.
        when: The moment, in UTC.
    """
    held: dict[tuple[str, str], Entry] = {}  # (name, role) -> the grant that holds
    for grant in grants:
        if grant.kind == "grant" and grant.signer == owner:
            held[grant.body["identity"]["name"], grant.body["role"]] = grant
        elif grant.kind == "revoke" and grant.signer == owner:
            held.pop((grant.body["identity"], grant.body["role"]), None)
    for (name, role), grant in held.items():
        if grant.body["identity"]["verifier"] != key.line or role not in roles:
            continue
        expires = grant.body["expires"]
        if _at(grant) <= when and (expires is None or when.date() <= dt.date.fromisoformat(expires)):
            return str(name)
    return None


def _at(entry: Entry) -> dt.datetime:
    """The UTC time to the second that an entry says it was made at."""
    said: Any = entry.evidence.how.get("at") if entry.kind == "evidence" else entry.body["at"]
    try:
        moment = dt.datetime.strptime(said, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
    except (TypeError, ValueError):
        moment = None
    # strptime also takes 2026-3-1T1:2:3Z: one moment, one text
    if moment is None or f"{moment.replace(tzinfo=None).isoformat('T', 'seconds')}Z" != said:
        raise Tampered(
            "at is not a UTC time to the second, such as 2026-03-01T12:00:00Z",
            where=f"bundle: log entry {entry.index}",
        )
    return moment


def _evidence(entry: Entry) -> Evidence:
    if entry.kind != "evidence":
        raise Tampered("this entry is not evidence", where=f"bundle: log entry {entry.index}")
    return entry.evidence


def _bind(subject: Subject, evidence: Sequence[Evidence]) -> None:
    """Every statement is about the model, or about the data set version that its training statement names."""
    training = [e for e in evidence if e.kind == "training"]
    data = {str(e.values["dataset"]["sha256"]) for e in training}
    for statement in evidence:
        ours = statement.subject == subject
        its_data = statement.kind in ("dataset", "release") and statement.subject.sha256 in data
        if not (ours or its_data):
            raise Tampered(
                f"evidence of kind {statement.kind} is about {statement.subject.name}, not about {subject.name}",
                where="bundle: subject",
            )


def _one_run(entries: Sequence[Entry]) -> None:
    """Training, privacy and provenance are the words of one signer, and the first two are said once.

    Otherwise somebody else could add a kinder claim about the same weights, and a reader would see only the last.
    """
    for kind in sorted(_ONCE):
        if sum(entry.evidence.kind == kind for entry in entries) > 1:
            raise Tampered(f"there is more than one statement of kind {kind} about this model", where="bundle: subject")
    if len({entry.signer.line for entry in entries if entry.evidence.kind in _ONE_RUN}) > 1:
        raise Tampered(
            "training, privacy and provenance are not signed by one and the same key", where="bundle: subject"
        )


def objections(entries: Iterable[Entry]) -> list[Entry]:
    """The reviews that are no approval and that who signed them has not taken back since: by key, not by name."""
    last = {entry.signer.line: entry for entry in entries if entry.evidence.kind == "review"}
    return [entry for entry in last.values() if entry.evidence.values["verdict"] != "approve"]


def _weight(entries: Sequence[Entry]) -> list[int]:
    """Positions in ``entries`` in the order in which they count; see :class:`Verified`."""
    trainers = {entry.signer.line for entry in entries if entry.evidence.kind == "training"}
    objecting = objections(entries)
    standing = {entry.index for entry in objecting}
    rejected = {entry.index for entry in objecting if entry.evidence.values["verdict"] == "reject"}  # nothing covers it
    attacks = [entry for entry in entries if entry.evidence.kind == "attack"]
    if attacks:
        strongest = max(attacks, key=lambda entry: (float(entry.evidence.values["epsilon_lower"]), entry.index))
        standing.add(strongest.index)

    def weight(i: int) -> tuple[bool, bool, bool, int]:
        index = entries[i].index
        return index in standing, index in rejected, entries[i].signer.line not in trainers, i

    return sorted(range(len(entries)), key=weight)


def _own_words(entries: Sequence[Entry], names: Sequence[str]) -> None:
    """A review says of its signer what the bundle proves: who, and whether somebody else trained the model."""
    trainers = {entry.signer.line for entry in entries if entry.evidence.kind == "training"}
    for entry, name in zip(entries, names, strict=True):
        if entry.evidence.kind != "review":
            continue
        values, where = entry.evidence.values, f"bundle: log entry {entry.index}"
        if values.get("reviewer", name) != name:
            raise Tampered("this review names another reviewer than the one who signed it", where=where)
        if values.get("independent") is True and (not trainers or entry.signer.line in trainers):
            raise Tampered("this review calls itself independent, and its signer trained the model", where=where)


def _in_time(entries: Sequence[Entry]) -> None:
    """Times do not fall along the log, so that nobody whose grant has ended signs for an earlier day."""
    latest: Entry | None = None
    for entry in sorted(entries, key=lambda entry: entry.index):
        if latest is not None and _at(entry) < _at(latest):
            raise Tampered(
                f"says an earlier time than log entry {latest.index}, which stands before it",
                where=f"bundle: log entry {entry.index}",
            )
        latest = entry
