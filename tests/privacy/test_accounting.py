"""Two accountants against published numbers, against oracles that share no code with them, and against one contract."""

from __future__ import annotations

import json
import logging
import math
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from pellucid.errors import Unverified
from pellucid.privacy import accounting
from pellucid.privacy.events import Event

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "accounting.json").read_text())


def events(sample_rate: float, noise: float, count: int) -> list[dict[str, object]]:
    return [Event(sample_rate, noise, count).record()]


def vector_events(row: dict) -> list[dict[str, object]]:
    return events(float(Fraction(*map(int, row["sample_rate"]))), float(row["noise_multiplier"]), row["steps"])


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"{row['source']}, {row['steps']} steps")
class TestVectors:
    def test_pld(self, row):
        assert accounting.epsilon(vector_events(row), row["delta"], "pld") == pytest.approx(row["pld"], abs=1e-3)

    def test_rdp(self, row):
        found = accounting.epsilon(vector_events(row), row["delta"], "rdp")
        assert row["rdp"] - 1e-4 <= found <= row["rdp"] * 1.001

    def test_pld_is_never_looser_than_rdp(self, row):
        found = vector_events(row)
        assert accounting.epsilon(found, row["delta"], "pld") <= accounting.epsilon(found, row["delta"], "rdp")


# -- oracles ----------------------------------------------------------------------------------------------------------


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Closed form for Gaussians composed to 1/sigma = mu (Balle & Wang 2018, theorem 8)."""

    def excess(epsilon: float) -> float:
        lower = stats.norm.logcdf(-epsilon / mu - mu / 2)
        return stats.norm.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon + lower) - delta

    return float(optimize.brentq(excess, 0, 200, xtol=1e-12))


def poisson_delta(q: float, sigma: float, epsilon: float) -> float:
    """Hockey-stick divergence of one Poisson step, both directions, by numerical integration of the densities."""
    x = np.linspace(-14 * sigma, 14 * sigma + 1, 1_000_001)
    out = np.exp(-((x / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    mixed = (1 - q) * out + q * np.exp(-(((x - 1) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))

    def delta(p, r) -> float:
        return float(np.maximum(p - math.exp(epsilon) * r, 0).sum() * (x[1] - x[0]))

    return max(delta(mixed, out), delta(out, mixed))


@pytest.mark.parametrize(
    ("noise", "count", "delta"), [(1.0, 1, 1e-5), (5.0, 30, 1e-6), (20.0, 1000, 1e-10), (0.7, 1, 0.01)]
)
def test_pld_is_the_closed_form_of_gaussians_and_never_below(noise, count, delta):
    exact = gaussian_epsilon(math.sqrt(count) / noise, delta)
    found = accounting.epsilon(events(1.0, noise, count), delta)
    assert exact <= found <= exact + 2e-4


@pytest.mark.parametrize(("q", "noise", "epsilon"), [(0.1, 1.0, 0.5), (0.5, 0.8, 1.5), (0.02, 0.8, 1.0)])
def test_pld_is_the_hockey_stick_of_one_poisson_step_and_never_below(q, noise, epsilon):
    delta = poisson_delta(q, noise, epsilon)
    assert 1e-9 < delta < 1
    found = accounting.epsilon(events(q, noise, 1), delta)
    assert epsilon - 1e-6 <= found <= epsilon + 1e-3


@pytest.mark.parametrize("order", [2.0, 3.0, 3.9, 7.5, 8.0, 32.0])
@pytest.mark.parametrize(("q", "noise"), [(0.02, 1.0), (0.3, 2.5)])
def test_rdp_is_the_renyi_integral_and_never_below(q, noise, order):
    def integrand(x: float) -> float:
        ratio = (1 - q) + q * math.exp((2 * x - 1) / (2 * noise**2))
        return math.exp(order * math.log(ratio) - (x / noise) ** 2 / 2) / (noise * math.sqrt(2 * math.pi))

    span = 14 * noise + order
    exact = math.log(integrate.quad(integrand, -span, span, points=[0, 1, order], limit=500, epsabs=1e-15)[0])
    exact /= order - 1
    found = accounting.rdp(events(q, noise, 1), order)
    assert found >= exact - 1e-13
    # Between whole orders the library takes the terms of a series by their size, and so bounds it from above.
    assert found == pytest.approx(exact, rel=1e-6 if order.is_integer() else 5e-3, abs=1e-10)
    assert accounting.rdp(events(q, noise, 700), order) == pytest.approx(700 * found, rel=1e-9)


@given(noise=st.floats(0.5, 50), order=st.floats(1.1, 200), count=st.integers(1, 10**6))
def test_rdp_of_gaussians_is_linear_in_order_and_rounded_up(noise, order, count):
    exact = Fraction(order) * count / (2 * Fraction(noise) ** 2)
    found = accounting.rdp(events(1.0, noise, count), order)
    assert Fraction(found) >= exact
    assert found == pytest.approx(float(exact), rel=1e-6, abs=1e-3 * count)


# -- the contract of every accountant ---------------------------------------------------------------------------------


class AccountantContract:
    name: ClassVar[accounting.Accountant]
    q, noise, count, delta = 0.05, 3.0, 40, 1e-5

    def epsilon(self, *, q=None, noise=None, count=None, delta=None) -> float:
        return accounting.epsilon(
            events(q or self.q, noise or self.noise, count or self.count), delta or self.delta, self.name
        )

    def test_more_noise_never_costs_more(self):
        found = [self.epsilon(noise=noise) for noise in (2.0, 3.0, 3.01, 8.0)]
        assert found == sorted(found, reverse=True)
        assert found[0] > found[-1]

    def test_more_steps_never_cost_less(self):
        found = [self.epsilon(count=count) for count in (1, 2, 40, 41, 200)]
        assert found == sorted(found)
        assert found[0] < found[-1]

    def test_a_greater_delta_never_costs_more(self):
        found = [self.epsilon(delta=delta) for delta in (1e-9, 1e-6, 1e-5, 1e-3, 0.2)]
        assert found == sorted(found, reverse=True)
        assert found[0] > found[-1]

    def test_a_greater_sample_rate_never_costs_less(self):
        found = [self.epsilon(q=q) for q in (0.001, 0.05, 0.2, 0.5)]
        assert found == sorted(found)

    def test_is_rounded_up_in_millionths_and_never_zero(self):
        assert self.epsilon(delta=0.9) > 0
        for found in (self.epsilon(), self.epsilon(delta=0.9)):
            assert found == round(found, 6)

    def test_order_and_grouping_of_events_do_not_matter(self):
        a, b = events(0.05, 3.0, 10), events(0.05, 5.0, 7)
        joint = accounting.epsilon([*a, *b], 1e-5, self.name)
        assert joint == accounting.epsilon([*b, *events(0.05, 3.0, 4), *events(0.05, 3.0, 6)], 1e-5, self.name)
        assert joint > accounting.epsilon(a, 1e-5, self.name)

    def test_unknown_events_are_refused_never_skipped(self):
        strange = {"kind": "geometric", "scale": "1"}
        with pytest.raises(Unverified, match="unknown kind") as caught:
            accounting.epsilon([*events(0.05, 3.0, 1), strange], 1e-5, self.name)
        assert caught.value.where == "events[1]"

    def test_zero_steps_are_refused(self):
        with pytest.raises(Unverified):
            accounting.epsilon([], 1e-5, self.name)
        with pytest.raises(Unverified, match="count"):
            accounting.epsilon([{**events(0.05, 3.0, 1)[0], "count": 0}], 1e-5, self.name)

    @pytest.mark.parametrize("delta", [0, -1e-5, 1, 1.5, math.nan, math.inf, 1e-13, "1e-5", None, True])
    def test_a_delta_out_of_range_is_refused(self, delta):
        with pytest.raises(Unverified, match="delta"):
            accounting.epsilon(events(0.05, 3.0, 1), delta, self.name)

    def test_no_privacy_is_refused_and_soon(self):
        for hopeless in (events(0.5, 0.05, 10), events(1.0, 0.001, 1), events(0.5, 1.0, 10**9)):
            with pytest.raises(Unverified, match="no privacy"):
                accounting.epsilon(hopeless, 1e-5, self.name)

    def test_says_how_it_computes(self):
        how = accounting.describe(self.name)
        assert how["accountant"] == self.name
        assert how["library"] == "dp-accounting"
        assert how["adjacency"] == "add-or-remove-one"
        json.dumps(how, allow_nan=False)


class TestPld(AccountantContract):
    name = "pld"

    def test_its_grid_is_recorded(self):
        assert accounting.describe("pld")["value_discretization_interval"] == accounting.DISCRETIZATION


class TestRdp(AccountantContract):
    name = "rdp"

    def test_its_orders_are_recorded(self):
        assert accounting.describe("rdp")["orders"] == list(accounting.ORDERS)

    def test_orders_that_do_not_converge_only_loosen_the_bound_and_stay_quiet(self, caplog):
        with caplog.at_level(logging.WARNING):
            found = accounting.epsilon(events(0.022857, 0.3, 880), 1e-5, "rdp")
        assert found == pytest.approx(157.43, abs=0.1)
        assert caplog.records == []
        with pytest.raises(Unverified, match="not finite"):
            accounting.rdp(events(0.022857, 0.3, 880), 1.1)

    @settings(max_examples=30, deadline=None)
    @given(q=st.sampled_from([1e-12, 1e-6, 1e-3]), noise=st.floats(1, 1e6), order=st.sampled_from([1.5, 4.0, 32.0]))
    def test_no_step_is_free(self, q, noise, order):
        assert 0 < accounting.rdp(events(q, noise, 1), order) < accounting.rdp(events(q, noise, 10**6), order)


@pytest.mark.parametrize("order", [1, 1.01, 0, -2, math.inf, math.nan, True, "2"])
def test_an_order_that_is_none_is_refused(order):
    with pytest.raises(Unverified, match="order"):
        accounting.rdp(events(0.05, 3.0, 1), order)


@pytest.mark.parametrize("name", ["prv", "PLD", "", 3])
def test_an_unknown_accountant_is_refused(name):
    with pytest.raises(Unverified, match="accountant"):
        accounting.epsilon(events(0.05, 3.0, 1), 1e-5, name)
    with pytest.raises(Unverified, match="accountant"):
        accounting.describe(name)


def test_the_second_opinion_is_described_beside_the_claim():
    how = accounting.how()
    assert (how["claim"], how["second_opinion"]) == (accounting.describe("pld"), accounting.describe("rdp"))
    assert how == accounting.how(events(0.05, 3.0, 40))
    json.dumps(how, allow_nan=False)


def test_conversion_is_that_of_canonne_kamath_steinke():
    # Proposition 12, by the delta it bounds: exp((a-1)(d-eps)) / (a-1) · (1-1/a)^a, solved for delta.
    divergence, order, delta = 0.7, 6.0, 1e-5
    epsilon = accounting.rdp_to_epsilon(divergence, order, delta)
    back = math.exp((order - 1) * (divergence - epsilon)) / (order - 1) * (1 - 1 / order) ** order
    assert back == pytest.approx(delta, rel=1e-9)


# -- calibration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "steps", "epsilon", "delta"),
    [(0.5, 20, 1.0, 1e-6), (0.01, 500, 0.05, 1e-5), (1.0, 10, 2.0, 1e-5), (0.02, 100, 0.7, 1e-5)],
)
def test_calibrate_meets_the_target_with_the_least_noise_to_within_two_steps(q, steps, epsilon, delta):
    noise = accounting.calibrate(q, steps, epsilon, delta)
    assert noise == round(noise, 4)
    assert accounting.epsilon(events(q, noise, steps), delta) <= epsilon
    less = noise - max(3e-4, 2e-5 * noise)
    assert accounting.epsilon(events(q, less, steps), delta) > epsilon


def test_calibrate_of_banded_noise_meets_the_target_with_the_least():
    noise = accounting.calibrate(0.05, 40, 1.0, 1e-5, 4)
    assert noise > accounting.calibrate(0.05, 40, 1.0, 1e-5)
    for sigma, holds in ((noise, True), (noise - 3e-4, False)):
        assert (accounting.epsilon([Event(0.05, sigma, 40, 4).record()], 1e-5) <= 1.0) is holds


@pytest.mark.parametrize("bands", [0, -1, 2.5, "2"])
def test_calibrate_refuses_bands_that_are_none(bands):
    with pytest.raises(Unverified, match="bands"):
        accounting.calibrate(0.01, 100, 1.0, 1e-5, bands)


@pytest.mark.parametrize("epsilon", [0, -1, math.nan, math.inf, 501, True, "3"])
def test_calibrate_refuses_a_target_that_is_none(epsilon):
    with pytest.raises(Unverified, match="epsilon"):
        accounting.calibrate(0.01, 100, epsilon, 1e-5)


@pytest.mark.parametrize(("q", "steps"), [(0.0, 10), (1.1, 10), (0.1, 0), (math.nan, 10)])
def test_calibrate_refuses_sampling_that_is_none(q, steps):
    with pytest.raises(Unverified):
        accounting.calibrate(q, steps, 1.0, 1e-5)
