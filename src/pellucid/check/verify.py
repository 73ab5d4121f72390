"""Does a bundle prove what it says, and is its epsilon what its events compose to? Offline, without torch.

Two things are checked, and told apart. What the bundle proves by cryptography is :func:`pellucid.bundle.verify`'s
work. What it claims about privacy is recomputed here from the events alone, by two accountants that share no
mathematics: privacy loss distributions (Koskela et al. 2020, arXiv 1906.03049; Doroshenko et al. 2022, arXiv
2207.04380) and Rényi differential privacy (Mironov 2017, arXiv 1702.07476; Mironov et al. 2019, arXiv 1908.10530).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pellucid import bundle as bundles
from pellucid.bundle import Bundle, Verified
from pellucid.errors import BadFile, BadPlan, PellucidError, Tampered, Unverified
from pellucid.evidence import Evidence
from pellucid.keys import VerifyKey

__all__ = ["TOLERANCE", "Check", "EpsilonCheck", "VerifyResult", "verify_bundle", "verify_file"]

TOLERANCE: Final = 1e-6
"""How far a claimed epsilon may lie below the recomputed one: the step to which claims are rounded up."""
MAX_STEPS: Final = 10_000_000
MAX_EVENTS: Final = 1000
_CRYPTOGRAPHY: Final = ("owner", "checkpoint", "inclusion", "signatures", "grants", "subject")
_CHOICES: Final = ("clipping", "mechanism", "bands", "augmentations")
CheckStatus = Literal["pass", "fail", "not checked"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``pass``, ``fail`` or ``not checked``, with one line of detail."""

    name: str
    status: CheckStatus
    detail: str

    def document(self) -> dict[str, str]:
        """The record of the command line contract."""
        return {"name": self.name, "status": self.status, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class EpsilonCheck:
    """The claimed epsilon and what two accountants make of the events; None where there is none."""

    claimed: float | None = None
    pld: float | None = None
    rdp: float | None = None


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What verifying found.

    Attributes:
        checks: What was looked at, in order.
        epsilon: The privacy claim, recomputed.
        verified: What the bundle proves; None if it proves nothing.
        unverified: Kinds of evidence that are signed but not true to themselves, with the reason.
    """

    checks: tuple[Check, ...]
    epsilon: EpsilonCheck = field(default_factory=EpsilonCheck)
    verified: Verified | None = None
    unverified: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed. What was not checked did not fail, and its check says so."""
        return all(check.status != "fail" for check in self.checks)

    @property
    def exit(self) -> int:
        """0 if :attr:`ok`, else 3."""
        return 0 if self.ok else 3

    def document(self) -> dict[str, Any]:
        """The JSON document of the command line contract."""
        epsilon = self.epsilon
        return {
            "ok": self.ok,
            "checks": [check.document() for check in self.checks],
            "epsilon": {"claimed": epsilon.claimed, "pld": epsilon.pld, "rdp": epsilon.rdp},
        }


def verify_file(path: Path | str, owners: Sequence[VerifyKey], *, weights: Path | None = None) -> VerifyResult:
    """:func:`verify_bundle` of a file; a file that is no bundle in canonical bytes is a failed check too.

    Raises:
        BadFile: There is no such file, no owner was named, or ``weights`` cannot be read.
    """
    try:
        bundle = bundles.read(path)
    except Unverified as error:
        names = (*_CRYPTOGRAPHY, "epsilon", "weights")
        return VerifyResult((_fail("canonical", error), *_unchecked(names, "the bundle could not be read")))
    return verify_bundle(bundle, owners, weights=weights)


def verify_bundle(bundle: Bundle, owners: Sequence[VerifyKey], *, weights: Path | None = None) -> VerifyResult:
    """Check signatures, proofs, grants, bindings and the privacy claim of ``bundle``.

    Args:
        bundle: As read.
        owners: Trusted owners, at least one.
        weights: The weights file to bind, or None: then the result says ``not checked``.

    Returns:
        Every check with its result. A failure is a result, not an exception; :attr:`VerifyResult.exit` carries it.

    Raises:
        BadFile: No owner was named, or ``weights`` cannot be read: errors of use, not of the bundle.
    """
    if not owners:
        raise BadFile("no trusted owner was named", fix="name one with --key OWNER.pub, or in [trust] of the policy")
    checks: list[Check] = []
    try:
        if Bundle.from_bytes(bundle.to_bytes()) != bundle:
            raise Tampered("this is not what its canonical bytes say", where="bundle")
        checks.append(Check("canonical", "pass", "RFC 8785 bytes, strict base64"))
        verified = bundles.verify(
            bundle, owners, passed=lambda name, detail: checks.append(Check(name, "pass", detail))
        )
    except (Unverified, BadFile, KeyError, TypeError, ValueError, AttributeError) as error:
        # the last four: signed by someone who may, and yet not of the shape its kind has
        done = [check.name for check in checks]
        rest = [name for name in ("canonical", *_CRYPTOGRAPHY) if name not in done]
        checks.append(_fail(rest.pop(0), error))
        checks += _unchecked([*rest, "epsilon"], "an earlier check failed")
        checks.append(_weights(bundle, weights))
        return VerifyResult(tuple(checks))
    check, epsilon = _privacy(verified.evidence)
    checks += [check, _weights(bundle, weights)]
    unverified = {"privacy": f"does not verify: {check.detail}"} if check.status == "fail" else {}
    return VerifyResult(tuple(checks), epsilon, verified, unverified)


def _fail(name: str, error: Exception) -> Check:
    if not isinstance(error, PellucidError):
        return Check(name, "fail", "a signed entry does not have the shape of its kind")
    return Check(name, "fail", f"{error.where}: {error.what}" if error.where else error.what)


def _unchecked(names: Sequence[str], why: str) -> list[Check]:
    return [Check(name, "not checked", why) for name in names]


def _weights(bundle: Bundle, weights: Path | None) -> Check:
    if weights is None:
        return Check("weights", "not checked", "no weights file was given (--weights FILE)")
    if bundles.weights_digest(weights) == bundle.subject.sha256:
        return Check("weights", "pass", f"the file is {bundle.subject.name}, sha256 {bundle.subject.sha256}")
    return Check("weights", "fail", f"the file is not {bundle.subject.name}: its SHA-256 is another one")


def _privacy(evidence: Sequence[Evidence]) -> tuple[Check, EpsilonCheck]:
    """Every privacy statement must hold; the epsilon shown is the last one's, which is the one that counts."""
    statements = [piece for piece in evidence if piece.kind == "privacy"]
    if not statements:
        return Check("epsilon", "not checked", "the bundle holds no privacy evidence"), EpsilonCheck()
    steps = [piece.values.get("steps") for piece in evidence if piece.kind == "training"]
    shown = EpsilonCheck()
    unbound = ""
    for statement in statements:
        try:
            shown = _recompute(statement.values)
            unbound = _follows(statement.values, evidence)
            _claim(statement.values, shown, steps)
        except (Unverified, BadFile, ArithmeticError, ValueError) as error:
            what = error.what if isinstance(error, PellucidError) else "the events cannot be composed"
            return Check("epsilon", "fail", what), shown
    detail = f"claimed {shown.claimed}, recomputed {shown.pld} (PLD) and {shown.rdp} (RDP){unbound}"
    return Check("epsilon", "pass", detail), shown


def _recompute(values: Mapping[str, Any]) -> EpsilonCheck:
    """Epsilon from the events alone, after everything that would make the composition mean something else."""
    if values["adjacency"] != "add-or-remove-one":
        raise Unverified("epsilon is recomputed for adjacency add-or-remove-one only")
    delta = _real(values, "delta")
    if not 0 < delta < 1:
        raise Unverified("delta is not between 0 and 1")
    events = values["events"]
    if not isinstance(events, list) or not 0 < len(events) <= MAX_EVENTS:
        raise Unverified(f"events is not a list of 1 to {MAX_EVENTS}")
    counts = [event.get("count") if isinstance(event, Mapping) else None for event in events]
    whole = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count > 0]
    if len(whole) != len(counts) or sum(whole) > MAX_STEPS:
        raise Unverified(f"an event's count is not a whole number from 1, or the sum is beyond {MAX_STEPS}")
    if sum(whole) != _real(values, "steps"):
        raise Unverified("the events compose another number of steps than the evidence claims")
    _matches(values, events)
    claimed = _real(values, "epsilon")
    from pellucid.privacy.accounting import epsilon  # here: it imports dp_accounting, which costs a second

    pld, rdp = epsilon(events, delta, "pld"), epsilon(events, delta, "rdp")
    return EpsilonCheck(claimed, *(value if math.isfinite(value) else None for value in (pld, rdp)))


def _matches(values: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
    """The fields a person reads must be those of an event the accountant composed."""
    for name in ("sample_rate", "noise_multiplier"):
        field_value = _real(values, name)
        texts = [event.get(name, "1" if event.get("kind") == "gaussian" else None) for event in events]
        numbers = [float(text) for text in texts if isinstance(text, str)]
        if not any(math.isclose(field_value, number, rel_tol=1e-6) for number in numbers):
            raise Unverified(f"{name} is not that of the events")


def _follows(values: Mapping[str, Any], evidence: Sequence[Evidence]) -> str:
    """Rate, steps and mechanism must follow from what was trained on whom; else the words of what was not compared.

    Batch, epochs and held-out share stand in the training evidence and the public number of people in that of the data
    set: :class:`pellucid.privacy.Plan` makes of them the one rate and the one number of steps that can be meant. What
    the training evidence does not say of clipping, mechanism, bands and views has its default value.
    """
    training = [piece.values for piece in evidence if piece.kind == "training"]
    units: list[Any] = [piece.values.get("units") for piece in evidence if piece.kind == "dataset"]
    missing = [kind for kind, found in (("training", training), ("dataset", units)) if not found]
    delta = _real(values, "delta")
    for number in units:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 < number * delta < 1:
            raise Unverified("delta is not below 1/units: a claim this weak may publish a whole person")
    if missing:
        return f"; rate and steps are not bound to the run: the bundle holds no {' and no '.join(missing)} evidence"
    from pellucid.privacy import Plan

    boosted = [run for run in training if run.get("mechanism") == "boosting"]
    for run in boosted:
        _follows_boosting(values, run)
    training = [run for run in training if run not in boosted]
    for run in training:
        for number in units:
            try:
                asked: dict[str, Any] = {name: run.get(name) for name in ("test", "batch", "epochs")}
                asked |= {name: run[name] for name in _CHOICES if name in run}
                plan = Plan(
                    **asked,
                    units=number,
                    delta=delta,
                    noise_multiplier=_real(values, "noise_multiplier"),
                    epsilon=1.0,  # these two take no part in rate, steps and mechanism
                    clip=1.0,
                )
            except BadPlan as error:
                raise Unverified(f"training and dataset make no plan: {error.what}") from error
            rates = [_real(values, "sample_rate"), *(float(event["sample_rate"]) for event in values["events"])]
            if not all(math.isclose(rate, plan.sample_rate, rel_tol=1e-9) for rate in rates):
                raise Unverified("sample_rate is not what batch, held-out share and units make")
            (event,) = plan.events
            kinds = {(given["kind"], given.get("bands")) for given in values["events"]}
            if kinds != {(event["kind"], event.get("bands"))}:
                raise Unverified("the events are of another mechanism than the training")
            if plan.steps != values["steps"]:
                raise Unverified(f"steps is not the {plan.steps} that epochs, batch, held-out share and units make")
    return ""


def _follows_boosting(values: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Two events on everybody: a histogram of every feature, and its leaves in every round; and nothing else is told.

    How many people there are takes no part in it, and so needs no binding.
    """
    columns, rounds = len(run["features"]), _real(run, "rounds")
    if _real(run, "columns") != columns:
        raise Unverified("columns is not the number of features")
    found = [(event["kind"], event["count"]) for event in values["events"]]
    if found != [("gaussian", columns), ("gaussian", columns * rounds)]:
        raise Unverified("the events are not those of boosting so many features in so many rounds")
    if float(values["events"][1]["noise_multiplier"]) != _real(values, "noise_multiplier"):
        raise Unverified("noise_multiplier is not that of the sums over leaves")
    if values["sample_rate"] != 1 or values["steps"] != columns * (rounds + 1):
        raise Unverified("sample_rate or steps is not that of boosting")


def _claim(values: Mapping[str, Any], found: EpsilonCheck, training_steps: Sequence[Any]) -> None:
    if found.claimed is None or found.pld is None or found.rdp is None:
        raise Unverified("the events compose to no finite epsilon")
    if found.claimed < found.pld - TOLERANCE:
        raise Unverified(f"epsilon {found.claimed} is claimed, and the events compose to {found.pld}")
    second = values.get("second_opinion")
    if second is not None:
        if not isinstance(second, Mapping) or second.get("accountant") != "rdp":
            raise Unverified("the second opinion is not by the accountant rdp")
        if _real(second, "epsilon") < found.rdp - TOLERANCE:
            raise Unverified(f"the second opinion is claimed below what the events compose to, {found.rdp}")
    for steps in training_steps:
        if isinstance(steps, int | float) and steps > values["steps"]:
            raise Unverified("the model was trained for more steps than were accounted for")


def _real(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise Unverified(f"{name} is not a finite number")
    return float(value)
