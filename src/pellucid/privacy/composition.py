"""The only door to dp_accounting: events in, privacy loss distributions and Rényi curves out.

Noise multipliers are over the sensitivity to adding or removing one unit. To replace one moves a sum twice as far, so
that Gaussian and Laplace events then have half their multiplier; for sampled ones the library knows the pair.

The library costs over a second to import, so it is imported inside the functions that compute.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from typing import Any, Final, TypeAlias

from pellucid.privacy.capabilities import Adjacency
from pellucid.privacy.events import AnyEvent, Event, Laplace, MixtureOfGaussians, RepeatAndSelect, TruncatedPoisson
from pellucid.privacy.mixture import hockey_sticks, loss_range, renyi

__all__ = ["LossDistribution", "loss_distribution", "renyi_curve"]

LossDistribution: TypeAlias = Any
"""The library's ``PrivacyLossDistribution``, of a whole composition; it has no types."""

_NOT_CONVERGED: Final = "_compute_log_a_frac failed to converge"


@lru_cache(maxsize=16)
def loss_distribution(events: tuple[AnyEvent, ...], adjacency: Adjacency, interval: float) -> LossDistribution:
    """The privacy loss of all of ``events`` together, discretised so that it is never too small.

    Args:
        events: As :func:`~pellucid.privacy.events.as_composed` gives them; ``pld`` is capable of all.
        adjacency: Who are neighbours.
        interval: Width of the grid on which the loss is rounded up.
    """
    return reduce(lambda a, b: a.compose(b), [_composed(event, adjacency, interval) for event in events])


@lru_cache(maxsize=64)
def _composed(event: AnyEvent, adjacency: Adjacency, interval: float) -> LossDistribution:
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import privacy_loss_distribution as pld

    replacing = adjacency == "replace-one"
    relation = NeighboringRelation.REPLACE_ONE if replacing else NeighboringRelation.ADD_OR_REMOVE_ONE
    if isinstance(event, Event) and event.sample_rate == 1:  # n Gaussians are one with σ/√n
        noise = event.noise_multiplier / (2 if replacing else 1) / math.sqrt(event.count)
        return pld.from_gaussian_mechanism(noise, value_discretization_interval=interval)
    if isinstance(event, Event):
        one = pld.from_gaussian_mechanism(
            event.noise_multiplier,
            sampling_prob=event.sample_rate,
            value_discretization_interval=interval,
            neighboring_relation=relation,
        )
    elif isinstance(event, Laplace):
        scale = event.noise_multiplier / (2 if replacing else 1)
        one = pld.from_laplace_mechanism(scale, value_discretization_interval=interval)
    elif isinstance(event, TruncatedPoisson):
        one = pld.from_truncated_subsampled_gaussian_mechanism(
            event.units,
            event.sample_rate,
            event.most,
            event.noise_multiplier,
            value_discretization_interval=interval,
            neighboring_relation=relation,
        )
    elif isinstance(event, MixtureOfGaussians):
        one = _mixture(event, interval)
    else:
        raise NotImplementedError(event.kind)  # not reached: the table of capabilities says so
    return one.self_compose(event.count)


def _mixture(event: MixtureOfGaussians, interval: float) -> LossDistribution:
    """One step, by the library's connecting of dots and our hockey sticks, which are forty times as fast as its own."""
    import numpy as np
    from dp_accounting.pld import pld_pmf
    from dp_accounting.pld import privacy_loss_distribution as pld

    both = []
    for adding in (False, True):
        least, greatest = loss_range(event.parts, event.noise_multiplier, adding=adding)
        low, high = math.floor(least / interval), math.ceil(greatest / interval)
        deltas = hockey_sticks(
            event.parts, event.noise_multiplier, np.arange(low, high + 1, dtype=np.float64) * interval, adding=adding
        )
        both.append(pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(interval, low, high, deltas))
    return pld.PrivacyLossDistribution(*both)


def renyi_curve(event: AnyEvent, orders: Sequence[float], adjacency: Adjacency) -> list[float]:
    """Rényi divergence of one step of ``event`` at each order; inf where it is not finite or a series diverges.

    Args:
        event: ``rdp`` is capable of it, and it is no selection: that is made of the curve of what is selected from.
        orders: Above 1, rising.
        adjacency: Who are neighbours.
    """
    if isinstance(event, Event) and event.sample_rate == 1:  # the closed form, which needs no library
        noise = event.noise_multiplier / (2 if adjacency == "replace-one" else 1)
        return [order / (2 * noise**2) for order in orders]
    if isinstance(event, MixtureOfGaussians):
        return [renyi(event.parts, event.noise_multiplier, order) for order in orders]
    from dp_accounting.dp_event import GaussianDpEvent, LaplaceDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    if isinstance(event, TruncatedPoisson | RepeatAndSelect):
        raise NotImplementedError(event.kind)  # not reached: the table of capabilities says so
    noise = event.noise_multiplier / (2 if adjacency == "replace-one" else 1)
    mechanism: Any = LaplaceDpEvent(noise) if isinstance(event, Laplace) else GaussianDpEvent(noise)
    if isinstance(event, Event) and event.sample_rate < 1:
        mechanism = PoissonSampledDpEvent(event.sample_rate, mechanism)
    with _quiet_absl():
        accountant = RdpAccountant(orders=list(orders))
        accountant.compose(mechanism)
    return [float(value) for value in accountant.rdp]


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
