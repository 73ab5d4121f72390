"""CHECK: verify a bundle, hold it against the release policy, and say yes or no with an exit code.

:func:`check` gives findings and a verdict, :func:`require` raises unless the verdict is a pass. The policy is
:class:`ReleasePolicy`; :func:`judge` and :func:`verdict` are the pure core; :func:`verify_bundle` and
:func:`verify_file` look at signatures, proofs and the recomputed epsilon. Needs neither torch nor pyarrow.
"""

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
