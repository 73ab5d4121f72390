"""People: founding a project, identities, roles, adoption."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pellucid.access import shipped
from pellucid.errors import BadFile, Denied, Misuse, UnknownName, WrongPassphrase, nearest
from pellucid.keys import (
    Identity,
    KdfCost,
    PublicIdentity,
    SigningKey,
    WrapKey,
    b64,
    create_identity,
    identity_name,
    open_identity,
    read_public,
    unb64,
)
from pellucid.log.entries import seal_record
from pellucid.log.store import Log
from pellucid.project.layout import Layout
from pellucid.project.project import (
    ACCESS_POLICY,
    ACCESS_SCHEMA,
    LOG_KEY_INFO,
    ROLES,
    Project,
    now,
    role_key_info,
    today,
    unknown,
)
from pellucid.schema import Schema

__all__ = ["adopt", "found", "grant", "new_identity", "revoke", "role_key", "schema_key"]


def schema_key(dataset: str) -> str:
    """The name under which a data set's schema is adopted."""
    return f"schema/{dataset}"


def found(
    root: Path,
    *,
    owner: str = "owner",
    passphrase: str | Callable[[str], str] | None = None,
    name: str | None = None,
    cost: KdfCost | None = None,
) -> Project:
    """Make a project: policies, an owner, role keys, a log whose entry 0 the owner signs, the shipped policy adopted.

    Args:
        root: A new or empty folder.
        owner: The owner's name.
        passphrase: The owner's passphrase, or a function from a name to it.
        name: The project's name; default the folder's.
        cost: Cost of the passphrase's key derivation; tests use a low one.

    Raises:
        Misuse: There is a project already, or the folder is not empty.
        BadFile: A name cannot be a name.
        WrongPassphrase: No passphrase.
    """
    import os

    identity_name(owner)
    given = passphrase(owner) if callable(passphrase) else passphrase
    secret = given or os.environ.get("PELLUCID_PASSPHRASE", "")
    if not secret:
        raise WrongPassphrase("no passphrase was given for the owner", where=owner, fix="set PELLUCID_PASSPHRASE")
    fresh = not root.exists()
    layout = Layout.create(root, name or _folder_name(root))
    try:
        _found(layout, owner, secret, cost)
    except BaseException:
        # Nothing was here before, so nothing half-made may stay.
        for item in layout.root.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        if fresh:
            layout.root.rmdir()
        raise
    return Project(layout, identity=owner, passphrase=passphrase)


def _folder_name(root: Path) -> str:
    try:
        return identity_name(root.resolve().name.lower().replace(" ", "-").replace(".", "-"))
    except BadFile as error:
        raise BadFile("the folder's name cannot name a project", where=str(root), fix="give one with --name") from error


def _found(layout: Layout, owner: str, secret: str, cost: KdfCost | None) -> None:
    identity = create_identity(layout.identity(owner), owner, secret, project=layout.name, cost=cost)
    log_key = SigningKey.generate(f"{layout.name}/log")
    for source in sorted(shipped().iterdir()):
        if source.is_file() and source.suffix in (".cedar", ".cedarschema", ".toml"):
            shutil.copyfile(source, layout.policies / source.name)
    release = layout.policies / "release.toml"
    trust = f'[trust]\nowners = ["{identity.signing.verifier.line}"]\n\n'
    release.write_text(trust + release.read_text(encoding="utf-8"), encoding="utf-8")
    layout.owner_key.write_text(identity.signing.verifier.line + "\n", encoding="ascii")
    from pellucid.access import AccessPolicy

    policy = AccessPolicy.load(layout.policies)
    public = _person(PublicIdentity(owner, identity.signing.verifier, identity.wrapping.public))
    records: list[tuple[str, dict[str, Any]]] = [
        ("genesis", {"project": layout.name, "owner": public, "log": log_key.verifier.line})
    ]
    keys = {}
    for role in ROLES:
        keys[role] = WrapKey.generate()
        records.append(("role-key", _role_key_record(role, 1, keys[role], identity)))
    records.append(("grant", _grant_record("owner", 1, public, identity, keys["owner"], log_key.secret(), None)))
    records.append(("adopt", {"what": ACCESS_POLICY, "sha256": policy.sha256}))
    records.append(("adopt", {"what": ACCESS_SCHEMA, "sha256": policy.schema_sha256}))
    with Log.create(layout.log_url).writing(log_key, layout.name) as writer:
        for kind, fields in records:
            writer.append(seal_record(kind, fields, identity.signing, now()))


def _person(identity: PublicIdentity) -> dict[str, str]:
    return {"name": identity.name, "verifier": identity.verifier.line, "wrapping": identity.wrapping.text}


def _role_key_record(role: str, generation: int, key: WrapKey, owner: Identity) -> dict[str, Any]:
    wrapped = owner.wrapping.public.wrap(key.secret(), info=role_key_info(role, generation))
    return {"role": role, "generation": generation, "public": key.public.text, "wrapped": b64(wrapped)}


def _grant_record(
    role: str,
    generation: int,
    person: dict[str, str],
    identity: PublicIdentity | Identity,
    key: WrapKey,
    log_seed: bytes,
    expires: dt.date | None,
) -> dict[str, Any]:
    public = identity.wrapping.public if isinstance(identity, Identity) else identity.wrapping
    return {
        "role": role,
        "generation": generation,
        "identity": person,
        "wrapped": b64(public.wrap(key.secret(), info=role_key_info(role, generation))),
        "log_key": b64(public.wrap(log_seed, info=LOG_KEY_INFO)),
        "expires": expires.isoformat() if expires else None,
    }


def new_identity(project: Project, name: str, passphrase: str, *, cost: KdfCost | None = None) -> PublicIdentity:
    """Make an identity. It can do nothing before an owner grants it a role.

    Raises:
        BadFile: The name cannot be a name, or is taken (also by somebody whose file is elsewhere).
    """
    if project.membership.identity(name) is not None:
        raise BadFile(f'"{name}" is known to the log already', fix="choose another name")
    identity = create_identity(project.layout.identity(name), name, passphrase, project=project.name, cost=cost)
    return PublicIdentity(name, identity.signing.verifier, identity.wrapping.public)


def grant(project: Project, role: str, name: str, *, expires: dt.date | None = None) -> int:
    """Give a role to an identity: its role key and the log's key, wrapped to that identity. Owners only.

    Raises:
        UnknownName: No such role or identity.
        Denied: Who acts is no owner.
        Misuse: The identity holds the role already, or the date is past.
    """
    known = sorted(project.membership.roles())
    if role not in known:
        raise unknown("role", role, known, f"use one of {', '.join(known)}")
    if role == "owner":
        raise Misuse("a project has one owner for now", fix="grant steward, scientist, auditor or reader")
    if expires is not None and expires < today():
        raise Misuse("the grant would have expired already", fix="give a date from today on")
    names = project.layout.identities()
    if name not in names:
        raise UnknownName(f'there is no identity "{name}"{nearest(name, names)}', fix=f"pellucid identity new {name}")
    if role in project.roles(name):
        raise Misuse(f"{name} is {role} already", fix="pellucid role list shows who is who")
    project.decide("administer", project.resource())
    _owner_only(project, "grant a role")
    public = read_public(project.layout.identity(name), name)
    generation, key = _owner_role_key(project, role)
    fields = _grant_record(role, generation, _person(public), public, key, project.log_key.secret(), expires)
    return project.record("grant", **fields)


def revoke(project: Project, role: str, name: str) -> int:
    """Take a role from an identity, and make a new role key that it does not have. Owners only.

    Data sealed from now on is out of its reach by cryptography; for data sealed before, the library refuses, but a
    copy of the old role key and of the files would still open them (docs/threat-model.md).

    Raises:
        UnknownName: The identity does not hold the role.
    """
    known = sorted(project.membership.roles())
    if role not in known:
        raise unknown("role", role, known, f"use one of {', '.join(known)}")
    if role == "owner":
        raise Misuse("the owner cannot be revoked: the log is rooted in that key")
    if _expiry(project, role, name) is _NEVER:
        raise UnknownName(f"{name} is not {role}", fix="pellucid role list shows who is who")
    project.decide("administer", project.resource())
    _owner_only(project, "revoke a role")
    generation = _generation(project, role) + 1
    key = WrapKey.generate()
    seed = project.log_key.secret()
    records: list[tuple[str, dict[str, Any]]] = [
        ("revoke", {"role": role, "identity": name}),
        ("role-key", _role_key_record(role, generation, key, project.identity)),
    ]
    for member in sorted(project.membership.members(role, today()) - {name}):
        public = project.membership.identity(member)
        if public is not None:
            expires = _expiry(project, role, member)
            records.append(("grant", _grant_record(role, generation, _person(public), public, key, seed, expires)))
    # all or nothing: a stop in between must not leave the old key in force
    with project.writing() as writer:
        index = writer.size
        for kind, fields in records:
            writer.append(seal_record(kind, fields, project.identity.signing, project.moment()))
    return index


_NEVER: Final = dt.date.min


def _expiry(project: Project, role: str, member: str) -> dt.date | None:
    """The last day of a grant that was not revoked (None: it has no end), or ``_NEVER`` where there is none."""
    for entry in reversed(project.entries()):
        body = entry.body
        if entry.kind == "revoke" and (body["role"], body["identity"]) == (role, member):
            break
        if entry.kind == "grant" and (body["role"], body["identity"]["name"]) == (role, member):
            return dt.date.fromisoformat(body["expires"]) if body["expires"] else None
    return _NEVER


def _generation(project: Project, role: str) -> int:
    newest = project.membership.role_key(role)
    if newest is None:
        raise UnknownName(f'role "{role}" has no key')
    return newest[0]


def adopt(project: Project, *, schema: Path | None = None, dataset: str | None = None) -> list[str]:
    """Sign the digests of the access policy and its schema, or of a data set schema, into the log. Owners only.

    Returns:
        What was adopted, one line each.

    Raises:
        BadFile: The policy or schema is not valid: what cannot work is never adopted.
        Denied: Who acts is no owner.
    """
    from pellucid.access import AccessPolicy

    _owner_only(project, "adopt a policy")
    if schema is not None:
        parsed = Schema.read(schema)
        name = schema_key(identity_name(dataset or schema.stem))
        if project.membership.adopted(name) == parsed.digest:
            return [f"{name} is adopted already"]
        project.record("adopt", what=name, sha256=parsed.digest)
        return [f"{name} sha256:{parsed.digest}"]
    policy = AccessPolicy.load(project.layout.policies)
    done = []
    for what, sha256 in ((ACCESS_POLICY, policy.sha256), (ACCESS_SCHEMA, policy.schema_sha256)):
        if project.membership.adopted(what) != sha256:
            project.record("adopt", what=what, sha256=sha256)
            done.append(f"{what} sha256:{sha256}")
    return done or ["the policy in force is the one in the folder already"]


def _owner_only(project: Project, what: str) -> None:
    """Owners sign for trust itself, so this does not depend on a policy that may be the thing to mend."""
    if project.identity.signing.verifier != project.owner:
        raise Denied(f"only the owner can {what}, and {project.acting} is not", fix="act as the owner: --as NAME")


def _owner_role_key(project: Project, role: str) -> tuple[int, WrapKey]:
    """The newest key of a role, from the copy wrapped to the owner."""
    generation = _generation(project, role)
    for entry in project.entries():
        body = entry.body
        if entry.kind == "role-key" and (body["role"], body["generation"]) == (role, generation):
            where = f"log entry {entry.index}"
            secret = project.identity.wrapping.unwrap(
                unb64(body["wrapped"], where=where), info=role_key_info(role, generation), where=where
            )
            return generation, WrapKey(secret)
    raise UnknownName(f'role "{role}" has no key')


def role_key(project: Project, role: str, generation: int) -> WrapKey | None:
    """The key of ``role@generation`` if whoever acts holds it, else None."""
    if project.identity.signing.verifier == project.owner:
        for entry in project.entries():
            body = entry.body
            if entry.kind == "role-key" and (body["role"], body["generation"]) == (role, generation):
                return _unwrap(project, body["wrapped"], role, generation)
    for held, held_generation, wrapped in project.membership.wrapped_role_keys(project.acting):
        if (held, held_generation) == (role, generation) and role in project.roles():
            return _unwrap(project, wrapped, role, generation)
    return None


def _unwrap(project: Project, wrapped: str, role: str, generation: int) -> WrapKey:
    where = f"the key of role {role} wrapped for {project.acting}"
    secret = project.identity.wrapping.unwrap(
        unb64(wrapped, where=where), info=role_key_info(role, generation), where=where
    )
    return WrapKey(secret)


def unlock(project: Project, name: str, passphrase: str) -> Identity:
    """Open an identity's file, for commands that only need to know that the passphrase fits."""
    return open_identity(project.layout.identity(name), name, passphrase)
