"""The split of one noise multiplier between a sum and a count: as much as one Gaussian costs, and no less noise."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadPlan
from pellucid.privacy.adaptive import adaptive_split


def test_a_centred_count_has_sensitivity_one_half_and_one_that_is_not_has_one():
    """By enumeration: every group of up to four units, each within the clip or not, with and without one of them."""

    def most(within: float, beyond: float) -> float:
        found = 0.0
        for size in range(1, 5):
            for bits in itertools.product((within, beyond), repeat=size):
                found = max(found, *(abs(sum(bits) - (sum(bits) - bit)) for bit in bits))
        return found

    assert most(0.5, -0.5) == 0.5
    assert most(1.0, 0.0) == 1.0


@given(batch=st.integers(2, 10**9), share=st.floats(1e-6, 0.999999))
def test_sum_and_count_together_are_one_gaussian_of_the_noise_multiplier(batch, share):
    noise = share * batch / 10
    gradient, count = adaptive_split(noise, batch)
    # squared norm of what a unit adds to (sum / clip, count of centred bits), each over its noise
    joint = 1 / Fraction(gradient) ** 2 + Fraction(1, 2) ** 2 / Fraction(count) ** 2
    assert joint <= 1 / Fraction(noise) ** 2  # never more than is accounted for, in exact arithmetic
    barely = Fraction(gradient) * (1 - Fraction(1, 10**12))
    assert 1 / barely**2 + Fraction(1, 2) ** 2 / Fraction(count) ** 2 > 1 / Fraction(noise) ** 2
    assert gradient > noise
    assert count == batch / 20


def test_the_split_is_the_formula_of_the_paper():
    gradient, count = adaptive_split(1.1, 100)
    assert count == 5
    assert gradient == pytest.approx((1.1**-2 - (2 * 5) ** -2) ** -0.5, rel=1e-14)


@pytest.mark.parametrize(("noise", "batch"), [(0.1, 1), (0.3, 3), (1.0, 10), (1.0, 3), (1e6, 512), (12.5, 125)])
def test_a_count_that_costs_all_is_refused_and_the_advised_batch_is_not(noise, batch):
    with pytest.raises(BadPlan, match="alone costs all") as caught:
        adaptive_split(noise, batch)
    assert caught.value.where == "batch"
    advised = int(next(word for word in caught.value.fix.split() if word.isdigit()))
    gradient, _ = adaptive_split(noise, advised)
    assert gradient <= noise * math.sqrt(4 / 3) * (1 + 1e-12)  # the 15 % it speaks of
