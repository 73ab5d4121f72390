"""Is the epsilon that is claimed what its events compose to, and do the events follow from the run? Without torch.

By every accountant that can compose them; the claim may not be below the tightest by more than a rounding. What was
recomputed once is remembered; see :mod:`pellucid.privacy.cache`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pellucid.check.prices import TOLERANCE, WHOLE, bounded, priced, real, steps_of
from pellucid.check.unit import follows_unit
from pellucid.errors import BadFile, BadPlan, PellucidError, Unverified
from pellucid.evidence import Evidence

__all__ = ["TOLERANCE", "CheckStatus", "EpsilonCheck", "recheck"]

MAX_POINTS: Final = 256
"""Most further deltas, and most points of a curve, that are recomputed."""
_CHOICES: Final = ("clipping", "mechanism", "bands", "augmentations", "unit_rows", "sampling", "rows")
CheckStatus = Literal["pass", "fail", "not checked"]


@dataclass(frozen=True, slots=True)
class EpsilonCheck:
    """The claimed epsilon and what the accountants make of the events; None where there is none, or one cannot."""

    claimed: float | None = None
    pld: float | None = None
    rdp: float | None = None

    @property
    def tightest(self) -> float | None:
        """The least that an accountant finds: all of them bound from above."""
        found = [value for value in (self.pld, self.rdp) if value is not None]
        return min(found) if found else None


def recheck(evidence: Sequence[Evidence]) -> tuple[CheckStatus, str, EpsilonCheck]:
    """Every privacy statement and every price must hold; the epsilon shown is the last statement's, which counts."""
    statements = [piece for piece in evidence if piece.kind == "privacy"]
    steps = [piece.values.get("steps") for piece in evidence if piece.kind == "training"]
    shown = EpsilonCheck()
    unbound, unclear = "", "the events cannot be composed"
    try:
        bounded(evidence)
        for statement in statements:
            shown = _recompute(statement.values)
            unbound = _follows(statement.values, evidence)
            _claim(statement.values, shown, steps)
        unclear = "a release states no price"
        priced(evidence)
    except (Unverified, BadFile, ArithmeticError, ValueError, TypeError, LookupError, AttributeError) as error:
        return "fail", error.what if isinstance(error, PellucidError) else unclear, shown
    if not statements:
        return "not checked", "the bundle holds no privacy evidence", shown
    found = [f"{value} ({name})" for name, value in (("PLD", shown.pld), ("RDP", shown.rdp)) if value is not None]
    alone = "" if len(found) > 1 else "; no second accountant can compose these events: no second opinion"
    return "pass", f"claimed {shown.claimed}, recomputed {' and '.join(found)}{alone}{unbound}", shown


def _recompute(values: Mapping[str, Any]) -> EpsilonCheck:
    """Epsilon from the events alone, after everything that would make the composition mean something else."""
    delta = real(values, "delta")
    if not 0 < delta < 1:
        raise Unverified("delta is not between 0 and 1")
    events = values["events"]
    if steps_of(events) != real(values, "steps"):
        raise Unverified("the events compose another number of steps than the evidence claims")
    _matches(values, events)
    claimed = real(values, "epsilon")
    from pellucid.privacy import accounting  # here: most bundles' answers are remembered, and no library is needed

    adjacency = values["adjacency"]
    found = {name: accounting.epsilon(events, delta, name, adjacency) for name in accounting.able(events, adjacency)}
    return EpsilonCheck(claimed, found.get("pld"), found.get("rdp"))


def _matches(values: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
    """The fields a person reads must be those of an event the accountant composed."""
    inner = [one for event in events for one in event.get("events", [event])]
    for name in ("sample_rate", "noise_multiplier"):
        if name == "sample_rate" and any(event.get("kind") == "mixture_gaussian" for event in inner):
            continue  # it is in the probabilities, which have to be those of the plan
        field_value = real(values, name)
        texts = [event.get(name, "1" if event.get("kind") in WHOLE else None) for event in inner]
        numbers = [float(text) for text in texts if isinstance(text, str)]
        if not any(math.isclose(field_value, number, rel_tol=1e-6) for number in numbers):
            raise Unverified(f"{name} is not that of the events")


def _follows(values: Mapping[str, Any], evidence: Sequence[Evidence]) -> str:
    """Rate, steps and mechanism must follow from what was trained on whom; else the words of what was not compared.

    Batch, epochs and held-out share stand in the training evidence and the public number of people in that of the data
    set: :class:`pellucid.privacy.Plan` makes of them the one rate and the one number of steps that can be meant. What
    the training evidence does not say of clipping, mechanism, bands, views and rows has its default value.
    """
    training = [piece.values for piece in evidence if piece.kind == "training"]
    datasets = [piece.values for piece in evidence if piece.kind == "dataset"]
    units: list[Any] = [declared.get("units") for declared in datasets]
    missing = [kind for kind, found in (("training", training), ("dataset", units)) if not found]
    delta = real(values, "delta")
    for number in units:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 < number * delta < 1:
            raise Unverified("delta is not below 1/units: a claim this weak may publish a whole person")
    follows_unit(values, training, datasets)
    if missing:
        return f"; rate and steps are not bound to the run: the bundle holds no {' and no '.join(missing)} evidence"
    from pellucid.privacy import Plan

    if "tuning" in values or any(event["kind"] == "repeat_and_select" for event in values["events"]):
        for run in training:
            _follows_tuning(values, run, units)
        return ""
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
                    noise_multiplier=real(values, "noise_multiplier"),
                    epsilon=1.0,  # these two take no part in rate, steps and mechanism
                    clip=1.0,
                )
            except BadPlan as error:
                raise Unverified(f"training and dataset make no plan: {error.what}") from error
            texts = [event.get("sample_rate") for event in values["events"]]
            rates = [real(values, "sample_rate"), *(float(text) for text in texts if isinstance(text, str))]
            if not all(math.isclose(rate, plan.sample_rate, rel_tol=1e-9) for rate in rates):
                raise Unverified("sample_rate is not what batch, held-out share and units make")
            (event,) = plan.events
            if None in texts and values["events"] != plan.events:
                raise Unverified("the events are not those of the plan that training and dataset make")
            kinds = {(given["kind"], given.get("bands")) for given in values["events"]}
            if kinds != {(event["kind"], event.get("bands"))}:
                raise Unverified("the events are of another mechanism than the training")
            if plan.steps != values["steps"]:
                raise Unverified(f"steps is not the {plan.steps} that epochs, batch, held-out share and units make")
            if values["events"] != plan.events:  # also their noise: one honest step among many hides none
                raise Unverified("the events are not those of the plan that training and dataset make")
    return ""


def _follows_tuning(values: Mapping[str, Any], run: Mapping[str, Any], units: Sequence[int]) -> None:
    """The events must be those of so many trials of the plan that training and data set make, and of their scores.

    What the claim says of the tuning is one of its public numbers: which draw, of how many trials, and the noise on a
    score. How many trials there were takes no part in it.
    """
    from pellucid.privacy import BoostPlan, Plan, TuningPlan

    told = values["tuning"]
    common: dict[str, Any] = {"epsilon": 1.0, "delta": values["delta"], "test": run["test"]}
    common["noise_multiplier"] = real(values, "noise_multiplier")
    for number in units:
        try:
            base: Plan | BoostPlan
            if run.get("mechanism") == "boosting":
                # the histograms' noise is free: that it is what was accounted for shows below
                counts = [float(event["noise_multiplier"]) for event in told["trial"][:1]]
                rounds = {"columns": len(run["features"]), "rounds": run["rounds"], "count_noise": counts[0]}
                base = BoostPlan(**common, **rounds, units=number)
            else:
                asked = {name: run[name] for name in ("batch", "epochs", *_CHOICES) if name in run}
                base = Plan(**common, **asked, units=number, clip=1.0)
            plan = TuningPlan(
                epsilon=1.0,
                delta=base.delta,
                base=base,
                trials=told["trials"],
                distribution=told["distribution"],
                score_noise=told["score_noise"],
            )
        except BadPlan as error:
            raise Unverified(f"training and dataset make no plan: {error.what}") from error
        if plan.events != values["events"] or plan.trial != told["trial"]:
            raise Unverified("the events are not those of such a tuning of what training and dataset make")
        if not math.isclose(real(values, "sample_rate"), plan.sample_rate, rel_tol=1e-9):
            raise Unverified("sample_rate is not what batch, held-out share and units make")
        if real(run, "steps") > base.steps:
            raise Unverified("the model was trained for more steps than were accounted for")


def _follows_boosting(values: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Two events on everybody: a histogram of every feature, and its leaves in every round; and nothing else is told.

    How many people there are takes no part in it, and so needs no binding.
    """
    columns, rounds = len(run["features"]), real(run, "rounds")
    if real(run, "columns") != columns:
        raise Unverified("columns is not the number of features")
    found = [(event["kind"], event["count"]) for event in values["events"]]
    if found != [("gaussian", columns), ("gaussian", columns * rounds)]:
        raise Unverified("the events are not those of boosting so many features in so many rounds")
    if float(values["events"][1]["noise_multiplier"]) != real(values, "noise_multiplier"):
        raise Unverified("noise_multiplier is not that of the sums over leaves")
    if values["sample_rate"] != 1 or values["steps"] != columns * (rounds + 1):
        raise Unverified("sample_rate or steps is not that of boosting")


def _claim(values: Mapping[str, Any], found: EpsilonCheck, training_steps: Sequence[Any]) -> None:
    if found.claimed is None or found.tightest is None:
        raise Unverified("the events compose to no finite epsilon")
    if found.claimed < found.tightest - TOLERANCE:
        raise Unverified(f"epsilon {found.claimed} is claimed, and the events compose to {found.tightest}")
    by = {"pld": found.pld, "rdp": found.rdp}
    if by.get(values["accountant"]) is None:
        raise Unverified(f"the accountant {values['accountant']} cannot compose these events")
    second = values.get("second_opinion")
    if second is None and None not in by.values():
        raise Unverified("the second opinion was left out, and two accountants can compose these events")
    if second is not None:
        other = by.get(str(second.get("accountant"))) if isinstance(second, Mapping) else None
        if other is None or second["accountant"] == values["accountant"]:
            raise Unverified("the second opinion is not by another accountant that can compose these events")
        if real(second, "epsilon") < other - TOLERANCE:
            raise Unverified(f"the second opinion is claimed below what the events compose to, {other}")
    _at_other_deltas(values)
    _on_the_curve(values)
    if "tuning" in values:  # whose steps are those of a trial, which was compared with its plan
        return
    for steps in training_steps:
        if steps is not None and real({"steps": steps}, "steps") > values["steps"]:
            raise Unverified("the model was trained for more steps than were accounted for")


def _at_other_deltas(values: Mapping[str, Any]) -> None:
    """Epsilon at further deltas may be left out; what is there has to hold."""
    stated = values.get("epsilon_at")
    if stated is None:
        return
    if not isinstance(stated, Mapping) or not 0 < len(stated) <= MAX_POINTS:
        raise Unverified(f"epsilon_at is not a table of 1 to {MAX_POINTS} epsilons by delta")
    from pellucid.privacy import accounting

    deltas = tuple(float(text) for text in stated)
    found = accounting.epsilon_each(values["events"], deltas, values["adjacency"])
    for text, least in zip(stated, found, strict=True):
        if real(stated, text) < least - TOLERANCE:
            raise Unverified(f"epsilon {stated[text]} is claimed at delta {text}, and the events compose to {least}")


def _on_the_curve(values: Mapping[str, Any]) -> None:
    """The privacy curve may be left out; what is there may not run below that of the events."""
    stated = values.get("curve")
    if stated is None:
        return
    if not isinstance(stated, list) or not 0 < len(stated) <= MAX_POINTS or any(len(point) != 2 for point in stated):
        raise Unverified(f"the curve is not a list of 1 to {MAX_POINTS} pairs of epsilon and delta")
    points = [{"epsilon": point[0], "delta": point[1]} for point in stated]
    grid = [real(point, "epsilon") for point in points]
    if grid[0] < 0 or any(a >= b for a, b in itertools.pairwise(grid)):
        raise Unverified("the epsilons of the curve do not rise from 0 on")
    from pellucid.privacy import accounting

    for point, least in zip(points, accounting.deltas_at(values["events"], grid, values["adjacency"]), strict=True):
        if real(point, "delta") < least * (1 - 1e-9) - 1e-15:
            raise Unverified(f"the curve is below that of the events at epsilon {point['epsilon']}")
