"""TRAIN: from Arrow to private weights.

Encodes columns as the schema declares, draws Poisson samples, clips every person's gradient, adds noise that nobody
can predict, counts the steps, and writes the weights down. Names are imported when first used: torch alone costs a
second.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.train.adam import DPAdamBC, noise_variance
    from pellucid.train.augment import chain, flip, shift
    from pellucid.train.averaging import MovingAverage
    from pellucid.train.batches import Batches
    from pellucid.train.doctor import diagnose, examine
    from pellucid.train.encode import encode_features, encode_row, encode_target
    from pellucid.train.engine import ENGINE, PrivateModel, PrivateOptimizer, private, standard
    from pellucid.train.factory import Factory, load_factory
    from pellucid.train.features import Scattering, extract
    from pellucid.train.guards import problems
    from pellucid.train.prediction import predict
    from pellucid.train.recipes import Recipe, build, fit
    from pellucid.train.schedules import schedule
    from pellucid.train.standardisation import WSConv2d, standardised
    from pellucid.train.weights import architecture, load, save

__all__ = [
    "ENGINE",
    "Batches",
    "DPAdamBC",
    "Factory",
    "MovingAverage",
    "PrivateModel",
    "PrivateOptimizer",
    "Recipe",
    "Scattering",
    "WSConv2d",
    "architecture",
    "build",
    "chain",
    "diagnose",
    "encode_features",
    "encode_row",
    "encode_target",
    "examine",
    "extract",
    "fit",
    "flip",
    "load",
    "load_factory",
    "noise_variance",
    "predict",
    "private",
    "problems",
    "save",
    "schedule",
    "shift",
    "standard",
    "standardised",
    "versions",
]

_HOME = {
    "adam": ("DPAdamBC", "noise_variance"),
    "augment": ("chain", "flip", "shift"),
    "averaging": ("MovingAverage",),
    "batches": ("Batches",),
    "doctor": ("diagnose", "examine"),
    "encode": ("encode_features", "encode_row", "encode_target"),
    "engine": ("ENGINE", "PrivateModel", "PrivateOptimizer", "private", "standard"),
    "factory": ("Factory", "load_factory"),
    "features": ("Scattering", "extract"),
    "guards": ("problems",),
    "prediction": ("predict",),
    "recipes": ("Recipe", "build", "fit"),
    "schedules": ("schedule",),
    "standardisation": ("WSConv2d", "standardised"),
    "weights": ("architecture", "load", "save"),
}


def versions() -> dict[str, str]:
    """What a training run was computed with, by package: public, for evidence."""
    import platform
    from importlib import metadata

    packages = ("pellucid", "torch", "opacus", "numpy", "cryptography", "safetensors")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            try:
                return getattr(importlib.import_module(f"pellucid.train.{module}"), name)
            except ModuleNotFoundError as error:
                if (error.name or "").startswith("pellucid"):
                    raise
                from pellucid.errors import MissingExtra

                raise MissingExtra(
                    f"training needs {error.name}, which is not installed", fix="pip install 'pellucid[train]'"
                ) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
