"""The project: its log, its trust, and who is acting."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pellucid.access import (
    AccessPolicy,
    Decision,
    Membership,
    Principal,
    Request,
    Resource,
    decide,
    require,
)
from pellucid.errors import BadFile, Denied, Misuse, NotAdopted, NotTrusted, UnknownName, WrongPassphrase, nearest
from pellucid.evidence import Evidence
from pellucid.keys import Identity, SigningKey, VerifyKey, open_identity, unb64
from pellucid.log.entries import Entry, parse, seal_evidence, seal_record
from pellucid.log.store import Log, Writer
from pellucid.project import known as prefix
from pellucid.project.lawful import TRUST, Standing
from pellucid.project.layout import Layout, find

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pellucid.bundle import Bundle
    from pellucid.privacy import Ledger, Plan, Statistic
    from pellucid.project.recipe import Outcome
    from pellucid.project.run import Run
    from pellucid.project.statistics import Release
    from pellucid.schema import Schema
    from pellucid.train.space import Space

__all__ = ["ACCESS_POLICY", "ACCESS_SCHEMA", "LOG_KEY_INFO", "Project", "role_key_info"]

ACCESS_POLICY: Final = "access.cedar"
ACCESS_SCHEMA: Final = "access.cedarschema"
LOG_KEY_INFO: Final = "pellucid/log-key@1"
ROLES: Final = ("owner", "steward", "scientist", "auditor", "reader")


def role_key_info(role: str, generation: int) -> str:
    """What a wrapped role key is bound to."""
    return f"pellucid/role-key@1|{role}@{generation}"


class Project:
    """One governed effort: a folder with policies, sealed data, the log and the models.

    A project is a context manager. Whoever opens it reads the log; an identity is unlocked at the first act that needs
    one. Every act is decided by the adopted policy and recorded before it happens.

    Attributes:
        layout: Where things stand.
        log: The transparency log.
        membership: The state of trust, folded from the log.
        named: The folder as whoever opened it named it; None if it was the nearest one upward.
        notices: What earlier processes left behind, in plain sentences.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        identity: str | None = None,
        passphrase: str | Callable[[str], str] | None = None,
        named: Path | None = None,
    ) -> None:
        self.layout = layout
        self.named = named
        self.log = Log.open(layout.log_url)
        self._name = identity
        self._passphrase = passphrase
        self._identity: Identity | None = None
        self._policy: AccessPolicy | None = None
        self._swept = False
        self._entries: list[Entry] = []
        self._log_verifier = self._root()
        self._standing = Standing(self._owner)
        self.membership = Membership.fold(self.entries(), self._owner)
        from pellucid.project.reservations import unfinished

        self.notices = unfinished(self)

    def __repr__(self) -> str:
        return f"Project({self.name!r})"

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._identity = None

    # -- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: Path | str | None = None,
        *,
        identity: str | None = None,
        passphrase: str | Callable[[str], str] | None = None,
    ) -> Project:
        """The project in ``path``, or the nearest one upward.

        Args:
            path: The folder that holds ``pellucid.toml``.
            identity: Who acts; default ``PELLUCID_IDENTITY``, then the only identity there is.
            passphrase: The passphrase, or a function from the identity's name to it; default ``PELLUCID_PASSPHRASE``.

        Raises:
            UnknownName: There is no project.
            BadFile: ``pellucid.toml`` does not parse.
            Tampered, NotTrusted: The log does not begin as it must.
        """
        named = Path(path) if path is not None else None
        return cls(Layout.read(find(named)), identity=identity, passphrase=passphrase, named=named)

    @classmethod
    def init(
        cls,
        path: Path | str,
        *,
        owner: str = "owner",
        passphrase: str | Callable[[str], str] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> Project:
        """A new project with policies, roles and an owner. See :func:`pellucid.project.people.found`."""
        from pellucid.project.people import found

        return found(Path(path), owner=owner, passphrase=passphrase, name=name, **options)

    @property
    def name(self) -> str:
        """The project's name."""
        return self.layout.name

    @property
    def owner(self) -> VerifyKey:
        """The owner's verifier key, as entry 0 names it."""
        return self.membership.owner

    def _root(self) -> VerifyKey:
        """The log's key, from entry 0, if the owner in ``owner.pub`` signed it: a swapped log shows at once."""
        path = self.layout.owner_key
        try:
            self._owner = VerifyKey.parse(path.read_text(encoding="ascii"), where=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile("the owner's key is not there", where=str(path), fix="restore it from a backup") from error
        root = parse(0, self.log.entry(0))
        if root.kind != "genesis" or root.signer != self._owner:
            raise NotTrusted(
                "the log belongs to another owner than owner.pub",
                where=str(self.layout.root),
                fix="restore the log or owner.pub from a backup",
            )
        if root.body["project"] != self.name:
            raise NotTrusted(f"the log is of project {root.body['project']!r}", where=str(self.layout.root))
        return VerifyKey.parse(root.body["log"], where="log entry 0")

    # -- who acts -----------------------------------------------------------------------------------------------------

    @property
    def acting(self) -> str:
        """The name of whoever acts.

        Raises:
            UnknownName: No such identity, or several and none was named.
        """
        known = self.layout.identities()
        name = self._name or os.environ.get("PELLUCID_IDENTITY") or (known[0] if len(known) == 1 else None)
        if name is None:
            raise UnknownName(
                f"there are several identities ({', '.join(known)})", fix="say who acts with --as or PELLUCID_IDENTITY"
            )
        if name not in known:
            raise UnknownName(
                f'there is no identity "{name}"{nearest(name, known)}', fix="pellucid identity new makes one"
            )
        return name

    @property
    def identity(self) -> Identity:
        """Whoever acts, unlocked.

        Raises:
            WrongPassphrase: The passphrase does not open the identity, or none was given.
            NotTrusted: The identity's keys are not the ones an owner granted a role to.
        """
        if self._identity is None:
            name = self.acting
            given = self._passphrase(name) if callable(self._passphrase) else self._passphrase
            secret = given or os.environ.get("PELLUCID_PASSPHRASE", "")
            if not secret:
                raise WrongPassphrase("no passphrase was given", where=name, fix="set PELLUCID_PASSPHRASE")
            identity = open_identity(self.layout.identity(name), name, secret)
            granted = self.membership.identity(name)
            if granted is not None and granted.verifier != identity.signing.verifier:
                raise NotTrusted(
                    "this identity's keys are not the ones that were granted a role",
                    where=name,
                    fix="restore the identity file from a backup, or ask an owner for a new grant",
                )
            self._identity = identity
        return self._identity

    def roles(self, name: str | None = None) -> frozenset[str]:
        """The roles somebody holds today."""
        return self.membership.roles_of(name or self.acting, today())

    @property
    def log_key(self) -> SigningKey:
        """The log's key, unwrapped for whoever acts.

        Raises:
            Denied: Who acts holds no role, and so has no log key.
        """
        wrapped = self.membership.wrapped_log_key(self.acting, today())
        if wrapped is None:
            raise Denied(
                f"{self.acting} holds no role in this project, so nothing can be done or recorded in that name",
                fix=f"an owner can grant one: pellucid role grant ROLE {self.acting}",
            )
        seed = self.identity.wrapping.unwrap(
            unb64(wrapped, where="log key"), info=LOG_KEY_INFO, where="the log key wrapped for you"
        )
        return SigningKey(self.membership.log_key.name, seed)

    # -- the log ------------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Every entry, parsed once."""
        if len(self._entries) < self.log.size:
            start = len(self._entries)
            held = list(self.log.held(self._log_verifier, self.name, start))
            known = 0 if start else prefix.known(self._log_verifier, held)
            self._entries.extend([parse(start + i, leaf, known=i < known) for i, leaf in enumerate(held)])
            if not start and len(held) >= known + prefix.LEAST:
                prefix.remember(self._log_verifier, held)
        return self._entries

    def counted(self) -> list[Entry]:
        """The entries that count: their signers held a fitting role. See :mod:`pellucid.project.lawful`."""
        entries = self.entries()
        self._standing.feed(entries[self._standing.size :])
        return self._standing.counted

    def ignored(self) -> list[tuple[int, str]]:
        """Entries that do not count, and why."""
        self.counted()
        return self._standing.ignored

    def refresh(self) -> None:
        """Fold what was written since, by whomever: a role revoked by another process is gone here too."""
        if len(self.entries()) != self.membership.size:
            self.membership = Membership.fold(self.entries(), self.membership.owner)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """One exclusive transaction on the log; see :meth:`pellucid.log.store.Log.writing`."""
        if not self._swept:
            from pellucid.project.reservations import settle_abandoned, sweep

            self._swept = True
            sweep(self)
            if self.notices:
                settle_abandoned(self)
        self.refresh()
        with self.log.writing(self.log_key, self.name) as writer:
            start = writer.size
            yield writer
            self._would_count([parse(start + i, leaf) for i, leaf in enumerate(writer.entries(start))])
        self.refresh()

    def _would_count(self, new: Sequence[Entry]) -> None:
        """Nothing is written that nobody would believe, or that no later reader could get past."""
        before, counted = self.entries(), self.counted()
        if any(entry.kind in TRUST for entry in new):
            Membership.fold([*before, *new], self._owner)
        self._standing.require(new)
        spending = ("budget", "purpose-budget", "reserve", "register", "lineage")
        touched = {entry.body["dataset"] for entry in new if entry.kind in spending}
        if any(entry.kind == "settle" for entry in new):
            touched |= {entry.body["dataset"] for entry in counted if entry.kind == "reserve"}
        if touched:
            from pellucid.privacy import Ledger, purposes_with_budgets

            for name in sorted(touched):
                for purpose in (None, *purposes_with_budgets([*counted, *new], name)):
                    Ledger.fold([*counted, *new], name, purpose)

    def record(self, kind: str, **fields: Any) -> int:
        """Append one signed record; returns its index."""
        with self.writing() as writer:
            return writer.append(seal_record(kind, fields, self.identity.signing, self.moment()))

    def publish(self, evidence: Sequence[Evidence]) -> list[int]:
        """Append signed evidence, all or nothing; returns the indices. ``how.at`` is the moment of writing."""
        with self.writing() as writer:
            at = {"at": self.moment().strftime("%Y-%m-%dT%H:%M:%SZ")}
            dated = [replace(item, how={**item.how, **at}) for item in evidence]
            return [writer.append(seal_evidence(item, self.identity.signing)) for item in dated]

    def moment(self) -> dt.datetime:
        """Now, and not before the last entry: two machines' clocks may differ a little, the log's times do not fall.

        Called with the log locked.
        """
        moment = now()
        times = (entry_time(entry) for entry in self.counted()[-64:])
        # a clock that is off by more than that is not followed
        return max((t for t in times if moment < t <= moment + dt.timedelta(hours=1)), default=moment)

    # -- decisions ----------------------------------------------------------------------------------------------------

    @property
    def policy(self) -> AccessPolicy:
        """The access policy in force: the files, if they are the ones an owner adopted.

        Raises:
            BadFile: The policy does not parse or does not fit its schema.
            NotAdopted: Nobody adopted these bytes.
        """
        if self._policy is None or self._not_adopted(self._policy):
            policy = AccessPolicy.load(self.layout.policies)
            for what in self._not_adopted(policy):
                raise NotAdopted(
                    f"{what} was changed and nobody adopted it, so it denies everything",
                    where=str(self.layout.policies / what),
                    fix="an owner reads it and runs pellucid access adopt",
                )
            self._policy = policy
        return self._policy

    def _not_adopted(self, policy: AccessPolicy) -> list[str]:
        """Which of the policy's two files are not the ones that an owner adopted last."""
        digests = {ACCESS_POLICY: policy.sha256, ACCESS_SCHEMA: policy.schema_sha256}
        return [what for what, sha256 in digests.items() if self.membership.adopted(what) != sha256]

    def ask(self, action: str, resource: Resource, purpose: str | None, *, name: str | None = None) -> Decision:
        """What the policy says, without an attempt and so without a record."""
        self.refresh()
        who = name or self.acting
        return decide(self.policy, Request(Principal("Identity", who, self.roles(who)), action, resource, purpose))

    def decide(self, action: str, resource: Resource, purpose: str | None = None) -> Decision:
        """Decide, record, and return only if it is allowed.

        Raises:
            Denied: The policy says no; the denial is in the log.
        """
        decision = self.ask(action, resource, purpose)
        self.record("decision", **decision.record())
        require(decision)
        return decision

    def resource(self) -> Resource:
        """The project itself, as something to decide about."""
        return Resource.project(self.name)

    # -- the stages ---------------------------------------------------------------------------------------------------

    def seal(
        self,
        name: str,
        data: pd.DataFrame | pa.Table | Path | str,
        *,
        schema: Schema | Path | str,
        parents: Sequence[str] = (),
    ) -> str:
        """Seal a data set; returns ``name@version``. See :func:`pellucid.project.data.seal`."""
        from pellucid.project.data import seal

        return seal(self, name, data, schema, parents=parents)

    def read(self, name: str, columns: Sequence[str], *, purpose: str) -> pa.Table:
        """Decrypt columns that whoever acts may read. See :func:`pellucid.project.data.read`."""
        from pellucid.project.data import read

        return read(self, name, columns, purpose=purpose)

    def budget(self, name: str) -> Ledger:
        """The ledger of a data set."""
        from pellucid.project.data import ledger

        return ledger(self, name)

    def run(self, name: str, *, data: str, purpose: str, plan: Plan, factory: str | None = None, **options: Any) -> Run:
        """A governed run: decided, reserved, accounted, evidenced. See :class:`pellucid.project.run.Run`."""
        from pellucid.project.run import Run

        return Run(self, name, data=data, purpose=purpose, plan=plan, factory=factory, **options)

    def release(
        self, data: str, statistics: Iterable[Statistic | str], *, purpose: str, epsilon: float, **options: Any
    ) -> Release:
        """Differentially private statistics, paid from the budget. See :func:`pellucid.project.statistics.release`."""
        from pellucid.project.statistics import release

        return release(self, data, statistics, purpose=purpose, epsilon=epsilon, **options)

    def tune(self, space: Space | Mapping[str, Any], *, trials: float, name: str, **options: Any) -> Outcome:
        """Choose a configuration privately, for one reservation. See :func:`pellucid.project.tuning.tune`."""
        from pellucid.project.tuning import tune

        return tune(self, space, trials=trials, name=name, **options)

    def resume(self, name: str, **options: Any) -> Run:
        """A run that was killed, from its last checkpoint on. See :func:`pellucid.project.resume.resume`."""
        from pellucid.project.resume import resume

        return resume(self, name, **options)

    def bundle(self, model: str, *, tier: str = "auditor") -> Bundle:
        """The evidence bundle of a model. See :func:`pellucid.project.publish.bundle`."""
        from pellucid.project.publish import bundle

        return bundle(self, model, tier=tier)


def entry_time(entry: Entry) -> dt.datetime:
    """When an entry says that it was written."""
    at = entry.evidence.how["at"] if entry.kind == "evidence" else entry.body["at"]
    return dt.datetime.strptime(str(at), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)


def now() -> dt.datetime:
    """The time by this machine's clock, in UTC and whole seconds."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def today() -> dt.date:
    """The date in UTC."""
    return now().date()


def tell(message: str) -> None:
    """A line on standard error, for notices that must not mix with output."""
    sys.stderr.write(f"{message}\n")


def stamp(how: Mapping[str, Any]) -> dict[str, Any]:
    """``how`` with the moment and this version of Pellucid."""
    from importlib.metadata import version

    return {**how, "at": now().strftime("%Y-%m-%dT%H:%M:%SZ"), "pellucid": version("pellucid")}


def unknown(kind: str, name: str, known: Sequence[str], fix: str) -> UnknownName:
    """The error for a name that nobody knows."""
    return UnknownName(f'there is no {kind} "{name}"{nearest(name, known)}', fix=fix)


def misuse(what: str, fix: str) -> Misuse:
    """The error for a call in the wrong order."""
    return Misuse(what, fix=fix)
