"""EXPLAIN: what a model does, how well, for whom, and how far the answers themselves can be trusted.

One question a file. :func:`predict` scores held-out people once; :func:`evaluate`, :func:`compare_groups` and
:func:`measure_calibration` ask of those scores; :func:`attribute`, :func:`permute_columns` and :func:`check_validity`
ask the model itself; :func:`losses` hands the privacy attack its input. Every result has ``values()``, ``how()`` and
``evidence(subject)``. The model that is handed in is never touched: every question goes to a deep copy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.explain.attribution import Attribution, attribute
    from pellucid.explain.calibration import Calibration, measure_calibration
    from pellucid.explain.evaluation import Evaluation, evaluate
    from pellucid.explain.explanation import Explanation
    from pellucid.explain.fairness import Fairness, compare_groups
    from pellucid.explain.importance import Importance, permute_columns
    from pellucid.explain.predictions import Predictions, predict
    from pellucid.explain.probe import public_rows
    from pellucid.explain.scores import losses
    from pellucid.explain.validity import Validity, check_validity

__all__ = [
    "Attribution",
    "Calibration",
    "Evaluation",
    "Explanation",
    "Fairness",
    "Importance",
    "Predictions",
    "Validity",
    "attribute",
    "check_validity",
    "compare_groups",
    "evaluate",
    "losses",
    "measure_calibration",
    "permute_columns",
    "predict",
    "public_rows",
]

_HOME = {
    "Attribution": "attribution",
    "Calibration": "calibration",
    "Evaluation": "evaluation",
    "Explanation": "explanation",
    "Fairness": "fairness",
    "Importance": "importance",
    "Predictions": "predictions",
    "Validity": "validity",
    "attribute": "attribution",
    "check_validity": "validity",
    "compare_groups": "fairness",
    "evaluate": "evaluation",
    "losses": "scores",
    "measure_calibration": "calibration",
    "permute_columns": "importance",
    "predict": "predictions",
    "public_rows": "probe",
}


def __getattr__(name: str) -> Any:
    """The public name ``name``, imported when it is first asked for: torch alone costs seconds (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
