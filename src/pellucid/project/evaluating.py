"""How good a model is on held-out people, and where it is wrong: one piece of evidence a question."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import BadData, UnsupportedModel
from pellucid.project.earlier import class_counts, counts, earlier, still, without_shares, without_slices
from pellucid.schema import MISSING

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from pellucid.evidence import Evidence
    from pellucid.explain import Predictions
    from pellucid.project.model import Trained

__all__ = ["measure"]

DISCOVERY: Final = 0.1  # false discovery rate of differences between groups
_TELLING: Final = frozenset({"evaluation", "calibration", "labels"})  # kinds that tell the shares of the classes
SEARCHED: Final = 20  # confident errors, the surest first, for which another answer is searched
ASKED: Final = 600  # rows that the model is asked about in one search


def measure(trained: Trained) -> list[Evidence]:
    """Evaluation, calibration, fairness (by the special columns in reach), and the model's errors.

    Conformal sets, slices, likely label errors and robustness stay unmeasured where there are too few people;
    ``trained.unmeasured`` says why.

    Raises:
        BadData: There are too few held-out people to say how good the model is.
        UnsupportedModel: The model cannot be asked.
    """
    from pellucid import explain

    x, y = trained.held_out()
    predictions = explain.predict(trained.module, x, y)
    groups = trained.values(trained.special())
    before = earlier(trained)
    open_ = still(groups, before)
    evaluation = explain.evaluate(predictions)
    made = [
        evaluation.evidence(trained.subject),
        explain.measure_calibration(predictions, split=True, groups=open_ or None).evidence(trained.subject),
    ]
    questions: dict[str, Callable[[], Evidence | list[Evidence]]] = {
        **({"fairness": lambda: _fairness(trained, predictions, groups, before)} if groups else {}),
        "uncertainty": lambda: explain.measure_uncertainty(predictions, groups=open_ or None).evidence(trained.subject),
        "slices": lambda: without_slices(_slices(trained, predictions, groups), before),
        "labels": lambda: _label_errors(trained, predictions),
        "robustness": lambda: explain.measure_robustness(trained.module, x, y, trained.encoding).evidence(
            trained.subject
        ),
    }
    for kind, ask in questions.items():
        try:
            answer = ask()
            made += answer if isinstance(answer, list) else [answer]
        except (BadData, UnsupportedModel) as error:
            trained.unmeasured[kind] = str(error)
    n = evaluation.accuracy.n
    return [without_shares(item, n, before) if item.kind in _TELLING else item for item in made]


def _fairness(
    trained: Trained,
    predictions: Predictions,
    groups: Mapping[str, NDArray[Any]],
    before: Sequence[Evidence],
) -> Evidence:
    from pellucid import explain

    found = explain.compare_groups(
        predictions,
        groups,
        intersections=len(groups) > 1,
        level=DISCOVERY,
        before=counts(before),
        classes_before=class_counts(before),
    )
    return found.evidence(trained.subject)


def _slices(trained: Trained, predictions: Predictions, groups: Mapping[str, NDArray[Any]]) -> Evidence:
    from pellucid import explain

    columns = trained.sealed.schema.columns
    table = {**trained.values(trained.encoding.features), **groups}
    edges = {name: scale for name in table if isinstance(scale := columns[name].scale, tuple)}
    wrong = (predictions.predicted != predictions.labels).astype(float)
    return explain.find_slices(wrong, table, edges=edges).evidence(trained.subject)


def _label_errors(trained: Trained, predictions: Predictions) -> list[Evidence]:
    """Rates for auditors; the people themselves in a file that only stewards open."""
    import numpy as np

    from pellucid import explain
    from pellucid.explain.labels import keyed
    from pellucid.project import attachment

    # rows are named within this project's sealed version, under a key that stands in the ciphertext only
    people = [f"{trained.sealed.label}/{row}" for row in np.flatnonzero(trained.rows()[2]).tolist()]
    key = secrets.token_bytes(32)
    found = explain.find_label_errors(predictions, people, key=key, classes=trained.encoding.classes)
    made = [found.evidence(trained.subject)]
    named = {keyed(person, key): row for row, person in enumerate(people)}
    columns = (*trained.encoding.features, trained.encoding.target)
    shown = trained.values(columns)
    lists = {
        name: [
            {"id": each, "row": people[named[each]], **{c: _json(shown[c][named[each]]) for c in columns}}
            for each in ids[: attachment.MOST]
        ]
        for name, ids in (("suspected_labels", found.suspects), ("confident_errors", found.confident))
    }
    x, y = trained.held_out()
    for error in lists["confident_errors"][:SEARCHED]:
        place = named[error["id"]]
        error |= _otherwise(trained, x[place], int(y[place]))
    left = attachment.leave(trained, columns, {"key": key.hex(), **lists})
    return made if left is None else [*made, left]


def _otherwise(trained: Trained, row: torch.Tensor, recorded: int) -> dict[str, Any]:
    """What would have had to be different of a held-out person for the model to say what is recorded of them.

    Every input may change: this says what the model goes by, and is no advice to anybody. Nothing where the model
    cannot be asked.
    """
    from pellucid import explain

    features, columns = trained.encoding.features, trained.sealed.schema.columns
    try:
        found = explain.find_counterfactual(
            trained.module,
            row,
            trained.encoding,
            mutable=features,
            target=recorded,
            whole=[name for name in features if columns[name].type == "integer"],
            budget=ASKED,
        )
    except (BadData, UnsupportedModel):
        return {}
    said, names = found.values(), trained.encoding.classes
    return {"counterfactual": {**said, **{key: names[said[key]] for key in ("decision", "target") if key in said}}}


def _json(value: Any) -> Any:
    """As it stands in the rows for stewards: null where nothing is known."""
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    return None if value == MISSING else str(value)
