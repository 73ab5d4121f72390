"""Poisson samples: every row on its own, with the rate that the accountant was told."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from pellucid.errors import BadPlan
from pellucid.train.sampling import PoissonSampler


class Words:
    """A keystream whose words are known: ``tops`` for everyone, then ``rest`` for the undecided."""

    def __init__(self, tops: list[int], rest: list[int]) -> None:
        self.tops, self.rest = tops, rest

    def halfwords(self, count: int) -> torch.Tensor:
        assert count == len(self.tops)
        return torch.from_numpy(np.array(self.tops, dtype=np.uint16).view(np.int16))

    def words(self, count: int) -> torch.Tensor:
        assert count == len(self.rest)
        return torch.from_numpy(np.array([r << 16 for r in self.rest], dtype=np.uint64).view(np.int64))


@pytest.mark.parametrize("rate", [1024 / 22400, 0.5, 1 / 3, 0.999999, 1e-7, 1.0, 2.0**-30])
def test_decides_as_a_comparison_of_64_bit_words_would(rate: float) -> None:
    threshold = math.floor(Fraction(rate) * 2**64)
    edge = [w for w in (threshold - 1, threshold, threshold + 1, 0, 2**64 - 1, threshold // 2) if 0 <= w < 2**64]
    words = edge + [int(w) for w in np.random.default_rng(1).integers(0, 2**64, 200, dtype=np.uint64)]
    sampler = PoissonSampler(len(words), rate, 1)
    top = threshold >> 48
    sampler._bits = Words([w >> 48 for w in words], [w % 2**48 for w in words if w >> 48 == top])  # type: ignore[assignment]
    assert sampler.draw().tolist() == [i for i, word in enumerate(words) if word < threshold]


@pytest.mark.parametrize("rate", [1024 / 22400, 0.3, 1e-7, 1 / 3])
def test_probability_is_never_above_the_rate_and_less_than_two_to_the_minus_64_below(rate: float) -> None:
    sampler = PoissonSampler(1, rate, 1)
    probability = Fraction(sampler._top * 2**48 + sampler._rest, 2**64)
    assert 0 <= Fraction(rate) - probability < Fraction(1, 2**64)


def test_sizes_and_inclusions_have_the_binomial_distribution() -> None:
    rows, rate, steps = 400, 0.05, 4000
    counts = np.zeros(rows)
    sizes = []
    together = 0
    for index in PoissonSampler(rows, rate, steps):
        counts[index.numpy()] += 1
        sizes.append(len(index))
        together += int(0 in index) and int(1 in index)
    # every row by itself: chi-square over rows
    chi = ((counts - steps * rate) ** 2 / (steps * rate * (1 - rate))).sum()
    assert 1e-6 < stats.chi2.sf(chi, rows) < 1 - 1e-6
    # sizes are binomial: mean and variance within five standard errors
    mean, variance = rows * rate, rows * rate * (1 - rate)
    assert abs(np.mean(sizes) - mean) < 5 * math.sqrt(variance / steps)
    assert abs(np.var(sizes) - variance) < 5 * variance * math.sqrt(2 / steps)
    # two rows are independent
    assert stats.binomtest(together, steps, rate**2).pvalue > 1e-6


def test_yields_exactly_the_steps_and_an_empty_sample_is_legal() -> None:
    samples = list(PoissonSampler(3, 0.01, 50))
    assert len(samples) == len(PoissonSampler(3, 0.01, 50)) == 50
    assert any(len(sample) == 0 for sample in samples)
    assert all(sample.dtype == torch.int64 for sample in samples)


def test_rate_one_takes_everybody_and_indices_rise() -> None:
    assert PoissonSampler(5, 1.0, 1).draw().tolist() == [0, 1, 2, 3, 4]
    drawn = PoissonSampler(1000, 0.5, 1).draw()
    assert torch.equal(drawn, drawn.sort().values)


def test_the_private_number_of_rows_is_not_shown() -> None:
    assert "8191" not in repr(PoissonSampler(8191, 0.5, 3))


@pytest.mark.parametrize(("rate", "steps"), [(0.0, 1), (-0.1, 1), (1.1, 1), (math.nan, 1), (math.inf, 1), (0.5, 0)])
def test_impossible_parameters_are_refused(rate: float, steps: int) -> None:
    with pytest.raises(BadPlan):
        PoissonSampler(10, rate, steps)
