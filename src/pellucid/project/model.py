"""A trained model and what can be asked of it: evaluation, explanation, attack. Each answer becomes evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pellucid.access import Resource, require
from pellucid.errors import BadData, Misuse, Tampered, UnknownName, UnsupportedModel
from pellucid.evidence import Evidence, Subject
from pellucid.project import data
from pellucid.project.project import Project, stamp, unknown
from pellucid.schema import Encoding

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from pellucid.explain import Fields, LocalEffects, PartialDependence, Predictions

__all__ = ["Trained", "load", "models", "resolve", "trained_on"]

EXPLAINED: Final = 1000  # held-out people whose answers are explained by Shapley values
BACKGROUND: Final = 100  # held-out people they are compared with
WALKS: Final = 8  # pairs of walks for each of them
CURVES: Final = 3  # columns whose effect is drawn: the most important ones
DISCOVERY: Final = 0.1  # false discovery rate of differences between groups


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
        loaded: Inputs, targets and test mask, if the run still holds them.
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
    loaded: tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]] | None = field(default=None, repr=False)
    unmeasured: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def resource(self) -> Resource:
        """The model, as something to decide about."""
        return model_resource(self.subject.name, self.sealed)

    def _data(self) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]:
        if self.loaded is None:
            from pellucid import train
            from pellucid.vault import in_test

            names = [*self.encoding.features, self.encoding.target]
            table = data.read(self.project, self.sealed.label, names, purpose=self.purpose, tags=True)
            mask = in_test(table.column(data.TAG).to_numpy(), self.test)
            self.loaded = (
                train.encode_features(table, self.encoding),
                train.encode_target(table, self.encoding),
                mask,
            )
        return self.loaded

    def _held_out(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        x, y, test = self._data()
        rows = torch.from_numpy(test)
        return x[rows], y[rows]

    def _special(self) -> list[str]:
        """The special columns that whoever acts may read."""
        columns = self.sealed.schema.columns.values()
        special = [c.name for c in columns if c.sensitivity == "special" and c.type in ("category", "boolean")]
        return [c for c in special if self.project.ask("read", self.sealed.column(c), self.purpose).allowed]

    def _values(self, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of the held-out people as they were sealed: numbers as numbers, the rest as text."""
        if not columns:
            return {}
        table = data.read(self.project, self.sealed.label, columns, purpose=self.purpose)
        test = self._data()[2]
        found = {}
        for name in columns:
            values = table.column(name).to_pandas()
            number = self.sealed.schema.columns[name].type in ("number", "integer")
            found[name] = (values.astype(float) if number else values.astype(str)).to_numpy()[test]
        return found

    def _publish(self, *evidence: Evidence) -> None:
        self.project.publish([Evidence(**{**_fields(item), "how": stamp(item.how)}) for item in evidence])

    def _measured(self, made: list[Evidence], kind: str, ask: Callable[[], Evidence]) -> None:
        """Add what ``ask`` finds. What cannot be measured of this model or of so few people stays unmeasured."""
        try:
            made.append(ask())
        except (BadData, UnsupportedModel) as error:
            self.unmeasured[kind] = str(error)

    def evaluate(self) -> list[str]:
        """Performance, and the model's errors, on held-out people.

        Calibration, conformal sets, slices, subgroups (by the special columns in reach), likely label errors and
        robustness. What there are too few people for, or too many classes, is left out, and :attr:`unmeasured` says so.

        Returns:
            The kinds of evidence left.
        """
        from pellucid import explain

        self.project.decide("evaluate", self.resource, self.purpose)
        x, y = self._held_out()
        predictions = explain.predict(self.module, x, y)
        groups = self._values(self._special())
        made = [
            explain.evaluate(predictions).evidence(self.subject),
            explain.measure_calibration(predictions, split=True, groups=groups or None).evidence(self.subject),
        ]
        if groups:
            compared = explain.compare_groups(predictions, groups, intersections=len(groups) > 1, level=DISCOVERY)
            made.append(compared.evidence(self.subject))
        self._measured(
            made,
            "uncertainty",
            lambda: explain.measure_uncertainty(predictions, groups=groups or None).evidence(self.subject),
        )
        self._measured(made, "slices", lambda: self._slices(predictions, groups))
        self._measured(made, "labels", lambda: self._label_errors(predictions))
        self._measured(
            made,
            "robustness",
            lambda: explain.measure_robustness(self.module, x, y, self.encoding).evidence(self.subject),
        )
        self._publish(*made)
        return [item.kind for item in made]

    def _slices(self, predictions: Predictions, groups: Mapping[str, NDArray[Any]]) -> Evidence:
        from pellucid import explain

        columns = self.sealed.schema.columns
        table = {**self._values(self.encoding.features), **groups}
        edges = {name: scale for name in table if isinstance(scale := columns[name].scale, tuple)}
        wrong = (predictions.predicted != predictions.labels).astype(float)
        return explain.find_slices(wrong, table, edges=edges).evidence(self.subject)

    def _label_errors(self, predictions: Predictions) -> Evidence:
        import secrets

        from pellucid import explain

        # only rates leave here, so nobody needs a key that would give the same ids again
        rows = [str(row) for row in range(len(predictions))]
        return explain.find_label_errors(predictions, rows, key=secrets.token_bytes(32)).evidence(self.subject)

    def explain(self) -> list[str]:
        """What the model goes by, and whether that can be believed.

        Attribution with its completeness gap, permutation importance, Shapley values, effects of the most important
        columns, a surrogate with its fidelity; and the validity of the attribution.
        """
        import torch

        from pellucid import explain

        self.project.decide("explain", self.resource, self.purpose)
        x, y = self._held_out()
        attribution = explain.attribute(self.module, x, self.encoding)
        importance = explain.permute_columns(self.module, x, y, self.encoding)
        fields, some = explain.Fields.of(self.encoding), x[:EXPLAINED]
        background = explain.Background(x[-BACKGROUND:], public=False, source="held-out rows")
        shapley = explain.estimate_shapley(self.module, some, background, fields, walks=WALKS, seed=0)
        order = sorted(importance.columns, key=lambda name: -importance.columns[name].value)
        explanation = explain.Explanation(
            attribution,
            importance,
            shapley=explain.measure_strength(shapley),
            effects=tuple(self._effect(x, fields, name) for name in order[:CURVES]),
            surrogate=explain.fit_surrogate(self.module, x, self.encoding),
        )
        methods = explain.compare_attributions(
            explain.again(self.module, some, attribution), shapley.rows, methods=(attribution.method, "shapley")
        )
        rows = torch.from_numpy(~self._data()[2])
        validity = explain.check_validity(
            self.module, x, self.encoding, explanation, thorough=True, methods=methods, members=self._data()[0][rows]
        )
        self._publish(explanation.evidence(self.subject), validity.evidence(self.subject))
        return ["explanation", "validity"]

    def _effect(self, x: torch.Tensor, fields: Fields, name: str) -> LocalEffects | PartialDependence:
        """How answers move along a column: accumulated local effects where it has an order, else partial dependence."""
        from pellucid import explain

        (code,) = (code for code in self.encoding.codes if code.column == name)
        if code.how in ("linear", "log") and code.width == 1:
            return explain.local_effects(self.module, x, fields, name)
        points = explain.declared_points(self.encoding, name)
        return explain.partial_dependence(self.module, x, fields, name, points=points)

    def attack(self) -> list[str]:
        """A membership attack on the released weights: people trained on against people held out."""
        import torch

        from pellucid import explain
        from pellucid.privacy import membership_bound

        self.project.decide("attack", self.resource, self.purpose)
        x, y, test = self._data()
        rows = torch.from_numpy(test)
        inside, outside = (explain.losses(self.module, x[part], y[part]) for part in (~rows, rows))
        bound = membership_bound(-inside, -outside, delta=self.delta)
        values = bound.values()
        self._publish(Evidence("attack", self.subject, values, bound.how(), "uncovered", tier="auditor"))
        return ["attack"]


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
