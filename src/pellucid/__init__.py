"""Pellucid: the governance layer around PyTorch training.

The names a user types, in the order of the work. Each is imported when it is first named, so that verifying and
checking need neither torch nor pyarrow::

    import pellucid as plc

    with plc.Project.open("credit/", identity="ana") as project:
        project.seal("applicants", frame, schema="schemas/applicants.toml")
        plan = plc.Plan.calibrate(epsilon=3, delta=1e-5, units=32_000, test=0.3, batch=1024, epochs=20, clip=1.0)
        with project.run("credit-risk", data="applicants", purpose="credit scoring", plan=plan) as run:
            model, optimizer, batches = run.private(model, optimizer)
            for x, y in batches:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()
            run.evaluate()
            run.explain()
            run.attack()
        bundle = project.bundle("credit-risk")
    plc.check.require(bundle, "credit/policies/release.toml")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pellucid import bundle as bundle
    from pellucid import check as check
    from pellucid import errors as errors
    from pellucid.bundle import Bundle as Bundle
    from pellucid.errors import PellucidError as PellucidError
    from pellucid.errors import Refused as Refused
    from pellucid.evidence import Evidence as Evidence
    from pellucid.keys import VerifyKey as VerifyKey
    from pellucid.privacy import Plan as Plan
    from pellucid.project import Project as Project
    from pellucid.project import Run as Run
    from pellucid.schema import Encoding as Encoding
    from pellucid.schema import Schema as Schema

_HOME: Final = {
    "Schema": ("pellucid.schema", "Schema"),
    "Encoding": ("pellucid.schema", "Encoding"),
    "Project": ("pellucid.project", "Project"),
    "Plan": ("pellucid.privacy", "Plan"),
    "Run": ("pellucid.project", "Run"),
    "Evidence": ("pellucid.evidence", "Evidence"),
    "Bundle": ("pellucid.bundle", "Bundle"),
    "VerifyKey": ("pellucid.keys", "VerifyKey"),
    "bundle": ("pellucid.bundle", None),
    "check": ("pellucid.check", None),
    "PellucidError": ("pellucid.errors", "PellucidError"),
    "Refused": ("pellucid.errors", "Refused"),
    "errors": ("pellucid.errors", None),
}

__all__ = [
    "Bundle",
    "Encoding",
    "Evidence",
    "PellucidError",
    "Plan",
    "Project",
    "Refused",
    "Run",
    "Schema",
    "VerifyKey",
    "bundle",
    "check",
    "errors",
]


def __getattr__(name: str) -> Any:
    """One of the names above (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    module, attribute = _HOME[name]
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    """The names above."""
    return sorted(__all__)
