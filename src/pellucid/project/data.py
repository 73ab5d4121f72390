"""The data stage: seal, list, show, read, export, and the budget of a data set."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.access import Decision, Resource, readers, require
from pellucid.errors import BadFile, Denied, Misuse, NotAdopted, PellucidError, Tampered
from pellucid.keys import identity_name
from pellucid.log.entries import Entry, seal_record
from pellucid.privacy import Ledger, order_for
from pellucid.project.people import role_key, schema_key
from pellucid.project.project import Project, tell, unknown
from pellucid.schema import Budget, Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pellucid.vault import Group, Manifest

__all__ = ["Sealed", "dataset", "datasets", "export", "ledger", "read", "require_readable", "seal"]

TAG = "__tag__"


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed version of a data set, its manifest checked against the log."""

    name: str
    version: int
    folder: Path
    manifest: Manifest
    schema: Schema
    manifest_sha256: str

    @property
    def label(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    def resource(self) -> Resource:
        """The data set, as something to decide about."""
        return Resource.dataset(self.name, self.schema)

    def column(self, name: str) -> Resource:
        """One of its columns, as something to decide about."""
        return Resource.column(self.name, self.schema.columns[name], self.schema)


def _vault() -> Any:
    from pellucid import vault

    return vault


def seal(
    project: Project,
    name: str,
    data: pd.DataFrame | pa.Table | Path | str,
    schema: Schema | Path | str,
    *,
    parents: Sequence[str] = (),
) -> str:
    """Check the data against its declared schema, decide, encrypt column group by column group, sign, record.

    Args:
        project: Where.
        name: The data set's name.
        data: A frame, an Arrow table, or a CSV or Parquet file.
        schema: The schema or its file. An owner who seals adopts it; anyone else needs it adopted before.
        parents: Sealed data sets of whose people this one is made, ``name`` or ``name@version``: they share what is
            spent on any of them. Earlier versions of its own need no mention.

    Returns:
        ``name@version``.

    Raises:
        BadData: A value, column or file that the schema does not admit; nothing is written.
        BadFile: An earlier version counts people by another unit, and something was spent on it.
        NotAdopted: No owner adopted this schema.
        Denied: Who acts may not seal.
    """
    identity_name(name)
    origins = [dataset(project, parent) for parent in parents]
    parsed = schema if isinstance(schema, Schema) else Schema.read(Path(schema))
    vault = _vault()
    table = vault.check_table(vault.read_source(Path(data)) if isinstance(data, str | Path) else data, parsed)
    _same_unit(project, name, parsed)
    _adopted(project, name, parsed)
    project.decide("seal", Resource.dataset(name, parsed))
    allowed = readers(project.policy, parsed, name, sorted(project.membership.roles()))
    roles = sorted(frozenset().union(*allowed.values()))
    with _sealing(project):
        version = max((v for n, v in _sealed(project) if n == name), default=0) + 1
        folder = project.layout.dataset(name, version)
        if folder.exists():  # written by a process that died before it could record it: nobody can refer to it
            shutil.rmtree(folder)
        _, sha256 = vault.seal(
            table,
            parsed,
            folder,
            name=name,
            version=version,
            readers=allowed,
            role_keys={role: project.membership.role_key(role) for role in roles},
            signer=project.identity.signing,
        )
        records: list[tuple[str, dict[str, Any]]] = [
            ("seal", {"dataset": name, "version": version, "manifest_sha256": sha256, "schema_sha256": parsed.digest})
        ]
        if origins:
            made_of = [{"dataset": origin.name, "version": origin.version} for origin in origins]
            records.append(("lineage", {"dataset": name, "version": version, "parents": made_of}))
        with project.writing() as writer:  # in one: of a version that anybody can use, it is known what it is made of
            for kind, fields in records:
                writer.append(seal_record(kind, fields, project.identity.signing, project.moment()))
    if parsed.budget is not None:
        _declared(project, name, parsed.budget)
    return f"{name}@{version}"


def _declared(project: Project, name: str, declared: Budget) -> None:
    """The budget that the schema declares holds from the first sealing on; a later one changes nothing, and is told."""
    budget = ledger(project, name).budget
    if budget is None:
        order = order_for(declared.epsilon, declared.delta)
        project.record("budget", dataset=name, epsilon=declared.epsilon, delta=declared.delta, order=order)
    elif (budget.epsilon, budget.delta) != (declared.epsilon, declared.delta):
        tell(
            f"the schema declares a budget of {declared.epsilon:g} at delta {declared.delta:g}; in force stays"
            f" {budget.epsilon:g} at delta {budget.delta:g}\n"
            f"  next: pellucid budget set {name} --epsilon E --delta D changes it"
        )


@contextmanager
def _sealing(project: Project) -> Iterator[None]:
    """One sealing at a time on this machine: between writing a version and recording it, nobody may take its place."""
    path = project.layout.root / "runs" / "sealing.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _adopted(project: Project, name: str, schema: Schema) -> None:
    what = schema_key(name)
    if project.membership.adopted(what) == schema.digest:
        return
    if project.identity.signing.verifier != project.owner:
        raise NotAdopted(
            f'no owner has adopted this schema for "{name}"',
            where="schema",
            fix=f"an owner reads it and runs pellucid access adopt --schema FILE --dataset {name}",
        )
    project.record("adopt", what=what, sha256=schema.digest)


def _same_unit(project: Project, name: str, schema: Schema) -> None:
    """One ledger adds up what was spent on one kind of unit: a row's epsilon says little of a person with several."""
    if not any(entry.kind == "reserve" and entry.body["dataset"] == name for entry in project.counted()):
        return
    before = dataset(project, name).schema.unit
    if before != schema.unit:
        raise BadFile(
            f'earlier versions count people by unit "{before}", and what was spent on those cannot be told in units of '
            f'"{schema.unit}"',
            where="schema: dataset.unit",
            fix="keep the unit, or seal under a new name, whose ledger then knows nothing of the old one",
        )


def _sealed(project: Project) -> dict[tuple[str, int], str]:
    """Every sealed version and the digest of its manifest, from the log."""
    return {key: entry.body["manifest_sha256"] for key, entry in _seals(project).items()}


def _seals(project: Project) -> dict[tuple[str, int], Entry]:
    return {
        (entry.body["dataset"], entry.body["version"]): entry for entry in project.counted() if entry.kind == "seal"
    }


def datasets(project: Project) -> list[tuple[str, int]]:
    """Name and version of every sealed version, in the order of the log."""
    return list(_sealed(project))


def dataset(project: Project, name: str) -> Sealed:
    """A data set by name (its newest version) or by ``name@version``.

    Raises:
        UnknownName: It was never sealed.
        Tampered: Its manifest is not the one in the log.
    """
    sealed = _sealed(project)
    plain, _, wanted = name.partition("@")
    versions = [v for n, v in sealed if n == plain and (not wanted or str(v) == wanted)]
    if not versions:
        known = sorted({n for n, _ in sealed} | {f"{n}@{v}" for n, v in sealed})
        raise unknown("data set", name, known, "pellucid data list shows what is sealed")
    version = max(versions)
    folder = project.layout.dataset(plain, version)
    manifest, signer, sha256 = _vault().read_manifest(folder)
    entry = _seals(project)[plain, version]
    if sha256 != sealed[plain, version]:
        raise Tampered("the manifest is not the one in the log", where=str(folder), fix="restore it from a backup")
    told = (signer, manifest.name, manifest.version, manifest.schema.digest)
    if told != (entry.signer, plain, version, entry.body["schema_sha256"]):
        raise Tampered("the manifest does not say what the log says of it", where=str(folder))
    return Sealed(plain, version, folder, manifest, manifest.schema, sha256)


def read(
    project: Project,
    name: str,
    columns: Sequence[str],
    *,
    purpose: str | None,
    tags: bool = False,
    action: str = "read",
) -> pa.Table:
    """Decrypt columns: decide for each, record, release the keys of their groups, and only then read.

    Args:
        project: Where.
        name: The data set, with or without version.
        columns: The columns, in the order wanted.
        purpose: What for; one of the data set's purposes.
        tags: Also return the split tags, as the last column.
        action: ``read`` or ``export``.

    Raises:
        Denied: The policy says no to a column, or no key for it was ever wrapped to a role of whoever acts.
        Tampered: A file is not the one that was sealed.
    """
    sealed = dataset(project, name)
    if not columns:
        raise Misuse("nothing is read without a column to decide about", where=sealed.label, fix="name the columns")
    decisions = require_readable(project, sealed, columns, purpose, action=action)

    def release(group: Group, wrapped: Mapping[str, str]) -> bytes:
        wanted = [c for c in columns if c in group.columns]
        key = _group_key(project, sealed, group, wrapped)
        if wanted:
            project.record("decision", **_joined(sealed, wanted, decisions[wanted[0]]))
        return key

    table: pa.Table = _vault().read(sealed.folder, sealed.manifest, [*columns, *([TAG] if tags else [])], release)
    return table


def require_readable(
    project: Project, sealed: Sealed, columns: Sequence[str], purpose: str | None, *, action: str = "read"
) -> dict[str, Decision]:
    """What the policy says to each column; a denial is recorded.

    Raises:
        UnknownName: There is no such column.
        Denied: The policy says no to one of them.
    """
    for column in columns:
        if column not in sealed.schema.columns:
            raise unknown("column", column, list(sealed.schema.columns), "pellucid data show lists the columns")
    decisions = {c: project.ask(action, sealed.column(c), purpose) for c in columns}
    refused = [c for c in columns if not decisions[c].allowed]
    if refused:
        project.record("decision", **_joined(sealed, refused, decisions[refused[0]]))
        require(decisions[refused[0]], what=f"{sealed.label}: {', '.join(refused)}")
    return decisions


def _joined(sealed: Sealed, columns: Sequence[str], decision: Decision) -> dict[str, Any]:
    record = decision.record()
    record["resource"] = {"type": "Column", "name": f"{sealed.label}/{','.join(columns)}"}
    return record


def _group_key(project: Project, sealed: Sealed, group: Group, wrapped: Mapping[str, str]) -> bytes:
    """The key of a column group, through any role key that whoever acts holds."""
    for label in sorted(wrapped):
        role, _, generation = label.rpartition("@")
        key = role_key(project, role, int(generation))
        if key is not None:
            opened: bytes = _vault().unwrap_group_key(sealed.manifest, group.id, role, int(generation), key)
            return opened
    raise Denied(
        f"no key for {', '.join(group.columns)} was wrapped to a role of {project.acting}",
        where=sealed.label,
        fix="if the policy gave this right after sealing, a steward seals the data again",
    )


def export(project: Project, name: str, columns: Sequence[str] | None, *, purpose: str | None, path: Path) -> Path:
    """Write decrypted columns to a plaintext file: decided and recorded as ``export``, never over a file.

    Raises:
        Denied: As :func:`read`.
        BadFile: The file exists, or is neither .csv nor .parquet.
    """
    if path.exists():
        raise BadFile("the file exists already", where=str(path), fix="choose another name")
    if path.suffix not in (".csv", ".parquet"):
        raise BadFile("a data set is exported to .csv or .parquet", where=str(path))
    sealed = dataset(project, name)
    wanted = list(columns) if columns else list(sealed.schema.columns)
    table = read(project, sealed.label, wanted, purpose=purpose, action="export")
    _vault().export(table, path)
    return path


# -- budget -----------------------------------------------------------------------------------------------------------


def ledger(project: Project, name: str) -> Ledger:
    """The ledger of a data set, over all its versions.

    Raises:
        UnknownName: It was never sealed.
    """
    plain = name.partition("@")[0]
    known = sorted({n for n, _ in _sealed(project)})
    if plain not in known:
        raise unknown("data set", name, known, "pellucid data list shows what is sealed")
    return Ledger.fold(project.counted(), plain)


def verify_files(project: Project) -> list[tuple[str, PellucidError | None]]:
    """Every sealed version with None if all its bytes are as logged, else the error."""
    results: list[tuple[str, PellucidError | None]] = []
    vault = _vault()
    for (name, version), sha256 in _sealed(project).items():
        try:
            vault.verify(project.layout.dataset(name, version), sha256)
            results.append((f"{name}@{version}", None))
        except PellucidError as error:
            results.append((f"{name}@{version}", error))
    return results
