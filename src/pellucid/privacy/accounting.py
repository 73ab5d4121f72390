"""Accounting: from events to epsilon, by two accountants. The only door to dp_accounting.

``pld`` composes privacy loss distributions (Koskela et al. 2020, arXiv 1906.03049; Doroshenko et al. 2022, arXiv
2207.04380), discretised so that the true epsilon is never above the number. ``rdp`` composes Rényi divergences of the
sampled Gaussian (Mironov et al. 2019, arXiv 1908.10530) and converts with Canonne et al. 2020 (arXiv 2004.00010,
Proposition 12); looser, and the one that may gate adaptively chosen plans. Both are for adding or removing one unit.
Banded events are composed as the Poisson-sampled Gaussians that dominate them; see :mod:`pellucid.privacy.banded`.

The library costs over a second to import, so it is imported inside the functions that compute.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final, Literal

from pellucid.errors import Unverified, nearest
from pellucid.privacy.calibration import gaussian_limit_noise, least_noise
from pellucid.privacy.events import Event, as_poisson, parse_events, round_epsilon_up

__all__ = [
    "ACCOUNTANTS",
    "ADJACENCY",
    "DISCRETIZATION",
    "MAX_EPSILON",
    "MIN_DELTA",
    "ORDERS",
    "Accountant",
    "calibrate",
    "describe",
    "epsilon",
    "how",
    "rdp",
    "rdp_to_epsilon",
]

Accountant = Literal["pld", "rdp"]
ACCOUNTANTS: Final[tuple[Accountant, ...]] = ("pld", "rdp")
ADJACENCY: Final = "add-or-remove-one"
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
_NOT_CONVERGED: Final = "_compute_log_a_frac failed to converge"


def epsilon(events: Iterable[Mapping[str, Any]], delta: float, accountant: Accountant = "pld") -> float:
    """The epsilon of composing ``events``, rounded up in millionths (never 0), for adding or removing one unit.

    Args:
        events: Event records; see :mod:`pellucid.privacy.events`. At least one.
        delta: In [:data:`MIN_DELTA`, 1).
        accountant: A name of :data:`ACCOUNTANTS`.

    Raises:
        Unverified: An event that is unknown or malformed, a delta or an accountant that is unknown, or a composition
            whose epsilon is above :data:`MAX_EPSILON` or not finite.
    """
    if accountant not in ACCOUNTANTS:
        raise Unverified(f'unknown accountant "{accountant}"{nearest(str(accountant), ACCOUNTANTS)}')
    parsed, delta = as_poisson(parse_events(events)), _delta(delta)
    # Rényi first: it is cheap, and says whether PLD would be both meaningless and slow.
    found = _rdp_epsilon(parsed, delta)
    if accountant == "pld" and found <= MAX_EPSILON:
        found = _pld_epsilon(parsed, delta, DISCRETIZATION)
    if not found <= MAX_EPSILON:
        raise Unverified(
            f"epsilon is above {MAX_EPSILON:g}: there is no privacy to state",
            where="events",
            fix="more noise or fewer steps",
        )
    return round_epsilon_up(found)


def rdp(events: Iterable[Mapping[str, Any]], order: float) -> float:
    """Rényi divergence of order ``order`` of composing ``events``, rounded up.

    Args:
        events: Event records. At least one.
        order: Above 1.01, finite.

    Raises:
        Unverified: As :func:`epsilon`; or the divergence is not finite at this order.
    """
    if not _is_number(order) or not 1.01 < order < math.inf:
        raise Unverified("a Rényi order must be a number above 1.01", where="order")
    (found,) = _rdp_curve(as_poisson(parse_events(events)), (float(order),))
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
    if not _is_number(epsilon) or not 0 < epsilon <= MAX_EPSILON:
        raise Unverified(f"epsilon must be above 0 and at most {MAX_EPSILON:g}", where="epsilon")
    (event,) = as_poisson(parse_events([Event(sample_rate, 1.0, steps, bands).record()]))
    return _calibrate(event.sample_rate, event.count, float(epsilon), _delta(delta))


def describe(accountant: Accountant) -> dict[str, Any]:
    """How ``accountant`` computes, as JSON: library, version, adjacency, grid. For ``how`` of evidence."""
    if accountant not in ACCOUNTANTS:
        raise Unverified(f'unknown accountant "{accountant}"{nearest(str(accountant), ACCOUNTANTS)}')
    common = {
        "accountant": accountant,
        "library": "dp-accounting",
        "version": version("dp-accounting"),
        "adjacency": ADJACENCY,
        "rounding": "up, 1e-6",
    }
    if accountant == "pld":
        return {**common, "estimate": "pessimistic", "value_discretization_interval": DISCRETIZATION}
    return {**common, "orders": list(ORDERS), "conversion": "Canonne, Kamath & Steinke 2020, Proposition 12"}


def how() -> dict[str, Any]:
    """How the claim and the second opinion beside it were made, as JSON; see :func:`describe`."""
    return {"claim": describe("pld"), "second_opinion": describe("rdp")}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _delta(delta: Any) -> float:
    if not _is_number(delta) or not MIN_DELTA <= delta < 1:
        raise Unverified(f"delta must be in [{MIN_DELTA:g}, 1)", where="delta")
    return float(delta)


@lru_cache(maxsize=512)
def _rdp_epsilon(events: tuple[Event, ...], delta: float) -> float:
    # Not the library's conversion: it returns 0 for a divergence that numerical noise made negative.
    curve = _rdp_curve(events, ORDERS)
    return max(0.0, min(rdp_to_epsilon(d, order, delta) for d, order in zip(curve, ORDERS, strict=True)))


@lru_cache(maxsize=512)
def _rdp_curve(events: tuple[Event, ...], orders: tuple[float, ...]) -> tuple[float, ...]:
    """Divergence of the composition at every order; inf where the series of a fractional order does not converge."""
    from dp_accounting.rdp import RdpAccountant

    curves = []
    with _quiet_absl():
        for event in events:
            accountant = RdpAccountant(orders=list(orders))
            accountant.compose(_mechanism(event))
            curves.append(accountant.rdp)
    return tuple(_compose(events, [float(curve[i]) for curve in curves], order) for i, order in enumerate(orders))


def _compose(events: Sequence[Event], divergences: Sequence[float], order: float) -> float:
    """Sum over steps, rounded up.

    The library sums a series in logarithms and stops it at a relative 1e-13, so that each step may be that much too
    low; 1e-12 a step covers it, and keeps every step above 0.
    """
    slack = 1e-12 / (order - 1)
    terms = [event.count * (max(d, 0.0) + slack) for event, d in zip(events, divergences, strict=True)]
    total = math.fsum(terms)
    return math.nextafter(total * (1 + 1e-12), math.inf) if math.isfinite(total) else math.inf


@lru_cache(maxsize=512)
def _pld_epsilon(events: tuple[Event, ...], delta: float, interval: float) -> float:
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=interval)
    for event in events:
        accountant.compose(_mechanism(event), event.count)
    found = float(accountant.get_epsilon(delta))
    return found if found >= 0 else math.inf  # NaN too: what cannot be computed is no guarantee


def _mechanism(event: Event) -> Any:
    from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent

    gaussian = GaussianDpEvent(event.noise_multiplier)
    return gaussian if event.sample_rate == 1 else PoissonSampledDpEvent(event.sample_rate, gaussian)


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Keeps one warning of the library off the terminal: an order that it leaves out only loosens the bound."""
    logger = logging.getLogger("absl")  # only after the library's import, which makes this logger its own

    def keep(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_NOT_CONVERGED)

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


@lru_cache(maxsize=128)
def _calibrate(sample_rate: float, steps: int, target: float, delta: float) -> float:
    def on(interval: float) -> Callable[[float], float]:
        def found(noise: float) -> float:
            event = (Event(sample_rate, noise, steps),)
            # A few cheap orders keep the search out of the region where the grid of losses is huge.
            curve = zip(_rdp_curve(event, _FEW_ORDERS), _FEW_ORDERS, strict=True)
            if min(rdp_to_epsilon(d, order, delta) for d, order in curve) > 2 * MAX_EPSILON:
                return math.inf
            return _pld_epsilon(event, delta, interval)

        return found

    start = gaussian_limit_noise(sample_rate, steps, target, delta)
    if target > 1:  # noise is small and the grid of losses long: one ten times as coarse is ten times as cheap
        start = least_noise(on(10 * DISCRETIZATION), target, start, tolerance=1e-4)
    return least_noise(on(DISCRETIZATION), target, start)
