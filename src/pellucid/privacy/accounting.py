"""Accounting: from events to epsilon, by two accountants.

``pld`` composes privacy loss distributions (Koskela et al. 2020, arXiv 1906.03049; Doroshenko et al. 2022, arXiv
2207.04380), discretised so that the true epsilon is never above the number; of Gaussians alone the distribution is
normal, and epsilon has a closed form. ``rdp`` composes Rényi divergences (Mironov 2017, arXiv 1702.07476; of sampled
Gaussians Mironov et al. 2019, arXiv 1908.10530) and converts with Canonne et al. 2020 (arXiv 2004.00010, Proposition
12); looser, and the one that may gate adaptively chosen plans. Which can do what is a table,
:data:`~pellucid.privacy.capabilities.CAPABLE`: the tightest that can makes the claim.

Banded events are composed as the Poisson-sampled Gaussians that dominate them; see :mod:`pellucid.privacy.banded`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from importlib.metadata import version
from typing import Any, Final

from pellucid.errors import Unverified, nearest
from pellucid.privacy.accountants import (
    DISCRETIZATION,
    MAX_EPSILON,
    MIN_DELTA,
    ORDERS,
    deltas,
    epsilons,
    rdp_curve,
    rdp_to_epsilon,
)
from pellucid.privacy.calibration import gaussian_limit_noise, least_noise
from pellucid.privacy.capabilities import ACCOUNTANTS, CAPABLE, Accountant, Adjacency, can, check_adjacency
from pellucid.privacy.events import AnyEvent, Event, as_composed, round_epsilon_down, round_epsilon_up
from pellucid.privacy.parsing import parse_events

__all__ = [
    "ACCOUNTANTS",
    "ADJACENCY",
    "DISCRETIZATION",
    "MAX_EPSILON",
    "MIN_DELTA",
    "ORDERS",
    "Accountant",
    "Adjacency",
    "able",
    "calibrate",
    "calibrate_noise",
    "claimant",
    "curve",
    "deltas_at",
    "describe",
    "epsilon",
    "epsilon_at",
    "epsilon_each",
    "how",
    "rdp",
    "rdp_to_epsilon",
    "second_opinion",
]

ADJACENCY: Final[Adjacency] = "add-or-remove-one"
"""Whose neighbours plans are for, unless they say otherwise."""
CURVE_POINTS: Final = 33
"""Points of a privacy curve in evidence."""

_FEW_ORDERS: Final = (1.3, 1.5, 2.0, 4.0, 16.0, 64.0)


def epsilon(
    events: Iterable[Mapping[str, Any]],
    delta: float,
    accountant: Accountant | None = None,
    adjacency: Adjacency = ADJACENCY,
) -> float:
    """The epsilon of composing ``events``, rounded up in millionths, never 0.

    Args:
        events: Event records; see :mod:`pellucid.privacy.events`. At least one.
        delta: In [:data:`MIN_DELTA`, 1).
        accountant: A name of :data:`ACCOUNTANTS`; None is the tightest that can, as :func:`claimant` says.
        adjacency: Who are neighbours.

    Raises:
        Unverified: An event that is unknown or malformed, a delta, an accountant or an adjacency that is unknown, a mix
            that the accountant cannot compose, or a composition whose epsilon is above :data:`MAX_EPSILON` or not
            finite.
    """
    parsed, who = _parse(events, adjacency)
    delta = _delta(delta)
    if accountant is not None:
        _check_accountant(accountant)
        if accountant not in who:
            raise Unverified(f"{accountant} cannot compose these events; {' and '.join(who)} can", where="events")
    (found,) = epsilons(parsed, (delta,), accountant or who[0], adjacency)
    if not found <= MAX_EPSILON:
        raise Unverified(
            f"epsilon is above {MAX_EPSILON:g}: there is no privacy to state",
            where="events",
            fix="more noise or fewer steps",
        )
    return round_epsilon_up(found)


def able(events: Iterable[Mapping[str, Any]], adjacency: Adjacency = ADJACENCY) -> tuple[Accountant, ...]:
    """Who can compose ``events``, tightest first.

    Raises:
        Unverified: The events are malformed, or nobody can.
    """
    return _parse(events, adjacency)[1]


def claimant(events: Iterable[Mapping[str, Any]], adjacency: Adjacency = ADJACENCY) -> Accountant:
    """The accountant that makes the claim: the tightest that can compose ``events``.

    Raises:
        Unverified: The events are malformed, or nobody can.
    """
    return able(events, adjacency)[0]


def second_opinion(
    events: Iterable[Mapping[str, Any]], delta: float, adjacency: Adjacency = ADJACENCY
) -> dict[str, Any] | None:
    """Who else can compose ``events``, and what they find: ``{"accountant", "epsilon"}``; None if nobody else can.

    None is unmeasured, and never agreement. An epsilon above :data:`MAX_EPSILON` is none either.

    Raises:
        Unverified: As :func:`epsilon`, of the claim.
    """
    parsed, who = _parse(events, adjacency)
    delta = _delta(delta)
    if len(who) < 2:
        return None
    (found,) = epsilons(parsed, (delta,), who[1], adjacency)
    return {"accountant": who[1], "epsilon": round_epsilon_up(found)} if found <= MAX_EPSILON else None


def epsilon_at(events: Iterable[Mapping[str, Any]], delta: float, adjacency: Adjacency = ADJACENCY) -> dict[str, float]:
    """The claim at ``delta`` and at a tenth, a hundredth and a thousandth of it: a single one says little of the rest.

    Returns:
        Epsilon, as :func:`epsilon`, by the shortest decimal of its delta. None below :data:`MIN_DELTA`, and none above
        :data:`MAX_EPSILON`.

    Raises:
        Unverified: As :func:`epsilon`.
    """
    tenths = [float(Decimal(repr(_delta(delta))).scaleb(-k)) for k in range(4)]
    at = tuple(tenth for tenth in tenths if tenth >= MIN_DELTA)
    return {repr(d): e for d, e in zip(at, epsilon_each(events, at, adjacency), strict=True) if e <= MAX_EPSILON}


def epsilon_each(
    events: Iterable[Mapping[str, Any]], deltas: Sequence[float], adjacency: Adjacency = ADJACENCY
) -> tuple[float, ...]:
    """As :func:`epsilon` at each of ``deltas``, and inf where there is no privacy to state.

    Raises:
        Unverified: As :func:`epsilon`.
    """
    parsed, who = _parse(events, adjacency)
    found = epsilons(parsed, tuple(map(_delta, deltas)), who[0], adjacency)
    return tuple(round_epsilon_up(epsilon) if epsilon <= MAX_EPSILON else math.inf for epsilon in found)


def curve(
    events: Iterable[Mapping[str, Any]], delta: float, adjacency: Adjacency = ADJACENCY
) -> list[tuple[float, float]]:
    """The whole privacy curve: delta as a function of epsilon, of which the claim is one point.

    Returns:
        :data:`CURVE_POINTS` pairs ``(epsilon, delta)`` with epsilon from 0 in equal steps to one and a half times the
        claim, and delta rounded up to four significant digits.

    Raises:
        Unverified: As :func:`epsilon`.
    """
    parsed, who = _parse(events, adjacency)
    last = 1.5 * epsilon(events, delta, who[0], adjacency)
    grid = tuple(round(last * i / (CURVE_POINTS - 1), 6) for i in range(CURVE_POINTS))
    return list(zip(grid, map(_round_delta_up, deltas(parsed, grid, who[0], adjacency)), strict=True))


def deltas_at(
    events: Iterable[Mapping[str, Any]], grid: Sequence[float], adjacency: Adjacency = ADJACENCY
) -> tuple[float, ...]:
    """Delta at each epsilon of ``grid``, which rises from 0 on, not rounded: what holds a :func:`curve` to account.

    Raises:
        Unverified: As :func:`epsilon`, but for a composition without privacy, which this is not for.
    """
    parsed, who = _parse(events, adjacency)
    return deltas(parsed, tuple(grid), who[0], adjacency)


def rdp(events: Iterable[Mapping[str, Any]], order: float, adjacency: Adjacency = ADJACENCY) -> float:
    """Rényi divergence of order ``order`` of composing ``events``, rounded up.

    Args:
        events: Event records. At least one.
        order: Above 1.01, finite.
        adjacency: Who are neighbours.

    Raises:
        Unverified: As :func:`epsilon`; or the divergence is not finite at this order.
    """
    if not _is_number(order) or not 1.01 < order < math.inf:
        raise Unverified("a Rényi order must be a number above 1.01", where="order")
    parsed, who = _parse(events, adjacency)
    if "rdp" not in who:
        raise Unverified("there is no Rényi divergence of these events to compute", where="events")
    (found,) = rdp_curve(parsed, (float(order),), adjacency)
    if not math.isfinite(found):
        raise Unverified(f"the Rényi divergence at order {order:g} is not finite", where="events")
    return found


def calibrate(sample_rate: float, steps: int, epsilon: float, delta: float, bands: int = 1) -> float:
    """The least noise multiplier whose PLD epsilon is at most ``epsilon``: in steps of 1e-4, to within two of them.

    Above 20 it is to within a relative 1e-5 instead.

    Args:
        sample_rate: In (0, 1].
        steps: Number of steps, at least 1.
        epsilon: Target, in (0, :data:`MAX_EPSILON`]. Never exceeded.
        delta: In [:data:`MIN_DELTA`, 1).
        bands: Of the noise, at least 1; see :class:`~pellucid.privacy.events.Event`.

    Raises:
        BadPlan: No noise multiplier of :data:`~pellucid.privacy.events.NOISE_RANGE` meets the target.
        Unverified: An argument is out of its range.
    """
    _target(epsilon)
    parse_events([Event(sample_rate, 1.0, steps, bands).record()])
    event = Event(sample_rate, 1.0, steps, bands).poisson()
    start = gaussian_limit_noise(event.sample_rate, event.count, epsilon, _delta(delta))
    return calibrate_noise(
        lambda noise: [Event(sample_rate, noise, steps, bands).record()], epsilon, delta, start=start
    )


def calibrate_noise(
    events_of: Callable[[float], Sequence[Mapping[str, Any]]],
    epsilon: float,
    delta: float,
    *,
    adjacency: Adjacency = ADJACENCY,
    start: float = 1.0,
) -> float:
    """The least noise multiplier that keeps the claim at most ``epsilon``, as :func:`calibrate`, for any events.

    Args:
        events_of: The events with a noise multiplier of :data:`~pellucid.privacy.events.NOISE_RANGE`; more noise must
            never cost more.
        epsilon: Target, in (0, :data:`MAX_EPSILON`]. Never exceeded.
        delta: In [:data:`MIN_DELTA`, 1).
        adjacency: Who are neighbours.
        start: A guess: the nearer, the faster.

    Raises:
        BadPlan: No noise multiplier meets the target.
        Unverified: An argument is out of its range, or no accountant can.
    """
    target, delta = _target(epsilon), _delta(delta)

    def on(interval: float) -> Callable[[float], float]:
        def found(noise: float) -> float:
            parsed, who = _parse(events_of(noise), adjacency)
            (epsilon,) = epsilons(
                parsed,
                (delta,),
                who[0],
                adjacency,
                interval=interval,
                orders=_FEW_ORDERS,
                most=2 * MAX_EPSILON,
            )
            return epsilon

        return found

    if target > 1:  # noise is small and the grid of losses long: one ten times as coarse is ten times as cheap
        start = least_noise(on(10 * DISCRETIZATION), target, start, tolerance=1e-4)
    return least_noise(on(DISCRETIZATION), target, start)


def describe(accountant: Accountant, adjacency: Adjacency = ADJACENCY) -> dict[str, Any]:
    """How ``accountant`` computes, as JSON: library, version, adjacency, grid. For ``how`` of evidence."""
    _check_accountant(accountant)
    check_adjacency(adjacency)
    common = {
        "accountant": accountant,
        "library": "dp-accounting",
        "version": version("dp-accounting"),
        "adjacency": adjacency,
        "rounding": "up, 1e-6",
    }
    if accountant == "pld":
        return {
            **common,
            "estimate": "pessimistic",
            "value_discretization_interval": DISCRETIZATION,
            "gaussians_alone": "closed form (Balle & Wang 2018, theorem 8)",
        }
    return {**common, "orders": list(ORDERS), "conversion": "Canonne, Kamath & Steinke 2020, Proposition 12"}


def how(events: Iterable[Mapping[str, Any]] | None = None, adjacency: Adjacency = ADJACENCY) -> dict[str, Any]:
    """How the claim and the second opinion beside it were made, as JSON, and the table of what accountants can do.

    Args:
        events: What is claimed about; None is what both accountants can do.
        adjacency: Who are neighbours.

    Returns:
        ``claim`` and ``second_opinion`` as :func:`describe` says, the second one null where there is none; and
        ``accountants``, by kind of event and adjacency.
    """
    who = ACCOUNTANTS if events is None else _parse(events, adjacency)[1]
    table = {kind: {by: list(names) for by, names in row.items()} for kind, row in CAPABLE.items()}
    return {
        "claim": describe(who[0], adjacency),
        "second_opinion": describe(who[1], adjacency) if len(who) > 1 else None,
        "accountants": table,
    }


def _parse(
    events: Iterable[Mapping[str, Any]], adjacency: Adjacency
) -> tuple[tuple[AnyEvent, ...], tuple[Accountant, ...]]:
    """What is composed, and who can."""
    check_adjacency(adjacency)
    parsed = parse_events(events)
    return as_composed(parsed), can(parsed, adjacency)


def _check_accountant(accountant: str) -> None:
    if accountant not in ACCOUNTANTS:
        raise Unverified(f'unknown accountant "{accountant}"{nearest(str(accountant), ACCOUNTANTS)}')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _target(epsilon: Any) -> float:
    """The most that may be found, so that what is then claimed, in millionths and rounded up, is not above it."""
    if not _is_number(epsilon) or not 0 < epsilon <= MAX_EPSILON:
        raise Unverified(f"epsilon must be above 0 and at most {MAX_EPSILON:g}", where="epsilon")
    claimable = round_epsilon_down(epsilon)
    if claimable == 0:
        raise Unverified(
            "a claim is a whole number of millionths, and this is below one", where="epsilon", fix="1e-06 or more"
        )
    return claimable


def _round_delta_up(delta: float) -> float:
    return float(Context(prec=4, rounding=ROUND_CEILING).create_decimal(repr(delta)))


def _delta(delta: Any) -> float:
    if not _is_number(delta) or not MIN_DELTA <= delta < 1:
        raise Unverified(f"delta must be in [{MIN_DELTA:g}, 1)", where="delta")
    return float(delta)
