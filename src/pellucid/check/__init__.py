"""CHECK: verify a bundle, hold it against the release policy, and say yes or no with an exit code.

:func:`check` gives findings and a verdict, :func:`require` raises unless the verdict is a pass. The policy is
:class:`ReleasePolicy`; :func:`judge` and :func:`verdict` are the pure core; :func:`verify_bundle` and
:func:`verify_file` look at signatures, proofs and the recomputed epsilon; :func:`render` writes a result in one of
:data:`FORMATS`. Needs neither torch nor pyarrow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.check.api import check, require
    from pellucid.check.formats import FORMATS, render
    from pellucid.check.policy import ReleasePolicy
    from pellucid.check.requirements import Requirement
    from pellucid.check.results import CheckResult, Notice
    from pellucid.check.rules import Verdict, judge, verdict
    from pellucid.check.text import render_verification
    from pellucid.check.verify import Check, EpsilonCheck, VerifyResult, verify_bundle, verify_file
    from pellucid.check.waivers import Waiver, read_waivers

__all__ = [
    "FORMATS",
    "Check",
    "CheckResult",
    "EpsilonCheck",
    "Notice",
    "ReleasePolicy",
    "Requirement",
    "Verdict",
    "VerifyResult",
    "Waiver",
    "check",
    "judge",
    "read_waivers",
    "render",
    "render_verification",
    "require",
    "verdict",
    "verify_bundle",
    "verify_file",
]

_NAMES = {
    "api": ("check", "require"),
    "formats": ("FORMATS", "render"),
    "policy": ("ReleasePolicy",),
    "requirements": ("Requirement",),
    "results": ("CheckResult", "Notice"),
    "rules": ("Verdict", "judge", "verdict"),
    "text": ("render_verification",),
    "verify": ("Check", "EpsilonCheck", "VerifyResult", "verify_bundle", "verify_file"),
    "waivers": ("Waiver", "read_waivers"),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public name ``name``, imported when it is first asked for: pytest loads this room's plugin in every run."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
