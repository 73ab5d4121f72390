"""Poisson samples: every row on its own, with the rate that the accountant was told."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pellucid.errors import BadPlan
from pellucid.train import sampling
from pellucid.train.binomial import BITS, count_below, thresholds
from pellucid.train.keystream import Keystream
from pellucid.train.sampling import DENSE, PoissonSampler


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
    assert sampler._dense().tolist() == [i for i, word in enumerate(words) if word < threshold]


@pytest.mark.parametrize("rate", [1024 / 22400, 0.3, 1e-7, 1 / 3])
def test_a_dense_probability_is_never_above_the_rate_and_less_than_two_to_the_minus_64_below(rate: float) -> None:
    sampler = PoissonSampler(1, rate, 1)
    probability = Fraction(sampler._top * 2**48 + sampler._rest, 2**64)
    assert 0 <= Fraction(rate) - probability < Fraction(1, 2**64)


def size_law(rows: int, rate: float) -> dict[int, Fraction]:
    """The exact probability of each size that the thresholds give."""
    first, table = thresholds(rows, rate)
    steps = [Fraction(high - low, 2**BITS) for low, high in zip([0, *table[:-1]], table, strict=True)]
    return dict(enumerate(steps, first))


@given(rows=st.integers(0, 60), rate=st.floats(1e-60, DENSE))
def test_sizes_have_the_binomial_law_to_the_stated_bound_and_are_stochastically_at_most_that(
    rows: int, rate: float
) -> None:
    q, law = Fraction(rate), size_law(rows, rate)
    below = true = Fraction(0)
    assert sum(law.values()) == 1
    for k in range(rows + 1):
        below += law.get(k, Fraction(0))
        true += math.comb(rows, k) * q**k * (1 - q) ** (rows - k)
        assert 0 <= below - true < Fraction(1, 2**254)


@pytest.mark.parametrize("rate", [1e-60, 1e-9, 1e-3, 0.05, math.nextafter(DENSE, 0), 1024 / 22400])
@pytest.mark.parametrize("rows", [1, 7, 20_000])
def test_inclusion_is_never_above_the_rate_and_within_a_millionth_of_a_millionth(rows: int, rate: float) -> None:
    """Given its size every subset is as likely, so a row's probability is the mean size over the rows."""
    inclusion = sum(size * mass for size, mass in size_law(rows, rate).items()) / rows
    assert 0 <= 1 - inclusion / Fraction(rate) < Fraction(1, 10**12)


@pytest.mark.parametrize(("rows", "rate"), [(1_000_000, 2048 / 1e6), (60_000, 0.15), (10**15, 1e-12), (10**6, 1e-300)])
def test_counts_of_many_rows_agree_with_scipy(rows: int, rate: float) -> None:
    first, table = thresholds(rows, rate)
    counts = np.arange(first, first + len(table))
    true = stats.binom.cdf(counts, rows, rate)
    assert np.abs(np.array([t / 2**BITS for t in table]) - true).max() < 1e-9
    assert table == sorted(table)
    assert table[-1] == 2**BITS


def test_a_count_is_read_where_the_uniform_number_falls() -> None:
    first, table = thresholds(5, 0.1)
    assert [count_below(first, table, u) for u in (0, table[0] - 1, table[0], table[1], 2**BITS - 1)] == [0, 0, 1, 2, 5]


def test_every_subset_of_a_size_is_as_likely_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = Keystream()
    for crowded in (0, 100):  # by sorting, by marks
        monkeypatch.setattr(sampling, "CROWDED", crowded)
        counts: dict[tuple[int, ...], int] = {}
        for _ in range(6000):
            drawn = tuple(sampling._subset(bits, 6, 3).tolist())
            counts[drawn] = counts.get(drawn, 0) + 1
        assert len(counts) == math.comb(6, 3)
        assert all(list(drawn) == sorted(set(drawn)) for drawn in counts)
        assert stats.chisquare(list(counts.values())).pvalue > 1e-6


@given(rows=st.integers(1, 600), data=st.data(), crowded=st.sampled_from([0, 16, 10**9]))
def test_a_subset_has_its_size_and_distinct_rising_members(rows: int, data: st.DataObject, crowded: int) -> None:
    size = data.draw(st.integers(0, rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "CROWDED", crowded)
        drawn = sampling._subset(Keystream(), rows, size)
    assert len(drawn) == size
    assert drawn.dtype == np.int64
    assert (np.diff(drawn) > 0).all()
    assert size == 0 or (drawn[0] >= 0 and drawn[-1] < rows)


def test_rows_beyond_32_bits_are_reached() -> None:
    drawn = PoissonSampler(10**12, 1e-9, 1).draw()
    assert 700 < len(drawn) < 1300
    assert drawn.max() > 2**33


@pytest.mark.parametrize("way", ["_sparse", "_dense"])
@pytest.mark.parametrize("rate", [0.05, 0.01])
def test_sizes_and_inclusions_have_the_binomial_distribution(way: str, rate: float) -> None:
    rows, steps = 400, 8000
    sampler = PoissonSampler(rows, rate, steps)
    counts = np.zeros(rows)
    sizes = np.empty(steps)
    pairs = np.zeros(rows - 1)
    for step in range(steps):
        index = getattr(sampler, way)().numpy()
        within = np.zeros(rows)
        within[index] = 1
        counts += within
        pairs += within[1:] * within[:-1]
        sizes[step] = len(index)
    # every row by itself: chi-square over rows
    chi = ((counts - steps * rate) ** 2 / (steps * rate * (1 - rate))).sum()
    assert 1e-6 < stats.chi2.sf(chi, rows) < 1 - 1e-6
    # sizes are binomial: mean and variance within five standard errors
    mean, variance = rows * rate, rows * rate * (1 - rate)
    assert abs(sizes.mean() - mean) < 5 * math.sqrt(variance / steps)
    assert abs(sizes.var() - variance) < 5 * variance * math.sqrt(2.2 / steps)
    # neighbours are independent
    assert stats.poisson.sf(pairs.sum() - 1, rate**2 * steps * (rows - 1) * (1 + 4 * rate)) > 1e-6
    assert stats.poisson.cdf(pairs.sum(), rate**2 * steps * (rows - 1) / (1 + 4 * rate)) > 1e-6


def test_sparse_and_dense_samples_have_the_same_distribution() -> None:
    """Sizes, first members and gaps of both ways, compared as samples: the dense way is the naive twin."""
    sampler = PoissonSampler(3000, 0.02, 1)
    found: dict[str, list[np.ndarray]] = {
        way: [getattr(sampler, way)().numpy() for _ in range(2500)] for way in ("_sparse", "_dense")
    }
    measures = (
        lambda drawn: [len(d) for d in drawn],
        lambda drawn: [d[0] for d in drawn if len(d)],
        lambda drawn: np.concatenate([np.diff(d) for d in drawn]),
    )
    for measure in measures:
        one, other = (np.asarray(measure(found[way])) for way in ("_sparse", "_dense"))
        assert stats.ks_2samp(one, other, method="asymp").pvalue > 1e-6


@pytest.mark.parametrize("rate", [1e-9, 0.01, 0.5, 1 - 2**-53, 1.0])
def test_no_rows_give_an_empty_sample(rate: float) -> None:
    assert PoissonSampler(0, rate, 1).draw().shape == (0,)


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
