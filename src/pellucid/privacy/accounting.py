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
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from pellucid.errors import Unverified, nearest
from pellucid.privacy.calibration import gaussian_epsilon, gaussian_limit_noise, least_noise
from pellucid.privacy.capabilities import ACCOUNTANTS, CAPABLE, Accountant, Adjacency, can, check_adjacency
from pellucid.privacy.composition import loss_distribution, renyi_curve
from pellucid.privacy.events import AnyEvent, Event, RepeatAndSelect, TruncatedPoisson, as_composed, round_epsilon_up
from pellucid.privacy.parsing import parse_events
from pellucid.privacy.selection import selection_curve

__all__ = [
    "ACCOUNTANTS",
    "ADJACENCY",
    "DISCRETIZATION",
    "MAX_EPSILON",
    "MIN_DELTA",
    "ORDERS",
    "Accountant",
    "Adjacency",
    "calibrate",
    "calibrate_noise",
    "claimant",
    "describe",
    "epsilon",
    "how",
    "rdp",
    "rdp_to_epsilon",
    "second_opinion",
]

ADJACENCY: Final[Adjacency] = "add-or-remove-one"
"""Whose neighbours plans are for, unless they say otherwise."""
DISCRETIZATION: Final = 1e-4
"""Width of the grid on which privacy loss is rounded up."""
ORDERS: Final[tuple[float, ...]] = (
    *(1 + tenths / 10 for tenths in range(1, 100)),
    *(float(order) for order in range(11, 64)),
    128.0,
    256.0,
    512.0,
    1024.0,
)
"""Rényi orders tried by ``rdp``, fixed here so that a new release of the library changes no claim."""
MIN_DELTA: Final = 1e-12
"""Below, the mass that the convolution truncates (1e-15) stops being negligible: epsilon 8 times too high, then inf."""
MAX_EPSILON: Final = 500.0
"""Above, by Rényi, there is no privacy to state, and the grid of losses would cost a verifier minutes."""

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
    parsed, able = _parse(events, adjacency)
    delta = _delta(delta)
    if accountant is not None:
        _check_accountant(accountant)
        if accountant not in able:
            raise Unverified(f"{accountant} cannot compose these events; {' and '.join(able)} can", where="events")
    found = _epsilon(parsed, delta, accountant or able[0], adjacency, DISCRETIZATION)
    if not found <= MAX_EPSILON:
        raise Unverified(
            f"epsilon is above {MAX_EPSILON:g}: there is no privacy to state",
            where="events",
            fix="more noise or fewer steps",
        )
    return round_epsilon_up(found)


def claimant(events: Iterable[Mapping[str, Any]], adjacency: Adjacency = ADJACENCY) -> Accountant:
    """The accountant that makes the claim: the tightest that can compose ``events``.

    Raises:
        Unverified: The events are malformed, or nobody can.
    """
    return _parse(events, adjacency)[1][0]


def second_opinion(
    events: Iterable[Mapping[str, Any]], delta: float, adjacency: Adjacency = ADJACENCY
) -> dict[str, Any] | None:
    """Who else can compose ``events``, and what they find: ``{"accountant", "epsilon"}``; None if nobody else can.

    None is unmeasured, and never agreement. An epsilon above :data:`MAX_EPSILON` is none either.

    Raises:
        Unverified: As :func:`epsilon`, of the claim.
    """
    parsed, able = _parse(events, adjacency)
    delta = _delta(delta)
    if len(able) < 2:
        return None
    found = _epsilon(parsed, delta, able[1], adjacency, DISCRETIZATION)
    return {"accountant": able[1], "epsilon": round_epsilon_up(found)} if found <= MAX_EPSILON else None


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
    parsed, able = _parse(events, adjacency)
    if "rdp" not in able:
        raise Unverified("there is no Rényi divergence of these events to compute", where="events")
    (found,) = _rdp_curve(parsed, (float(order),), adjacency)
    if not math.isfinite(found):
        raise Unverified(f"the Rényi divergence at order {order:g} is not finite", where="events")
    return found


def rdp_to_epsilon(divergence: float, order: float, delta: float) -> float:
    """Epsilon at ``delta`` of a mechanism with Rényi divergence ``divergence`` at ``order``; may be below 0.

    Canonne, Kamath & Steinke 2020, Proposition 12: ``d + log1p(-1/a) - log(delta·a)/(a-1)``.
    """
    return divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


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
            parsed, able = _parse(events_of(noise), adjacency)
            return _epsilon(parsed, delta, able[0], adjacency, interval, _FEW_ORDERS, 2 * MAX_EPSILON)

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
    able = ACCOUNTANTS if events is None else _parse(events, adjacency)[1]
    table = {kind: {by: list(names) for by, names in row.items()} for kind, row in CAPABLE.items()}
    return {
        "claim": describe(able[0], adjacency),
        "second_opinion": describe(able[1], adjacency) if len(able) > 1 else None,
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
    if not _is_number(epsilon) or not 0 < epsilon <= MAX_EPSILON:
        raise Unverified(f"epsilon must be above 0 and at most {MAX_EPSILON:g}", where="epsilon")
    return float(epsilon)


def _delta(delta: Any) -> float:
    if not _is_number(delta) or not MIN_DELTA <= delta < 1:
        raise Unverified(f"delta must be in [{MIN_DELTA:g}, 1)", where="delta")
    return float(delta)


def _epsilon(
    events: tuple[AnyEvent, ...],
    delta: float,
    accountant: Accountant,
    adjacency: Adjacency,
    interval: float,
    orders: tuple[float, ...] = ORDERS,
    most: float = MAX_EPSILON,
) -> float:
    """Not rounded. Of what Rényi finds above ``most`` on ``orders``, PLD would be both meaningless and slow: inf."""
    # Rényi first: it is cheap.
    if accountant == "rdp":
        return _rdp_epsilon(events, delta, ORDERS, adjacency)
    if _rdp_epsilon(_stand_ins(events), delta, orders, ADJACENCY) > most:
        return math.inf
    return _pld_epsilon(events, delta, adjacency, interval)


def _stand_ins(events: tuple[AnyEvent, ...]) -> tuple[AnyEvent, ...]:
    """What Rényi can judge in place of ``events``: for a truncated sample, the sample."""
    return as_composed(
        Event(event.sample_rate, event.noise_multiplier, event.count) if isinstance(event, TruncatedPoisson) else event
        for event in events
    )


@lru_cache(maxsize=512)
def _rdp_epsilon(events: tuple[AnyEvent, ...], delta: float, orders: tuple[float, ...], adjacency: Adjacency) -> float:
    # Not the library's conversion: it returns 0 for a divergence that numerical noise made negative.
    curve = _rdp_curve(events, orders, adjacency)
    return max(0.0, min(rdp_to_epsilon(d, order, delta) for d, order in zip(curve, orders, strict=True)))


def _rdp_curve(events: tuple[AnyEvent, ...], orders: tuple[float, ...], adjacency: Adjacency) -> tuple[float, ...]:
    """Divergence of the composition at every order; inf where the series of a fractional order does not converge."""
    curves = [_one_step(replace(event, count=1), orders, adjacency) for event in events]
    counts = [event.count for event in events]
    return tuple(_compose(counts, [curve[i] for curve in curves], order) for i, order in enumerate(orders))


@lru_cache(maxsize=1024)
def _one_step(event: AnyEvent, orders: tuple[float, ...], adjacency: Adjacency) -> tuple[float, ...]:
    if not isinstance(event, RepeatAndSelect):
        return tuple(renyi_curve(event, orders, adjacency))
    # the bound at one order takes the best of all others
    every = tuple(sorted({*ORDERS, *orders}))
    curve = selection_curve(_rdp_curve(event.events, every, adjacency), every, event.mean, event.shape)
    return tuple(curve[every.index(order)] for order in orders)


def _compose(counts: Sequence[int], divergences: Sequence[float], order: float) -> float:
    """Sum over steps, rounded up.

    The library sums a series in logarithms and stops it at a relative 1e-13, so that each step may be that much too
    low; 1e-12 a step covers it, and keeps every step above 0.
    """
    slack = 1e-12 / (order - 1)
    terms = [count * (max(d, 0.0) + slack) for count, d in zip(counts, divergences, strict=True)]
    total = math.fsum(terms)
    return math.nextafter(total * (1 + 1e-12), math.inf) if math.isfinite(total) else math.inf


@lru_cache(maxsize=512)
def _pld_epsilon(events: tuple[AnyEvent, ...], delta: float, adjacency: Adjacency, interval: float) -> float:
    mu = gaussian_mu(events, adjacency)
    if mu is not None:
        return gaussian_epsilon(mu, delta)
    found = float(loss_distribution(events, adjacency, interval).get_epsilon_for_delta(delta))
    return found if found >= 0 else math.inf  # NaN too: what cannot be computed is no guarantee


def gaussian_mu(events: Iterable[AnyEvent], adjacency: Adjacency) -> float | None:
    """The mu of the one Gaussian mechanism that ``events`` are together, rounded up; None if they are not only that."""
    squares = []
    for event in events:
        if not isinstance(event, Event) or event.sample_rate != 1 or event.bands != 1:
            return None
        squares.append(event.count / event.noise_multiplier**2)
    found = math.sqrt(math.fsum(squares)) * (2 if adjacency == "replace-one" else 1)
    return found * (1 + 1e-15)
