"""Can an explanation be believed? One test a file, and :func:`check_validity` that runs those it is asked for.

An explainer under test is any callable ``explain(model, x) -> (N, fields)``: ours or another's. Every result has
``values()`` and ``how()``; what was not measured is absent.
"""

from __future__ import annotations

from pellucid.explain.validity.agreement import Agreement, compare_attributions
from pellucid.explain.validity.check import Validity, check_validity
from pellucid.explain.validity.explainer import Explainer
from pellucid.explain.validity.faithfulness import Faithfulness, measure_faithfulness
from pellucid.explain.validity.leakage import Leakage, measure_leakage
from pellucid.explain.validity.randomisation import Randomisation, randomise_layers
from pellucid.explain.validity.rankings import Rankings, compare_rankings, top_overlap
from pellucid.explain.validity.redraw import randomised
from pellucid.explain.validity.sensitivity import Sensitivity, measure_sensitivity
from pellucid.explain.validity.stability import Stability, compare_runs

__all__ = [
    "Agreement",
    "Explainer",
    "Faithfulness",
    "Leakage",
    "Randomisation",
    "Rankings",
    "Sensitivity",
    "Stability",
    "Validity",
    "check_validity",
    "compare_attributions",
    "compare_rankings",
    "compare_runs",
    "measure_faithfulness",
    "measure_leakage",
    "measure_sensitivity",
    "randomise_layers",
    "randomised",
    "top_overlap",
]
