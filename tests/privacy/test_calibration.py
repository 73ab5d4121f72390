"""The search for the least noise, on functions whose answer is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadPlan
from pellucid.privacy.calibration import gaussian_delta, gaussian_limit_noise, least_noise

powers = st.floats(0.3, 8)


@given(target=st.floats(1e-3, 400), scale=st.floats(1e-2, 1e3), power=powers, start=st.floats(1e-3, 1e6))
def test_finds_the_least_noise_to_within_the_tolerance(target, scale, power, start):
    calls = []

    def epsilon_of(noise: float) -> float:
        calls.append(noise)
        return scale * noise**-power

    exact = (scale / target) ** (1 / power)
    if not 2e-3 < exact < 5e5:
        return
    found = least_noise(epsilon_of, target, start)
    assert epsilon_of(found) <= target
    assert found <= exact + max(2.5e-4, 2e-5 * exact)
    assert found == round(found, 4)
    assert len(calls) < 80


@given(power=powers, target=st.floats(0.5, 10))
def test_a_good_guess_takes_few_evaluations(power, target):
    calls = []

    def epsilon_of(noise: float) -> float:
        calls.append(noise)
        return 3.0 * noise**-power

    exact = (3.0 / target) ** (1 / power)
    least_noise(epsilon_of, target, exact * 1.01)
    assert len(calls) <= 8


def test_cliffs_to_inf_and_to_zero_are_survived():
    found = least_noise(lambda noise: math.inf if noise < 0.5 else 0.0, 1.0, 30.0)
    assert found == 0.5
    assert least_noise(lambda noise: 0.0, 1.0, 30.0) == 1e-3


def test_a_target_out_of_reach_is_refused():
    with pytest.raises(BadPlan, match="no noise multiplier"):
        least_noise(lambda noise: 2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("mu", "epsilon", "delta"), [(1.0, 4.37718, 1e-5), (1.0, 1.0, 0.12693674), (0.5, 1.0, 0.00683)]
)
def test_gaussian_delta_of_known_answers(mu, epsilon, delta):
    # Balle & Wang 2018, theorem 8; the second is Dong et al. 2022 (1-GDP at epsilon 1)
    assert gaussian_delta(mu, epsilon) == pytest.approx(delta, rel=2e-3)


def test_gaussian_delta_of_no_signal_is_zero():
    assert gaussian_delta(0.0, 1.0) == 0.0


def test_the_guess_is_exact_for_gaussians_of_large_noise():
    noise = gaussian_limit_noise(1.0, 100, 1.0, 1e-5)
    assert gaussian_delta(10 * math.sqrt(math.expm1(noise**-2)), 1.0) == pytest.approx(1e-5, rel=1e-6)
