"""What a model goes by, and whether that can be believed: explanation and validity, as evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pellucid.errors import BadData, UnknownName, UnsupportedModel, nearest

if TYPE_CHECKING:
    import torch

    from pellucid.evidence import Evidence
    from pellucid.explain import (
        Attribution,
        Importance,
        LocalEffects,
        PartialDependence,
        Readout,
        Shapes,
        ShapleyValues,
        Stability,
        Surrogate,
    )
    from pellucid.explain.intervals import Floats
    from pellucid.project.model import Trained

__all__ = ["explained_class", "measure"]

EXPLAINED: Final = 1000  # held-out people whose answers are explained by Shapley values
SAMPLED: Final = 200  # and where a model gives no gradient and all attributions have to be sampled
BACKGROUND: Final = 100  # held-out people they are compared with
WALKS: Final = 8  # pairs of walks for each of them
CURVES: Final = 3  # columns whose effect is drawn: the most important ones
RUNS: Final = 3  # models of one name whose rankings can be compared


def measure(trained: Trained, outcome: str | None = None) -> list[Evidence]:
    """Attribution with its gap, permutation importance, Shapley values, effects, a surrogate; and their validity.

    Where three versions of the model were explained, this one among them, the stability of the ranking over them is
    measured too. Of more than two classes one is explained, by its logit, and named in the evidence; there is no
    surrogate then.

    Args:
        trained: The model.
        outcome: The class of more than two that is explained; by default the last that the schema declares.

    Raises:
        UnknownName: There is no such class.
        BadFile: The example in ``model.toml`` does not fit the schema.
        BadData: There are too few held-out people.
        UnsupportedModel: The model cannot be asked.
    """
    import torch

    from pellucid import explain
    from pellucid.project import showing

    target = explained_class(trained, outcome)
    case = showing.example(trained, target)  # first: a wrong file is refused before anybody is looked at
    named = None if target is None else trained.encoding.classes[target]
    x, y = trained.held_out()
    fields, some = explain.Fields.of(trained.encoding), x[:EXPLAINED]
    attribution = _attribution(trained, x, target)
    importance = explain.permute_columns(trained.module, x, y, trained.encoding, target=target)
    background = explain.Background(x[-BACKGROUND:], public=False, source="held-out rows")
    shapley = explain.estimate_shapley(trained.module, some, background, fields, walks=WALKS, seed=0, target=target)
    order = sorted(importance.columns, key=lambda name: -importance.columns[name].value)
    explanation = explain.Explanation(
        attribution,
        importance,
        shapley=explain.measure_strength(shapley),
        effects=tuple(_effect(trained, x, name, target) for name in order[:CURVES]),
        surrogate=_surrogate(trained, x),
        readout=_readout(trained),
    )
    _, _, test = trained.rows()
    validity = explain.check_validity(
        trained.module,
        x if attribution.steps else x[:SAMPLED],
        trained.encoding,
        explanation,
        thorough=True,
        methods=explain.compare_attributions(
            *_pair(trained, some, attribution, shapley), methods=(attribution.method, "shapley")
        ),
        stability=_stability(trained, importance, named),
        members=trained.rows()[0][torch.from_numpy(~test)] if attribution.steps else None,
    )
    shown = showing.described(explanation.evidence(trained.subject), attribution, x, trained.encoding.codes, case)
    made = [shown, validity.evidence(trained.subject)]
    return made if named is None else [replace(item, values={**item.values, "class": named}) for item in made]


def explained_class(trained: Trained, outcome: str | None) -> int | None:
    """The number of the class that is explained; None for the log-odds of two.

    Raises:
        UnknownName: There is no such class.
        BadData: Of two classes the first is named.
    """
    classes = trained.encoding.classes
    if outcome is not None and outcome not in classes:
        raise UnknownName(f'no class "{outcome}"{nearest(outcome, classes)}', where="class")
    if len(classes) <= 2:
        if outcome is not None and outcome != classes[-1]:
            raise BadData(
                f"of two classes the log-odds of {classes[-1]} are explained; those of {outcome} are their negative",
                where="class",
            )
        return None
    return len(classes) - 1 if outcome is None else classes.index(outcome)


def _attribution(trained: Trained, x: torch.Tensor, target: int | None) -> Attribution:
    """Integrated gradients; sampled Shapley values of fewer people where the model gives no gradient."""
    from pellucid import explain

    try:
        return explain.attribute(trained.module, x, trained.encoding, target=target)
    except UnsupportedModel:
        return explain.attribute(
            trained.module, x, trained.encoding, target=target, method="shapley_sampling", rows=SAMPLED
        )


def _pair(
    trained: Trained, some: torch.Tensor, attribution: Attribution, shapley: ShapleyValues
) -> tuple[Floats, Floats]:
    """Both attributions of the same people."""
    from pellucid import explain

    count = len(some) if attribution.steps else SAMPLED
    return explain.again(trained.module, some[:count], attribution), shapley.rows[:count]


def _effect(trained: Trained, x: torch.Tensor, name: str, target: int | None) -> LocalEffects | PartialDependence:
    """How answers move along a column: accumulated local effects where it has an order, else partial dependence."""
    from pellucid import explain

    (code,) = (code for code in trained.encoding.codes if code.column == name)
    if code.how in ("linear", "log") and code.width == 1:
        return explain.local_effects(trained.module, x, trained.encoding, name, target=target)
    points = explain.declared_points(trained.encoding, name)
    return explain.partial_dependence(trained.module, x, trained.encoding, name, points=points, target=target)


def _surrogate(trained: Trained, x: torch.Tensor) -> Surrogate | None:
    """A shallow tree that says what the model says; None where there are too few people to test it on, or classes."""
    from pellucid import explain

    try:
        return explain.fit_surrogate(trained.module, x, trained.encoding)
    except (BadData, UnsupportedModel) as error:
        trained.unmeasured["explanation.surrogate"] = str(error)
        return None


def _readout(trained: Trained) -> Readout | Shapes | None:
    """The model itself, where it is linear or additive; None where it cannot be read."""
    from pellucid import explain
    from pellucid.train.additive import Additive

    module = trained.module
    if isinstance(module, Additive):
        tables = {table.code.column: module.values[table.cells].tolist() for table in module.tables}
        return explain.read_tables(trained.encoding, tables, module.intercept.item())
    try:
        return explain.read_out(module, trained.encoding)
    except UnsupportedModel:
        return None


def _stability(trained: Trained, importance: Importance, named: str | None) -> Stability | None:
    """Whether versions of this model, each a training of its own, rank the columns alike (of the same class)."""
    import numpy as np

    from pellucid import explain
    from pellucid.project.model import models

    name, _, _ = trained.subject.name.rpartition("@")
    found = {trained.subject.name: [estimate.value for estimate in importance.columns.values()]}
    for label, evidence in models(trained.project).items():
        if label.rpartition("@")[0] != name or label in found:
            continue
        told = [item.values for item in evidence if item.kind == "explanation"]
        said = [values["importance"] for values in told if values.get("class") == named]
        if said and set(said[-1]) == set(importance.columns):
            found[label] = [said[-1][column]["value"] for column in importance.columns]
    if len(found) < RUNS:
        trained.unmeasured["validity.stability"] = (
            f"the ranking is compared over {RUNS} versions of a model, and {len(found)} were explained"
        )
        return None
    return explain.compare_runs(
        np.array(list(found.values())), list(importance.columns), varied="versions of the model: " + ", ".join(found)
    )
