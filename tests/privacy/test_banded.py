"""Banded noise: the strategy's sensitivity by enumeration, its inverse, and its cost against naive twins."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadPlan
from pellucid.privacy import Plan, accounting
from pellucid.privacy.banded import banded_coefficients, correlate, prefix_error
from pellucid.privacy.events import Event

sizes = st.integers(1, 24).flatmap(lambda steps: st.tuples(st.integers(1, steps), st.just(steps)))


def strategy(bands: int, steps: int) -> np.ndarray:
    """The matrix C, written out."""
    coefficients = banded_coefficients(bands, steps)
    return sum(value * np.eye(steps, k=-diagonal) for diagonal, value in enumerate(coefficients))


# -- the strategy -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 600), st.integers(0, 50))
def test_a_column_has_norm_one_and_never_above_in_exact_arithmetic(bands, more):
    coefficients = banded_coefficients(bands, bands + more)
    norm = sum(Fraction(value) ** 2 for value in coefficients)
    assert 1 - Fraction(1, 10**14) < norm <= 1
    assert len(coefficients) == bands
    assert list(coefficients) == sorted(coefficients, reverse=True)
    assert coefficients[-1] > 0


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_with_all_bands_it_is_the_square_root_of_the_running_sums(steps):
    root = strategy(steps, steps) / banded_coefficients(steps, steps)[0]
    np.testing.assert_allclose(root @ root, np.tri(steps), atol=1e-12)


@pytest.mark.parametrize(("bands", "steps"), [(1, 4), (2, 7), (3, 8), (4, 4), (3, 3)])
def test_turns_at_least_bands_apart_compose_and_closer_ones_do_not(bands, steps):
    """Sensitivity by brute force: every set of steps of one group, every sign of the unit's gradient in each."""
    c = strategy(bands, steps)
    for group in range(bands):
        turns = range(group, steps, bands)
        for size in range(1, len(turns) + 1):
            for chosen in itertools.combinations(turns, size):
                for signs in itertools.product((1.0, -1.0), repeat=size):
                    shift = sum(sign * c[:, step] for sign, step in zip(signs, chosen, strict=True))
                    assert shift @ shift <= size * (1 + 1e-12)
    if bands > 1:
        closer = c[:, 0] + c[:, 1]
        assert closer @ closer > 2.1


@given(sizes)
def test_columns_of_one_group_share_no_row(size):
    bands, steps = size
    used = strategy(bands, steps) != 0
    for group in range(bands):
        assert used[:, group::bands].sum(axis=1).max() <= 1


@given(sizes, st.integers(1, 3))
def test_correlate_is_the_inverse_of_the_strategy(size, width):
    bands, steps = size
    z = np.random.default_rng(steps).normal(size=(steps, width))
    found = correlate(z, banded_coefficients(bands, steps))
    np.testing.assert_allclose(found, np.linalg.solve(strategy(bands, steps), z), atol=1e-10)


def test_correlate_leaves_its_argument_and_looks_back_only():
    z = np.random.default_rng(1).normal(size=(9, 2))
    before = z.copy()
    found = correlate(z, banded_coefficients(3, 9))
    np.testing.assert_array_equal(z, before)
    np.testing.assert_array_equal(correlate(z[:5], banded_coefficients(3, 9)), found[:5])
    np.testing.assert_array_equal(correlate(z, banded_coefficients(1, 9)), z)


@given(sizes)
def test_the_prefix_error_is_that_of_the_matrices(size):
    bands, steps = size
    error = np.linalg.norm(np.tri(steps) @ np.linalg.inv(strategy(bands, steps))) / math.sqrt(steps)
    assert prefix_error(banded_coefficients(bands, steps), steps) == pytest.approx(error, rel=1e-10)
    assert prefix_error((1.0,), steps) == pytest.approx(math.sqrt((steps + 1) / 2), rel=1e-12)


@pytest.mark.parametrize(("bands", "steps"), [(0, 3), (-1, 3), (4, 3), (1, 0)])
def test_bands_that_cannot_be_are_refused(bands, steps):
    with pytest.raises(BadPlan, match="bands") as caught:
        banded_coefficients(bands, steps)
    assert caught.value.where == "bands"


# -- the cost ---------------------------------------------------------------------------------------------------------


@given(q=st.floats(1e-6, 1), count=st.integers(1, 3000), bands=st.integers(2, 300), noise=st.floats(0.5, 50))
def test_a_unit_has_as_many_turns_as_the_event_counts(q, count, bands, noise):
    """A naive twin: walk over the steps of every group, and count."""
    event = Event(q, noise, count, bands).poisson()
    assert event.count == max(len(range(group, count, bands)) for group in range(bands))
    assert (event.sample_rate, event.noise_multiplier, event.bands) == (min(1.0, q * bands), noise, 1)


@pytest.mark.parametrize(
    ("q", "count", "bands", "noise"), [(0.01, 100, 8, 2.0), (0.003, 7, 30, 1.0), (0.2, 41, 4, 6.0), (0.4, 9, 3, 6.0)]
)
def test_a_banded_event_costs_what_its_poisson_composition_costs(q, count, bands, noise):
    banded = [Event(q, noise, count, bands).record()]
    turns = [Event(min(1.0, q * bands), noise, math.ceil(count / bands)).record()]
    for accountant in accounting.ACCOUNTANTS:
        assert accounting.epsilon(banded, 1e-5, accountant) == accounting.epsilon(turns, 1e-5, accountant)
    assert accounting.rdp(banded, 8.0) == accounting.rdp(turns, 8.0)
    assert accounting.rdp(banded, 8.0) > 0


def hockey_stick(parts: list[tuple[float, np.ndarray]], epsilon: float, sigma: float) -> float:
    """Both directions, between a mixture of normals at shifts of up to 3 dimensions and the one at 0, on a grid."""
    points, width = np.linspace(-7, 8, 91, retstep=True)
    axes = np.meshgrid(*[points] * len(parts[0][1]), indexing="ij", sparse=True)

    def density(shift: np.ndarray) -> np.ndarray:
        squares = sum((axis - by) ** 2 for axis, by in zip(axes, shift, strict=True))
        return np.exp(-squares / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)) ** len(shift)

    out = density(np.zeros(len(parts[0][1])))
    mixed = sum(weight * density(shift) for weight, shift in parts)
    cell = width ** len(parts[0][1])
    add, remove = (np.maximum(p - math.exp(epsilon) * r, 0).sum() for p, r in ((mixed, out), (out, mixed)))
    return float(max(add, remove) * cell)


def turns_of(group: int, bands: int, steps: int, rate: float) -> list[tuple[float, np.ndarray]]:
    """Where the outputs shift to, by which of its turns a unit of ``group`` was sampled in, and how likely that is."""
    c, mine = strategy(bands, steps), range(group, steps, bands)
    return [
        (
            math.prod(rate if coin else 1 - rate for coin in coins),
            sum((c[:, step] for step, coin in zip(mine, coins, strict=True) if coin), np.zeros(steps)),
        )
        for coins in itertools.product((False, True), repeat=len(mine))
    ]


@pytest.mark.parametrize("epsilon", [0.2, 0.6])
@pytest.mark.parametrize("q", [0.05, 0.2])
def test_the_true_delta_of_a_small_run_is_never_above_the_accounted(q, epsilon):
    """Three steps, two bands, groups at random: densities of all outputs on a grid, against the accountant."""
    rate = min(1.0, 2 * q)
    parts = [(weight / 2, shift) for group in (0, 1) for weight, shift in turns_of(group, 2, 3, rate)]
    delta = hockey_stick(parts, epsilon, 1.0)
    assert delta > 1e-4
    assert accounting.epsilon([Event(q, 1.0, 3, 2).record()], delta) >= epsilon


def test_given_its_group_a_unit_with_one_turn_is_one_poisson_step_exactly():
    delta = hockey_stick(turns_of(0, 2, 2, 0.3), 0.5, 1.0)
    assert accounting.epsilon([Event(0.15, 1.0, 2, 2).record()], delta) == pytest.approx(0.5, abs=2e-3)


# -- when it is worth it ----------------------------------------------------------------------------------------------

PUBLIC = {"delta": 1e-5, "units": 4000, "test": 0.0, "batch": 200, "clip": 1.0}


def error_of(plan: Plan) -> float:
    return plan.noise_multiplier * prefix_error(banded_coefficients(plan.bands, plan.steps), plan.steps)


def test_banded_has_the_smaller_error_at_a_large_epsilon_and_few_epochs_and_else_the_larger():
    for epsilon, epochs, better in ((3.0, 2, True), (0.5, 20, False)):
        plain = Plan.calibrate(**PUBLIC, epsilon=epsilon, epochs=epochs)
        banded = Plan.calibrate(**PUBLIC, epsilon=epsilon, epochs=epochs, mechanism="banded", bands=4)
        assert banded.noise_multiplier > plain.noise_multiplier
        assert (error_of(banded) < error_of(plain)) is better
