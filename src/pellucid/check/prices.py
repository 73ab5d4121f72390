"""What a bundle states the price of beside its model, and how much composing all of it may take. Without torch.

Statistics (evidence ``release``) and evaluations (``released``) are paid for by themselves. Each has to state at least
what its events cost, whatever else the bundle holds and whatever coverage it is labelled with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pellucid.errors import Unverified
from pellucid.evidence import Evidence

__all__ = ["TOLERANCE", "WHOLE", "bounded", "priced", "real", "steps_of"]

TOLERANCE: Final = 1e-6
"""How far a claimed epsilon may lie below the recomputed one: the step to which claims are rounded up."""
MAX_STEPS: Final = 10_000_000
MAX_EVENTS: Final = 1000
MAX_SAMPLED: Final = 32
"""Most different mechanisms on samples that are composed: each takes a good part of a second."""
MAX_DELTA: Final = 1e-2
"""A delta is below this where the bundle does not say of how many people the data set is."""
WHOLE: Final = ("gaussian", "laplace")
"""Kinds of events with everybody in every step."""
_PAID_BY_TRAINING: Final = ("privacy", "tuning")


def bounded(evidence: Sequence[Evidence]) -> None:
    """Refuse a bundle that takes too long to compose, before anything of it is composed.

    Raises:
        Unverified: A statement's events have no such shape, or all together are too many, have too many steps or too
            many different sampled mechanisms.
    """
    events = steps = sampled = 0
    for values in _statements(evidence):
        steps += steps_of(values.get("events"))
        events += len(values["events"])
        sampled += len({each for event in values["events"] for each in _sampled(event)})
    if events > MAX_EVENTS or steps > MAX_STEPS:
        raise Unverified(f"the bundle's events are more than {MAX_EVENTS}, or their steps more than {MAX_STEPS}")
    if sampled > MAX_SAMPLED:
        raise Unverified(
            f"the bundle composes {sampled} different sampled mechanisms; at most {MAX_SAMPLED} are checked"
        )


def steps_of(events: Any) -> int:
    """The number of steps that events of a statement compose.

    Raises:
        Unverified: They are no list of 1 to :data:`MAX_EVENTS` events, or their counts are no counts, or too large.
    """
    if not isinstance(events, list) or not 0 < len(events) <= MAX_EVENTS:
        raise Unverified(f"events is not a list of 1 to {MAX_EVENTS}")
    counts = [event.get("count") if isinstance(event, Mapping) else None for event in events]
    whole = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count > 0]
    if len(whole) != len(counts) or sum(whole) > MAX_STEPS:
        raise Unverified(f"an event's count is not a whole number from 1, or the sum is beyond {MAX_STEPS}")
    return sum(whole)


def priced(evidence: Sequence[Evidence]) -> None:
    """What was released by itself must state at least what its events cost, at a delta that means something.

    Raises:
        Unverified: A price is missing or too low, or its delta is not below 1/units (without data set evidence not
            below :data:`MAX_DELTA`).
    """
    from pellucid.privacy import accounting  # here: most bundles release nothing by themselves

    units = [piece.values.get("units") for piece in evidence if piece.kind == "dataset"]
    for piece in evidence:
        values = _price(piece)
        if values is None:
            if piece.coverage == "own-release" and piece.kind not in _PAID_BY_TRAINING:
                raise Unverified(f"{piece.kind} is a release of its own and states no price")
            continue
        events, delta, adjacency = values["events"], real(values, "delta"), values["adjacency"]
        below_units = all(type(number) is int and number * delta < 1 for number in units)
        if delta <= 0 or not below_units or not (units or delta < MAX_DELTA):
            limit = "1/units" if units else f"{MAX_DELTA:g}"
            raise Unverified(f"{values['name']} states delta {delta:g}, which is not above 0 and below {limit}")
        least = min(accounting.epsilon(events, delta, by, adjacency) for by in accounting.able(events, adjacency))
        if real(values, "epsilon") < least - TOLERANCE:
            raise Unverified(f"{values['name']} states epsilon {values['epsilon']}, and its events compose to {least}")


def real(values: Mapping[str, Any], name: str) -> float:
    """The number of that name.

    Raises:
        Unverified: There is none, or it is not finite.
    """
    value = values.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise Unverified(f"{name} is not a finite number")
    return float(value)


def _price(piece: Evidence) -> Mapping[str, Any] | None:
    """What states the price of a piece of evidence; None if it has none of its own."""
    if piece.kind == "release":
        return piece.values
    stated = piece.values.get("released") if piece.kind == "evaluation" else None
    if stated is not None and not isinstance(stated, Mapping):
        raise Unverified("what an evaluation says of its release is no table")
    return stated


def _statements(evidence: Sequence[Evidence]) -> Iterator[Mapping[str, Any]]:
    for piece in evidence:
        values = piece.values if piece.kind == "privacy" else _price(piece)
        if values is not None:
            yield values


def _sampled(event: Mapping[str, Any]) -> Iterator[str]:
    """Each mechanism on samples that an event is made of, as a text without its count."""
    inner = event.get("events")
    for one in inner if isinstance(inner, list) else [event]:
        if not isinstance(one, Mapping) or one.get("kind") not in WHOLE:
            plain = {key: one[key] for key in one if key != "count"} if isinstance(one, Mapping) else one
            yield json.dumps(plain, sort_keys=True)
