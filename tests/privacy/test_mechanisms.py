"""Every kind of event against an oracle of its own, and the table of who can compose what against the library."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import dp_accounting
import mpmath
import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import gammaln, logsumexp

from pellucid.errors import Unverified
from pellucid.privacy import accounting
from pellucid.privacy.calibration import gaussian_delta, gaussian_epsilon
from pellucid.privacy.capabilities import ACCOUNTANTS, ADJACENCIES, CAPABLE, can
from pellucid.privacy.events import (
    KINDS,
    Event,
    Laplace,
    MixtureOfGaussians,
    RepeatAndSelect,
    TruncatedPoisson,
    as_composed,
)
from pellucid.privacy.mixture import renyi, rows_parts
from pellucid.privacy.parsing import parse_events
from pellucid.privacy.selection import selection_curve, stopping_rate

BASE = Event(256 / 60000, 1.1, 14062)
"""The MNIST tutorial of TensorFlow Privacy, 60 epochs: 2.38 by PLD."""
ONE_OF_EACH = {
    "gaussian": Event(1.0, 4.0, 3),
    "poisson_gaussian": Event(0.05, 2.0, 30),
    "banded_gaussian": Event(0.02, 3.0, 30, 4),
    "laplace": Laplace(8.0, 5),
    "truncated_poisson_gaussian": TruncatedPoisson(0.05, 2.0, 1000, 60, 30),
    "mixture_gaussian": MixtureOfGaussians.of_rows(0.02, 3, 4.0, 30),
    "repeat_and_select": RepeatAndSelect((Event(1.0, 8.0, 3),), 5.0, 0.0),
}


def epsilon(*events, delta=1e-5, **options) -> float:
    return accounting.epsilon([event.record() for event in events], delta, **options)


# -- the table --------------------------------------------------------------------------------------------------------

LIBRARY = {
    "gaussian": dp_event.GaussianDpEvent(2.0),
    "poisson_gaussian": dp_event.PoissonSampledDpEvent(0.1, dp_event.GaussianDpEvent(2.0)),
    "laplace": dp_event.LaplaceDpEvent(2.0),
    "truncated_poisson_gaussian": dp_event.TruncatedSubsampledGaussianDpEvent(100, 0.1, 20, 2.0),
    "mixture_gaussian": dp_event.MixtureOfGaussiansDpEvent(2.0, [0.0, 1.0, 2.0], [0.81, 0.18, 0.01]),
    "repeat_and_select": dp_event.RepeatAndSelectDpEvent(dp_event.GaussianDpEvent(2.0), 5.0, 0.0),
}
OURS = {("mixture_gaussian", "add-or-remove-one", "rdp"), ("laplace", "replace-one", "pld")}


def test_the_table_has_every_kind_and_adjacency():
    assert set(CAPABLE) == set(KINDS) == set(ONE_OF_EACH)
    for row in CAPABLE.values():
        assert set(row) == set(ADJACENCIES)
        assert all(set(names) <= set(ACCOUNTANTS) for names in row.values())


@pytest.mark.parametrize("kind", LIBRARY)
@pytest.mark.parametrize("adjacency", ADJACENCIES)
def test_the_table_is_what_the_library_can_and_what_we_add(kind, adjacency):
    relation = dp_accounting.NeighboringRelation[adjacency.upper().replace("-", "_")]
    for name, accountant in (("pld", PLDAccountant), ("rdp", RdpAccountant)):
        library = accountant(neighboring_relation=relation).supports(LIBRARY[kind])
        ours = (kind, adjacency, name) in OURS
        assert (name in CAPABLE[kind][adjacency]) is (library or ours)
        assert not (library and ours)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("adjacency", ADJACENCIES)
def test_who_the_table_names_computes_and_who_it_does_not_name_refuses(kind, adjacency):
    event = ONE_OF_EACH[kind]
    for name in ACCOUNTANTS:
        if name in CAPABLE[kind][adjacency]:
            assert 0 < epsilon(event, accountant=name, adjacency=adjacency) < 60
        else:
            with pytest.raises(Unverified, match=r"cannot compose|no accountant"):
                epsilon(event, accountant=name, adjacency=adjacency)


def test_what_no_accountant_can_compose_together_is_refused_and_says_why():
    mixed = [ONE_OF_EACH["truncated_poisson_gaussian"].record(), ONE_OF_EACH["repeat_and_select"].record()]
    with pytest.raises(Unverified, match="truncated_poisson_gaussian by pld, repeat_and_select by rdp"):
        accounting.epsilon(mixed, 1e-5)
    with pytest.raises(Unverified, match="no accountant"):
        accounting.claimant(mixed)


def test_a_selection_is_only_as_capable_as_what_it_selects_from():
    inner = ONE_OF_EACH["truncated_poisson_gaussian"]
    with pytest.raises(Unverified, match="repeat_and_select by none"):
        can([RepeatAndSelect((inner,), 5.0, 0.0)], "add-or-remove-one")


def test_where_one_accountant_alone_can_the_second_opinion_is_unmeasured():
    for kind, event in ONE_OF_EACH.items():
        records, able = [event.record()], CAPABLE[kind]["add-or-remove-one"]
        second = accounting.second_opinion(records, 1e-5)
        assert accounting.claimant(records) == able[0]
        if len(able) == 1:
            assert second is None
            assert accounting.how(records)["second_opinion"] is None
        else:
            assert second == {"accountant": "rdp", "epsilon": epsilon(event, accountant="rdp")}
        assert accounting.how(records)["accountants"][kind]["add-or-remove-one"] == list(able)
        json.dumps(accounting.how(records), allow_nan=False)


@pytest.mark.parametrize("adjacency", ["add-remove", "", None, "replace_one"])
def test_an_unknown_adjacency_is_refused(adjacency):
    with pytest.raises(Unverified, match="adjacency"):
        epsilon(BASE, adjacency=adjacency)


# -- Gaussians --------------------------------------------------------------------------------------------------------


def mp_delta(mu: float, eps: float) -> mpmath.mpf:
    with mpmath.workdps(60):
        mu, eps = mpmath.mpf(mu), mpmath.mpf(eps)
        return mpmath.ncdf(mu / 2 - eps / mu) - mpmath.exp(eps) * mpmath.ncdf(-mu / 2 - eps / mu)


@pytest.mark.parametrize(("mu", "delta"), [(1.0, 1e-5), (0.01, 1e-6), (0.2, 1e-12), (4.0, 1e-5), (25.0, 1e-9)])
def test_the_closed_form_of_gaussians_is_within_1e_9_and_never_below(mu, delta):
    found = gaussian_epsilon(mu, delta)
    assert mp_delta(mu, found) <= delta < mp_delta(mu, found - 1e-9)


@settings(deadline=None)
@given(mu=st.floats(1e-3, 25), delta=st.floats(1e-12, 0.5))
def test_no_gaussian_is_cheaper_than_its_closed_form(mu, delta):
    found = gaussian_epsilon(mu, delta)
    assert mp_delta(mu, found) <= delta * (1 + 1e-15)
    assert found == 0 or gaussian_delta(mu, found - 1e-9) > delta * (1 - 1e-8)


def test_gaussians_alone_have_their_closed_form_and_with_others_the_grid():
    assert epsilon(Event(1.0, 1.0, 1)) == pytest.approx(4.37718, abs=5e-6)
    assert epsilon(Event(1.0, 2.0, 3), Event(1.0, 4.0, 4)) == pytest.approx(gaussian_epsilon(1.0, 1e-5), abs=1e-6)
    mixed = epsilon(Event(1.0, 2.0, 3), Event(1.0, 4.0, 4), Event(1e-9, 1e3, 1))
    assert epsilon(Event(1.0, 1.0, 1)) <= mixed <= 4.3775


def test_to_replace_one_person_moves_a_sum_twice_as_far():
    assert epsilon(Event(1.0, 1.0, 1), adjacency="replace-one") == pytest.approx(10.0, abs=0.05)
    for kind in ("gaussian", "laplace"):
        event = ONE_OF_EACH[kind]
        half = type(event)(
            **{f: getattr(event, f) for f in event.__slots__} | {"noise_multiplier": event.noise_multiplier / 2}
        )
        for name in ACCOUNTANTS:
            assert epsilon(event, accountant=name, adjacency="replace-one") == epsilon(half, accountant=name)


def hockey_stick(p, r, eps: float, span: float) -> float:
    x = np.linspace(-span, span, 2_000_001)
    return float(np.maximum(p(x) - math.exp(eps) * r(x), 0).sum() * (x[1] - x[0]))


def test_poisson_sampling_with_one_replaced_is_the_hockey_stick_of_its_pair():
    q, sigma, eps = 0.1, 1.2, 0.8

    def mixed(sign):
        return lambda x: (1 - q) * stats.norm.pdf(x, 0, sigma) + q * stats.norm.pdf(x, sign, sigma)

    delta = hockey_stick(mixed(1), mixed(-1), eps, 20)
    assert epsilon(Event(q, sigma, 1), delta=delta, adjacency="replace-one") == pytest.approx(eps, abs=1e-3)


# -- Laplace ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "eps"), [(1.0, 0.4), (5.0, 0.1), (0.5, 1.5)])
def test_one_laplace_release_is_its_closed_form(scale, eps):
    delta = 1 - math.exp((eps - 1 / scale) / 2)
    assert eps - 1e-6 <= epsilon(Laplace(scale, 1), delta=delta) <= eps + 1e-3


def test_a_laplace_release_is_pure_at_any_delta():
    for name in ACCOUNTANTS:
        assert epsilon(Laplace(4.0, 1), delta=1e-12, accountant=name) <= 0.25 + 2e-4 + (0.05 if name == "rdp" else 0)


@pytest.mark.parametrize("order", [1.5, 4.0, 20.0])
def test_the_renyi_divergence_of_laplace_is_its_integral(order):
    b = 2.5
    exact = integrate.quad(
        lambda x: math.exp(order * -abs(x - 1) / b + (1 - order) * -abs(x) / b) / (2 * b), -200, 200, points=[0, 1]
    )[0]
    assert accounting.rdp([Laplace(b, 7).record()], order) == pytest.approx(7 * math.log(exact) / (order - 1), rel=1e-6)


def test_two_laplace_releases_are_the_convolution_of_their_losses():
    """By brute force: the loss of the sum on a grid of outputs of both."""
    b, eps = 3.0, 0.3
    x = np.linspace(-60, 60, 6001)
    p, r = (stats.laplace.pdf(x, at, b) * (x[1] - x[0]) for at in (1, 0))
    delta = float(np.maximum(np.outer(p, p) - math.exp(eps) * np.outer(r, r), 0).sum())
    assert epsilon(Laplace(b, 2), delta=delta) == pytest.approx(eps, abs=2e-3)


# -- truncated samples ------------------------------------------------------------------------------------------------


def test_a_truncated_sample_is_the_mixture_that_its_paper_proves():
    """With chance t the sample was full: then one in it is as good as replaced (arXiv 2508.15089, section 4.3)."""
    units, q, most, sigma, eps = 40, 0.2, 9, 2.0, 0.5
    full = float(stats.binom.sf(most - 1, units - 1, q))
    share = float(stats.binom.sf(most, units, q)) * most / full / units

    def pair(rate, plus, minus, noise):
        return (
            lambda x: (1 - rate) * stats.norm.pdf(x, 0, noise) + rate * stats.norm.pdf(x, plus, noise),
            lambda x: (1 - rate) * stats.norm.pdf(x, 0, noise) + rate * stats.norm.pdf(x, minus, noise),
        )

    with_one = pair(q, 1, 0, sigma)[0]

    def without(x):
        return stats.norm.pdf(x, 0, sigma)

    replaced = hockey_stick(*pair(share, 1, -1, sigma / 2), eps, 40)
    delta = max(
        full * replaced + (1 - full) * hockey_stick(a, b, eps, 40)
        for a, b in ((with_one, without), (without, with_one))
    )
    assert epsilon(TruncatedPoisson(q, sigma, units, most, 1), delta=delta) == pytest.approx(eps, abs=1e-3)


def test_a_sample_that_is_never_cut_costs_what_a_poisson_sample_costs():
    assert epsilon(TruncatedPoisson(0.05, 2.0, 100, 100, 30)) == epsilon(Event(0.05, 2.0, 30))
    assert epsilon(TruncatedPoisson(0.05, 2.0, 1000, 60, 30)) > epsilon(Event(0.05, 2.0, 30))


# -- mixtures of Gaussians --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("q", "rows", "sigma", "eps"), [(0.1, 3, 2.0, 0.3), (0.02, 5, 1.5, 0.2), (0.6, 2, 3.0, 0.5)])
def test_one_step_of_rows_is_the_hockey_stick_of_its_pair(q, rows, sigma, eps):
    weights = stats.binom.pmf(range(rows + 1), rows, q)

    def with_them(x):
        return sum(w * stats.norm.pdf(x, c, sigma) for c, w in enumerate(weights))

    def without(x):
        return stats.norm.pdf(x, 0, sigma)

    delta = max(hockey_stick(with_them, without, eps, 40), hockey_stick(without, with_them, eps, 40))
    assert epsilon(MixtureOfGaussians.of_rows(q, rows, sigma, 1), delta=delta) == pytest.approx(eps, abs=1e-3)


def test_many_steps_of_rows_are_what_the_library_makes_of_them():
    event = MixtureOfGaussians.of_rows(0.05, 2, 4.0, 200)
    accountant = PLDAccountant(value_discretization_interval=1e-3)  # its own search is slow
    rest = 1 - math.fsum(p for _, p in event.parts)
    accountant.compose(
        dp_event.MixtureOfGaussiansDpEvent(4.0, [0.0, 1.0, 2.0], [rest, *(p for _, p in event.parts)]), 200
    )
    assert epsilon(event) == pytest.approx(accountant.get_epsilon(1e-5), abs=5e-3)


def test_a_person_with_one_row_costs_what_a_poisson_sample_costs():
    one = MixtureOfGaussians.of_rows(0.05, 1, 2.0, 30)
    for name in ACCOUNTANTS:
        assert epsilon(one, accountant=name) == pytest.approx(epsilon(Event(0.05, 2.0, 30), accountant=name), abs=1e-4)


def test_more_rows_cost_more_and_less_than_the_same_rows_always_together():
    found = [epsilon(MixtureOfGaussians.of_rows(0.02, rows, 4.0, 200)) for rows in (1, 2, 4, 8)]
    assert found == sorted(found)
    assert found[-1] < epsilon(Event(1 - (1 - 0.02) ** 8, 4.0 / 8, 200))


def test_rows_that_are_always_sampled_are_one_gaussian():
    assert epsilon(MixtureOfGaussians.of_rows(1.0, 3, 6.0, 5)) == pytest.approx(epsilon(Event(1.0, 2.0, 5)), abs=2e-4)


@pytest.mark.parametrize("order", [2, 8, 32, 200])
@pytest.mark.parametrize(("q", "rows", "sigma"), [(0.05, 4, 3.0), (0.3, 2, 0.9), (0.01, 8, 2.0)])
def test_the_renyi_divergence_of_removing_rows_is_a_finite_sum_at_whole_orders(q, rows, sigma, order):
    """The power of a sum of exponentials is one: its coefficients by repeated multiplication, in high precision."""
    parts = rows_parts(q, rows)
    with mpmath.workdps(60):
        rest = mpmath.mpf(1) - mpmath.fsum(mpmath.mpf(p) for _, p in parts)
        one = [rest, *(mpmath.mpf(p) * mpmath.exp(-(mpmath.mpf(c) ** 2) / 2 / sigma**2) for c, p in parts)]
        power = [mpmath.mpf(1)]
        for _ in range(order):
            power = [
                mpmath.fsum(power[i - j] * w for j, w in enumerate(one) if 0 <= i - j < len(power))
                for i in range(len(power) + rows)
            ]
        total = mpmath.fsum(w * mpmath.exp(mpmath.mpf(s) ** 2 / 2 / sigma**2) for s, w in enumerate(power))
        exact = float(mpmath.log(total) / (order - 1))
    assert renyi(parts, sigma, order) == pytest.approx(exact, rel=1e-10, abs=1e-13)  # removing is the dearer direction


@pytest.mark.parametrize("order", [1.5, 3.7])
@pytest.mark.parametrize(("q", "rows", "sigma"), [(0.05, 4, 3.0), (0.3, 2, 0.9)])
def test_the_renyi_divergence_of_rows_is_its_integral_in_high_precision(q, rows, sigma, order):
    parts = rows_parts(q, rows)
    rest = 1 - sum(Fraction(p) for _, p in parts)
    with mpmath.workdps(25):
        weights = [mpmath.mpf(rest.numerator) / rest.denominator, *(mpmath.mpf(p) for _, p in parts)]

        def density(x):
            return mpmath.exp(-(x**2) / (2 * sigma**2)) / (sigma * mpmath.sqrt(2 * mpmath.pi))

        def ratio(x):
            return mpmath.fsum(
                w * mpmath.exp((c * x - mpmath.mpf(c) ** 2 / 2) / sigma**2) for c, w in enumerate(weights)
            )

        points = list(np.linspace(-20 * sigma, 20 * sigma + order * rows, 25))
        adding, removing = (
            mpmath.quad(lambda x, power=power: density(x) * ratio(x) ** power, points) for power in (1 - order, order)
        )
        exact = mpmath.log(max(adding, removing)) / (order - 1)
    assert renyi(parts, sigma, order) == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


@given(q=st.floats(1e-6, 1), rows=st.integers(1, 64))
def test_the_parts_of_rows_are_the_binomial_rounded_up_and_readable(q, rows):
    parts = rows_parts(q, rows)
    total = sum(Fraction(p) for _, p in parts)
    assert 0 < total <= 1
    exact = Fraction(q)
    for j in (1, rows):  # mass at j or above never falls
        above = sum(math.comb(rows, i) * exact**i * (1 - exact) ** (rows - i) for i in range(j, rows + 1))
        assert sum(Fraction(p) for c, p in parts if c >= j) >= above - Fraction(1, 10**15) * (total == 1)
    event = MixtureOfGaussians(2.0, parts, 3)
    assert parse_events([event.record()]) == (event,)


# -- repeat and select ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "shape", "published"),
    [
        *((3.0, 0.0, 3.71), (10.0, 0.0, 4.29), (30.0, 0.0, 4.71), (100.0, 0.0, 5.11)),
        *((3.0, 1.0, 4.12), (10.0, 1.0, 5.05), (30.0, 1.0, 5.73)),
        *((3.0, math.inf, 3.60), (10.0, math.inf, 5.75), (100.0, math.inf, 24.1)),
    ],
)
def test_the_best_of_k_of_the_reference_training(mean, shape, published):
    assert epsilon(RepeatAndSelect((BASE,), mean, shape)) == pytest.approx(
        published, abs=0.06 if published > 20 else 6e-3
    )


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("mean", [1.5, 20.0])
def test_a_selection_is_what_the_library_makes_of_it_and_never_below(mean, shape):
    accountant = RdpAccountant(orders=list(accounting.ORDERS))
    accountant.compose(
        dp_event.RepeatAndSelectDpEvent(
            dp_event.ComposedDpEvent([dp_event.GaussianDpEvent(3.0), dp_event.LaplaceDpEvent(9.0)]), mean, shape
        ),
        3,
    )
    ours = epsilon(RepeatAndSelect((Event(1.0, 3.0, 1), Laplace(9.0, 1)), mean, shape, 3))
    library = accountant.get_epsilon(1e-5)
    assert library - 1e-6 <= ours <= library + 1e-4


@pytest.mark.parametrize("shape", [0.0, 1.0, 2.5, math.inf])
def test_a_selection_bounds_the_exact_divergence_of_randomised_response(shape):
    """The best of K bits is known by hand: 0 only if all of them are."""
    mean, truth = 6.0, 0.6
    orders = list(accounting.ORDERS)
    p = np.array([truth, 1 - truth])

    def divergence(p, r, order):
        return float(logsumexp(order * np.log(p) + (1 - order) * np.log(r))) / (order - 1)

    curve = [max(divergence(p, p[::-1], a), divergence(p[::-1], p, a)) for a in orders]
    bound = selection_curve(curve, orders, mean, shape)

    def none_of(zero):  # the chance that all K bits are 0: the distribution's generating function
        if shape == math.inf:
            return math.exp(mean * (zero - 1))
        gamma = stopping_rate(mean, shape)
        if shape == 0:
            return math.log1p((gamma - 1) * zero) / math.log(gamma)
        return ((1 - (1 - gamma) * zero) ** -shape - 1) / (gamma**-shape - 1)

    one, other = (np.array([none_of(zero), 1 - none_of(zero)]) for zero in (truth, 1 - truth))
    for order, found in zip(orders, bound, strict=True):
        assert found >= max(divergence(one, other, order), divergence(other, one, order)) - 1e-12


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0, 4.0])
def test_the_stopping_rate_has_the_mean_and_is_rounded_down(shape):
    gamma = Fraction(stopping_rate(25.0, shape))
    k = np.arange(1, 60_000)
    log_weights = -np.log(k) + k * math.log1p(-float(gamma))
    if shape:
        log_weights = gammaln(k + shape) - gammaln(k + 1) + k * math.log1p(-float(gamma))
    weights = np.exp(log_weights - log_weights.max())
    assert float((k * weights).sum() / weights.sum()) == pytest.approx(25.0, rel=1e-6)


# -- compositions -----------------------------------------------------------------------------------------------------


def test_ten_runs_of_the_reference_training_compose_to_8_92_and_not_23_8():
    assert epsilon(BASE) == pytest.approx(2.3817, abs=1e-3)
    assert epsilon(*[BASE] * 10) == pytest.approx(8.92, abs=5e-3)


def test_mixed_kinds_cost_more_than_any_and_less_than_their_sum():
    mixed = [ONE_OF_EACH[kind] for kind in ("poisson_gaussian", "laplace", "gaussian", "mixture_gaussian")]
    for name in ACCOUNTANTS:
        parts = [epsilon(event, accountant=name) for event in mixed]
        assert max(parts) < epsilon(*mixed, accountant=name) < sum(parts)
        assert epsilon(*mixed, accountant=name) == epsilon(*reversed(mixed), accountant=name)
    assert epsilon(*mixed) <= epsilon(*mixed, accountant="rdp")


def test_a_selection_counts_beside_other_mechanisms():
    selection = ONE_OF_EACH["repeat_and_select"]
    assert epsilon(selection, Laplace(8.0, 5)) > epsilon(selection)
    order = 8.0
    assert accounting.rdp([selection.record(), Laplace(8.0, 5).record()], order) == pytest.approx(
        accounting.rdp([selection.record()], order) + accounting.rdp([Laplace(8.0, 5).record()], order), rel=1e-9
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "banded_gaussian"])
def test_equal_events_merge_whatever_their_kind(kind):
    event = ONE_OF_EACH[kind]
    (merged,) = as_composed([event, event])
    assert merged.count == 2 * event.count
    assert epsilon(event, event) == epsilon(merged)


def test_no_privacy_is_refused_before_the_grid_is_made():
    hopeless = [
        Laplace(0.001, 1),
        TruncatedPoisson(0.5, 0.01, 100, 60, 1),
        MixtureOfGaussians.of_rows(0.5, 4, 0.02, 10),
        RepeatAndSelect((Event(1.0, 0.01, 1),), 5.0, 0.0),
    ]
    for event in hopeless:
        with pytest.raises(Unverified, match="no privacy"):
            epsilon(event)
    with pytest.raises(Unverified, match="no privacy"):
        epsilon(Event(0.5, 0.01, 10), adjacency="replace-one")


def test_noise_is_calibrated_for_any_events():
    def events_of(noise):
        return [Laplace(20.0, 4).record(), MixtureOfGaussians.of_rows(0.02, 3, noise, 100).record()]

    noise = accounting.calibrate_noise(events_of, 1.0, 1e-5)
    assert accounting.epsilon(events_of(noise), 1e-5) <= 1.0 < accounting.epsilon(events_of(noise - 3e-4), 1e-5)


@pytest.mark.slow
def test_prv_an_accountant_of_another_house_says_the_same():
    from opacus.accountants import PRVAccountant

    for rate, noise, steps, delta in ((256 / 60000, 1.3, 3515, 1e-5), (0.05, 1.5, 1000, 1e-6)):
        prv = PRVAccountant()
        prv.history = [(noise, rate, steps)]
        found = prv.get_epsilon(delta=delta)
        assert found - 0.011 <= epsilon(Event(rate, noise, steps), delta=delta) <= found
