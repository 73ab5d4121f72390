"""The two accountants themselves: parsed events in, unrounded numbers out, for :mod:`pellucid.privacy.accounting`.

What costs time is remembered, here while the process lives and in the user's cache folder beyond that; see
:mod:`pellucid.privacy.cache`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from pellucid.privacy.cache import remembered
from pellucid.privacy.calibration import gaussian_delta, gaussian_epsilon
from pellucid.privacy.capabilities import Accountant, Adjacency
from pellucid.privacy.composition import loss_distribution, renyi_curve
from pellucid.privacy.events import AnyEvent, Event, RepeatAndSelect, TruncatedPoisson, as_composed
from pellucid.privacy.selection import selection_curve

__all__ = ["DISCRETIZATION", "MAX_EPSILON", "MIN_DELTA", "ORDERS", "deltas", "epsilons", "rdp_curve", "rdp_to_epsilon"]

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


def rdp_to_epsilon(divergence: float, order: float, delta: float) -> float:
    """Epsilon at ``delta`` of a mechanism with Rényi divergence ``divergence`` at ``order``; may be below 0.

    Canonne, Kamath & Steinke 2020, Proposition 12: ``d + log1p(-1/a) - log(delta·a)/(a-1)``.
    """
    return divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def epsilons(
    events: tuple[AnyEvent, ...],
    deltas: tuple[float, ...],
    accountant: Accountant,
    adjacency: Adjacency,
    *,
    interval: float = DISCRETIZATION,
    orders: tuple[float, ...] = ORDERS,
    most: float = MAX_EPSILON,
) -> tuple[float, ...]:
    """Epsilon at each of ``deltas``, 0 or more, or inf.

    Args:
        events: As :func:`~pellucid.privacy.events.as_composed` gives them; at least one.
        deltas: Each in [:data:`MIN_DELTA`, 1).
        accountant: Is capable of them all.
        adjacency: Who are neighbours.
        interval: Width of the grid of PLD.
        orders: On which Rényi is asked whether PLD is worth its while.
        most: What Rényi finds above is inf by PLD too, which there would be both meaningless and slow.
    """
    if accountant == "rdp":
        return tuple(_rdp_epsilon(events, delta, ORDERS, adjacency) for delta in deltas)
    if _rdp_epsilon(_stand_ins(events), max(deltas), orders, "add-or-remove-one") > most:  # first: it is cheap
        return tuple(math.inf for _ in deltas)
    return _pld_epsilons(events, deltas, adjacency, interval)


def deltas(
    events: tuple[AnyEvent, ...], epsilons: tuple[float, ...], accountant: Accountant, adjacency: Adjacency
) -> tuple[float, ...]:
    """Delta at each of ``epsilons``, which rise from 0 on; for events that :func:`epsilons` finds finite."""
    if accountant == "rdp":
        curve = list(zip(rdp_curve(events, ORDERS, adjacency), ORDERS, strict=True))
        return tuple(min(1.0, *(_rdp_to_delta(d, order, epsilon) for d, order in curve)) for epsilon in epsilons)
    mu = _gaussian_mu(events, adjacency)
    if mu is not None:
        return tuple(max(0.0, gaussian_delta(mu, epsilon)) for epsilon in epsilons)
    question = ["delta", _records(events), list(epsilons), adjacency, DISCRETIZATION]

    def compute() -> list[float]:
        pld = loss_distribution(events, adjacency, DISCRETIZATION)
        return [min(1.0, max(0.0, float(delta))) for delta in pld.get_delta_for_epsilon(list(epsilons))]

    return tuple(remembered(question, compute))


def _rdp_to_delta(divergence: float, order: float, epsilon: float) -> float:
    """Canonne, Kamath & Steinke 2020, Proposition 12, as the delta that it bounds."""
    exponent = (order - 1) * (divergence - epsilon) + order * math.log1p(-1 / order) - math.log(order - 1)
    return math.exp(min(0.0, exponent))


def _stand_ins(events: tuple[AnyEvent, ...]) -> tuple[AnyEvent, ...]:
    """What Rényi can judge in place of ``events``: for a truncated sample, the sample."""
    return as_composed(
        Event(event.sample_rate, event.noise_multiplier, event.count) if isinstance(event, TruncatedPoisson) else event
        for event in events
    )


def _records(events: Iterable[AnyEvent]) -> list[dict[str, object]]:
    return [event.record() for event in events]


@lru_cache(maxsize=512)
def _rdp_epsilon(events: tuple[AnyEvent, ...], delta: float, orders: tuple[float, ...], adjacency: Adjacency) -> float:
    # Not the library's conversion: it returns 0 for a divergence that numerical noise made negative.
    curve = rdp_curve(events, orders, adjacency)
    return max(0.0, min(rdp_to_epsilon(d, order, delta) for d, order in zip(curve, orders, strict=True)))


def rdp_curve(events: tuple[AnyEvent, ...], orders: tuple[float, ...], adjacency: Adjacency) -> tuple[float, ...]:
    """Divergence of the composition at every order; inf where the series of a fractional order does not converge."""
    curves = [_one_step(replace(event, count=1), orders, adjacency) for event in events]
    counts = [event.count for event in events]
    return tuple(_compose(counts, [curve[i] for curve in curves], order) for i, order in enumerate(orders))


@lru_cache(maxsize=1024)
def _one_step(event: AnyEvent, orders: tuple[float, ...], adjacency: Adjacency) -> tuple[float, ...]:
    if not isinstance(event, RepeatAndSelect):
        question = ["renyi", event.record(), list(orders), adjacency]
        return tuple(remembered(question, lambda: renyi_curve(event, orders, adjacency)))
    # the bound at one order takes the best of all others
    every = tuple(sorted({*ORDERS, *orders}))
    curve = selection_curve(rdp_curve(event.events, every, adjacency), every, event.mean, event.shape)
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
def _pld_epsilons(
    events: tuple[AnyEvent, ...], deltas: tuple[float, ...], adjacency: Adjacency, interval: float
) -> tuple[float, ...]:
    mu = _gaussian_mu(events, adjacency)
    if mu is not None:
        return tuple(gaussian_epsilon(mu, delta) for delta in deltas)

    def compute() -> list[float]:
        pld = loss_distribution(events, adjacency, interval)
        found = [float(pld.get_epsilon_for_delta(delta)) for delta in deltas]
        return [epsilon if epsilon >= 0 else math.inf for epsilon in found]  # NaN too: it is no guarantee

    return tuple(remembered(["epsilon", _records(events), list(deltas), adjacency, interval], compute))


def _gaussian_mu(events: Iterable[AnyEvent], adjacency: Adjacency) -> float | None:
    """The mu of the one Gaussian mechanism that ``events`` are together, rounded up; None if they are not only that."""
    squares = []
    for event in events:
        if not isinstance(event, Event) or event.sample_rate != 1 or event.bands != 1:
            return None
        squares.append(event.count / event.noise_multiplier**2)
    return math.sqrt(math.fsum(squares)) * (2 if adjacency == "replace-one" else 1) * (1 + 1e-15)
