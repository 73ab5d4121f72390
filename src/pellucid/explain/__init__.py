"""EXPLAIN: what a model does, how well, for whom, and how far the answers themselves can be trusted.

One question a file. :func:`predict` scores held-out people once, and how good, how fair, how sure and how wrong a model
is is asked of the scores (:func:`evaluate`, :func:`compare_groups`, :func:`measure_calibration`,
:func:`measure_uncertainty`, :func:`find_slices`, :func:`find_label_errors`). What an answer rests on is asked of the
model (:func:`attribute`, :func:`permute_columns`, :func:`estimate_shapley`, :func:`partial_dependence`,
:func:`measure_robustness`, :func:`fit_surrogate`), what an expert expects of it is held against it (:func:`hold`), and
:func:`check_validity` asks whether the explanation is true. :func:`losses` hands the privacy attack its input. Every
result has ``values()`` and ``how()``, and what is evidence by itself ``evidence(subject)``. Every question goes to a
deep copy of the model that is handed in, and to copies of the rows; code of the user's own that reaches outside of the
module, such as a hook's closure, still does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.explain.ale import LocalEffects, local_effects
    from pellucid.explain.attribution import Attribution, Gap, Preflight, again, attribute, patches, preflight
    from pellucid.explain.background import Background
    from pellucid.explain.calibration import Calibration, measure_calibration
    from pellucid.explain.counterfactuals import Counterfactual, find_counterfactual
    from pellucid.explain.directions import declared_points
    from pellucid.explain.effects import PartialDependence, ice_curves, partial_dependence
    from pellucid.explain.evaluation import Evaluation, evaluate
    from pellucid.explain.expectations import HeldOut, hold
    from pellucid.explain.expected import Expectations
    from pellucid.explain.explanation import Explanation
    from pellucid.explain.fairness import Fairness, compare_groups
    from pellucid.explain.fields import Fields
    from pellucid.explain.importance import Importance, permute_columns
    from pellucid.explain.interactions import Interactions, estimate_interactions, exact_interactions
    from pellucid.explain.labels import LabelErrors, find_label_errors
    from pellucid.explain.outcomes import Outcomes
    from pellucid.explain.predictions import Predictions, predict
    from pellucid.explain.probe import public_rows
    from pellucid.explain.readout import Readout, read_out
    from pellucid.explain.robustness import Robustness, measure_robustness
    from pellucid.explain.scores import losses
    from pellucid.explain.shapes import Shapes, read_tables
    from pellucid.explain.shapley import ShapleyValues, exact_shapley
    from pellucid.explain.slices import Slices, find_slices
    from pellucid.explain.strength import Strength, measure_strength
    from pellucid.explain.surrogate import Surrogate, fit_surrogate
    from pellucid.explain.uncertainty import Uncertainty, measure_uncertainty
    from pellucid.explain.validity import (
        Agreement,
        Faithfulness,
        Leakage,
        Randomisation,
        Sensitivity,
        Stability,
        Validity,
        check_validity,
        compare_attributions,
        compare_runs,
        measure_faithfulness,
        measure_leakage,
        measure_sensitivity,
        randomise_layers,
    )
    from pellucid.explain.walks import estimate_shapley

__all__ = [
    "Agreement",
    "Attribution",
    "Background",
    "Calibration",
    "Counterfactual",
    "Evaluation",
    "Expectations",
    "Explanation",
    "Fairness",
    "Faithfulness",
    "Fields",
    "Gap",
    "HeldOut",
    "Importance",
    "Interactions",
    "LabelErrors",
    "Leakage",
    "LocalEffects",
    "Outcomes",
    "PartialDependence",
    "Predictions",
    "Preflight",
    "Randomisation",
    "Readout",
    "Robustness",
    "Sensitivity",
    "Shapes",
    "ShapleyValues",
    "Slices",
    "Stability",
    "Strength",
    "Surrogate",
    "Uncertainty",
    "Validity",
    "again",
    "attribute",
    "check_validity",
    "compare_attributions",
    "compare_groups",
    "compare_runs",
    "declared_points",
    "estimate_interactions",
    "estimate_shapley",
    "evaluate",
    "exact_interactions",
    "exact_shapley",
    "find_counterfactual",
    "find_label_errors",
    "find_slices",
    "fit_surrogate",
    "hold",
    "ice_curves",
    "local_effects",
    "losses",
    "measure_calibration",
    "measure_faithfulness",
    "measure_leakage",
    "measure_robustness",
    "measure_sensitivity",
    "measure_strength",
    "measure_uncertainty",
    "partial_dependence",
    "patches",
    "permute_columns",
    "predict",
    "preflight",
    "public_rows",
    "randomise_layers",
    "read_out",
    "read_tables",
]

_NAMES = {
    "ale": (
        "LocalEffects",
        "local_effects",
    ),
    "attribution": (
        "Attribution",
        "Gap",
        "Preflight",
        "again",
        "attribute",
        "patches",
        "preflight",
    ),
    "background": ("Background",),
    "calibration": (
        "Calibration",
        "measure_calibration",
    ),
    "counterfactuals": (
        "Counterfactual",
        "find_counterfactual",
    ),
    "directions": ("declared_points",),
    "effects": (
        "PartialDependence",
        "ice_curves",
        "partial_dependence",
    ),
    "evaluation": (
        "Evaluation",
        "evaluate",
    ),
    "expectations": (
        "HeldOut",
        "hold",
    ),
    "expected": ("Expectations",),
    "explanation": ("Explanation",),
    "fairness": (
        "Fairness",
        "compare_groups",
    ),
    "fields": ("Fields",),
    "importance": (
        "Importance",
        "permute_columns",
    ),
    "interactions": (
        "Interactions",
        "estimate_interactions",
        "exact_interactions",
    ),
    "labels": (
        "LabelErrors",
        "find_label_errors",
    ),
    "outcomes": ("Outcomes",),
    "predictions": (
        "Predictions",
        "predict",
    ),
    "probe": ("public_rows",),
    "readout": (
        "Readout",
        "read_out",
    ),
    "robustness": (
        "Robustness",
        "measure_robustness",
    ),
    "scores": ("losses",),
    "shapes": ("Shapes", "read_tables"),
    "shapley": (
        "ShapleyValues",
        "exact_shapley",
    ),
    "slices": (
        "Slices",
        "find_slices",
    ),
    "surrogate": (
        "Surrogate",
        "fit_surrogate",
    ),
    "uncertainty": (
        "Uncertainty",
        "measure_uncertainty",
    ),
    "validity": (
        "Agreement",
        "Faithfulness",
        "Leakage",
        "Randomisation",
        "Sensitivity",
        "Stability",
        "Validity",
        "check_validity",
        "compare_attributions",
        "compare_runs",
        "measure_faithfulness",
        "measure_leakage",
        "measure_sensitivity",
        "randomise_layers",
    ),
    "strength": ("Strength", "measure_strength"),
    "walks": ("estimate_shapley",),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public name ``name``, imported when it is first asked for: torch alone costs seconds (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
