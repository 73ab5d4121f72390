"""A trained model and what can be asked of it: evaluation, explanation, attack. Each answer becomes evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pellucid.access import Resource, require
from pellucid.errors import Misuse, Tampered, UnknownName
from pellucid.evidence import Evidence, Subject
from pellucid.project import data
from pellucid.project.loading import ALL_ROWS, ONE_ROW, Loaded, unit_rows
from pellucid.project.project import Project, stamp, unknown
from pellucid.schema import MISSING, Encoding

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["Trained", "load", "models", "resolve", "trained_on"]


@dataclass(slots=True)
class Trained:
    """A governed model with its weights, and the data it may be tested on.

    Attributes:
        project: Where it lives, and who is asking.
        subject: Its name and the digest of its weights.
        module: The plain module, without hooks.
        sealed: The data set version it was trained on.
        encoding: How columns become inputs.
        purpose: What the data is used for in this question.
        test: Share of people held out.
        delta: The delta of its privacy claim.
        loaded: The rows, if they were decrypted already.
        unmeasured: Kind of evidence to the reason why it was asked for and not left.
    """

    project: Project
    subject: Subject
    module: torch.nn.Module = field(repr=False)
    sealed: data.Sealed
    encoding: Encoding
    purpose: str
    test: float
    delta: float
    loaded: Loaded | None = field(default=None, repr=False)
    unmeasured: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def resource(self) -> Resource:
        """The model, as something to decide about."""
        return model_resource(self.subject.name, self.sealed)

    def load(self) -> Loaded:
        """All rows of everybody, decrypted once."""
        if self.loaded is None:
            where = (self.project, self.sealed, self.encoding)
            self.loaded = Loaded.read(*where, purpose=self.purpose, test=self.test)
        return self.loaded

    def rows(self) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]:
        """Inputs (N, width), targets (N,) and which people are held out (N,): one row of each person."""
        return self.load().measured()

    def held_out(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of the people held out, one row of each."""
        return self.load().held_out()

    def special(self) -> list[str]:
        """The special columns that whoever acts may read."""
        columns = self.sealed.schema.columns.values()
        special = [c.name for c in columns if c.sensitivity == "special" and c.type in ("category", "boolean")]
        return [c for c in special if self.project.ask("read", self.sealed.column(c), self.purpose).allowed]

    def values(self, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of the held-out people as they were sealed: numbers, NaN where one is missing, and the rest as text.

        A text that is missing is named as one more category is: :data:`pellucid.schema.MISSING`.
        """
        if not columns:
            return {}
        table = data.read(self.project, self.sealed.label, columns, purpose=self.purpose)
        found = {}
        for name in columns:
            values = table.column(name).to_pandas()
            number = self.sealed.schema.columns[name].type in ("number", "integer")
            whole = values.astype(float) if number else values.astype(str).where(values.notna(), MISSING)
            found[name] = self.load().of_held_out(whole.to_numpy())
        return found

    def _publish(self, *evidence: Evidence) -> list[str]:
        people = {} if unit_rows(self.sealed.schema) == 1 else {"measured": ONE_ROW}
        hows = [stamp({**people, **item.how}) for item in evidence]
        made = [Evidence(**{**_fields(item), "how": how}) for item, how in zip(evidence, hows, strict=True)]
        self.project.publish(made)
        return [item.kind for item in evidence]

    def evaluate(self, *, release: float | None = None, delta: float | None = None) -> list[str]:
        """Performance, and the model's errors, on held-out people (:mod:`pellucid.project.evaluating`).

        What there are too few people for, or too many classes, is left out, and :attr:`unmeasured` says why.

        Args:
            release: Epsilon to spend on a performance that a guarantee of its own covers, with noise, and nothing else
                (:mod:`pellucid.project.metrics`). Without it, what is left is labelled as uncovered.
            delta: Of the release; default that of the data set's budget.

        Returns:
            The kinds of evidence left.
        """
        from pellucid.project import evaluating

        self.project.decide("evaluate", self.resource, self.purpose)
        if release is not None:
            from pellucid.project.metrics import release_evaluation

            return self._publish(release_evaluation(self, epsilon=release, delta=delta))
        return self._publish(*evaluating.measure(self))

    def explain(self, outcome: str | None = None) -> list[str]:
        """What the model goes by, and whether that can be believed (:mod:`pellucid.project.explaining`).

        Args:
            outcome: The class of more than two that is explained; by default the last that the schema declares.

        Returns:
            The kinds of evidence left.
        """
        from pellucid.project import explaining

        self.project.decide("explain", self.resource, self.purpose)
        return self._publish(*explaining.measure(self, outcome))

    def attack(self) -> list[str]:
        """A membership attack on the released weights: people trained on against people held out.

        By the loss on all rows of a person, on average, where people have several.
        """
        from pellucid import explain
        from pellucid.privacy import membership_bound

        self.project.decide("attack", self.resource, self.purpose)
        loaded = self.load()
        losses, test = loaded.by_person(explain.losses(self.module, loaded.x, loaded.y))
        bound = membership_bound(-losses[~test], -losses[test], delta=self.delta)
        how = bound.how() if loaded.tags is None else {**bound.how(), "measured": ALL_ROWS}
        return self._publish(Evidence("attack", self.subject, bound.values(), how, "uncovered", tier="auditor"))


def _fields(item: Evidence) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


def model_resource(name: str, sealed: data.Sealed) -> Resource:
    """A model of a data set, as something to decide about."""
    return Resource.model(name, sealed.schema.purposes, sealed.resource())


def models(project: Project) -> dict[str, list[Evidence]]:
    """The evidence about every model that was trained, in the order of the log; evidence about other bytes is not."""
    found: dict[str, list[Evidence]] = {}
    about: dict[str, Subject] = {}
    for entry in project.counted():
        if entry.kind != "evidence":
            continue
        evidence = entry.evidence
        if evidence.kind == "training":
            about.setdefault(evidence.subject.name, evidence.subject)
        if about.get(evidence.subject.name) == evidence.subject:
            found.setdefault(evidence.subject.name, []).append(evidence)
    return found


def trained_on(training: Evidence) -> tuple[str, str]:
    """``name@version`` and the manifest's digest of the data set that a training statement names.

    Raises:
        Tampered: The statement is signed by a member and names none.
    """
    try:
        named = training.values["dataset"]
        return f"{named['name']}@{named['version']}", str(named["sha256"])
    except (KeyError, TypeError, IndexError) as error:
        raise Tampered("this training statement names no data set", where=training.subject.name) from error


def resolve(project: Project, name: str) -> str:
    """``name@version`` for a model named with or without version (then the newest).

    Raises:
        UnknownName: There is no such model; if a run that was to make one was killed and waits, says how to go on.
    """
    from pellucid.project.reservations import resumption, waiting

    known = models(project)
    if name in known:
        return name
    versions = [int(label.rpartition("@")[2]) for label in known if re.fullmatch(re.escape(name) + r"@\d+", label)]
    if not versions:
        entry = waiting(project, name)
        if entry is not None:
            raise UnknownName(
                f'there is no model "{name}" yet: run {entry.body["run"]} was killed before it was done, and waits',
                fix=resumption(project, entry),
            )
        raise unknown("model", name, sorted(known), "pellucid train NAME makes one")
    return f"{name}@{max(versions)}"


def load(project: Project, name: str, *, purpose: str | None = None) -> Trained:
    """A model from its evidence and its weights file.

    Raises:
        UnknownName: There is no such model.
        Tampered: The weights are not the ones in the log.
        Misuse: It was trained from the user's own code and no factory was recorded, so that it cannot be rebuilt.
    """
    from pellucid import train

    label = resolve(project, name)
    evidence = {item.kind: item for item in models(project)[label]}
    values = evidence["training"].values
    subject = evidence["training"].subject
    sealed = data.dataset(project, trained_on(evidence["training"])[0])
    encoding = Encoding.of(sealed.schema, values["features"])
    resource = model_resource(label, sealed)
    if values["recipe"] is not None:
        module = train.build(train.Recipe.from_document(values["recipe"], where=label), encoding)
    elif values["factory"] is not None:
        factory = values["factory"]
        source = train.load_factory(factory["spec"], project.layout.root, sha256=factory["sha256"])
        module = source.make(encoding)
    else:
        require(project.ask("explain", resource, purpose or values["purpose"]))
        raise Misuse(
            f"{label} was trained from code without a factory, so it cannot be rebuilt here",
            fix="call run.explain() inside the run, or give project.run a factory",
        )
    train.load(project.layout.model(label) / "weights.safetensors", module, sha256=subject.sha256)
    return Trained(
        project=project,
        subject=subject,
        module=module,
        sealed=sealed,
        encoding=encoding,
        purpose=purpose or values["purpose"],
        test=values["test"],
        delta=evidence["privacy"].values["delta"],
    )
