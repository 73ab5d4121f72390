"""The noise is normal, in the bulk and in the tail, on a grid that hides the sum, and nobody can repeat it."""

from __future__ import annotations

import copy
import math
import os
import pickle
import re
import threading
import warnings
from fractions import Fraction
from functools import partial
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pellucid.errors import BadPlan, Misuse
from pellucid.train import keystream, noise
from pellucid.train.gaussian import TAIL, add_on_grid, box_muller, grid, widening
from pellucid.train.keystream import AHEAD, SLACK, Keystream
from pellucid.train.noise import SecureNoise, UnsafeSeededNoise, UnsafeZeroNoise

N = 2_000_000
STD = 1.7  # of the noise that was added, no power of two
# one false alarm in a million runs for each comparison
SURE = 1e-6
WORD = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(scope="module", params=["normals", "add float64", "add float32"])
def normals(request: pytest.FixtureRequest) -> np.ndarray:
    """Draws that ought to be standard normal, by every way out of the class."""
    if request.param == "normals":
        return SecureNoise().normals(N).numpy()
    sums = torch.zeros(N, dtype=getattr(torch, request.param.split()[1]))
    SecureNoise().add(sums, STD)
    return sums.double().numpy() / STD


def test_moments_are_those_of_a_standard_normal(normals: np.ndarray) -> None:
    # five standard errors each; the dither widens the variance by 3.3e-4 at most
    assert abs(normals.mean()) < 5 / math.sqrt(N)
    assert -5 * math.sqrt(2 / N) < normals.var() - 1 < 5 * math.sqrt(2 / N) + 2**-8 / 12
    assert abs((normals**3).mean()) < 5 * math.sqrt(15 / N)
    assert abs((normals**4).mean() - 3) < 5 * math.sqrt(96 / N) + 6 * 2**-8 / 12


def test_distribution_is_normal_as_a_whole(normals: np.ndarray) -> None:
    assert stats.kstest(normals, "norm", method="asymp").pvalue > SURE
    edges = stats.norm.ppf(np.linspace(0, 1, 1001)[1:-1])
    counts = np.bincount(np.searchsorted(edges, normals), minlength=1000)
    assert stats.chisquare(counts).pvalue > SURE


@pytest.mark.parametrize("level", [2.0, 3.0, 4.0, 5.0])
def test_tails_have_the_mass_of_a_normal(normals: np.ndarray, level: float) -> None:
    for count in ((normals > level).sum(), (normals < -level).sum()):
        # the dither moves the tail at most as its variance does
        low, high = stats.norm.sf(level), stats.norm.sf(level / math.sqrt(1 + 2**-8 / 12))
        assert stats.binomtest(int(count), N, low, alternative="less").pvalue > SURE
        assert stats.binomtest(int(count), N, high, alternative="greater").pvalue > SURE


@pytest.mark.parametrize("bits", [17, 22, 30, 50, 62])
def test_the_far_tail_is_that_of_a_normal(bits: int) -> None:
    """Given that the radius word is below 2**(63-bits), the radius is above all of r0 = sqrt(2 bits ln 2), and a normal
    beyond r0 can come from nowhere else: so its mass is 2**-bits times what is found. Reaches 9 sigma."""
    drawn, n = Keystream(), 100_000
    words = drawn.draw(n, np.int64) & ((1 << (63 - bits)) - 1)
    out, scratch = np.empty(2 * n), np.empty(n)
    box_muller(words, drawn.draw(n, np.int64), lambda count: drawn.draw(count, np.uint64), out, scratch)
    start = math.sqrt(2 * bits * math.log(2))
    squares = (out.reshape(2, n) ** 2).sum(0)
    assert stats.kstest(squares / 2 - bits * math.log(2), "expon").pvalue > SURE
    for level in (start, start + 0.2):
        mass = 2 * stats.norm.sf(level) * 2.0**bits
        for half in out.reshape(2, n):
            assert stats.binomtest(int((np.abs(half) > level).sum()), n, mass).pvalue > SURE


def test_normals_are_independent_across_lags_halves_and_blocks(normals: np.ndarray) -> None:
    # sine and cosine of one pair stand half a block apart
    for lag in (1, 2, noise.BLOCK // 2, noise.BLOCK):
        correlation = float((normals[:-lag] * normals[lag:]).mean())
        squares = float(((normals[:-lag] ** 2 - 1) * (normals[lag:] ** 2 - 1)).mean())
        assert abs(correlation) < 5 / math.sqrt(N)
        assert abs(squares) < 5 * 2 / math.sqrt(N)


@pytest.mark.parametrize("count", [0, 1, 2, 3, noise.BLOCK - 1, noise.BLOCK + 1])
def test_any_count(count: int) -> None:
    source = SecureNoise()
    source.normals(5)  # from the middle of a block
    out = source.normals(count)
    assert out.shape == (count,)
    assert out.dtype == torch.float64
    assert out.isfinite().all()
    sums = torch.zeros(count)
    source.add(sums, 1.0)
    assert (sums != 0).all()


# --- Box and Muller's transform, against sixty decimal digits ---


def exact_pair(radius: int, angle: int, further: int) -> tuple[mpmath.mpf, mpmath.mpf, mpmath.mpf]:
    with mpmath.workdps(60):
        word = mpmath.mpf(abs(radius))
        if word < TAIL:
            word += (mpmath.mpf(further) + 0.5) / mpmath.mpf(2) ** 64
        r = mpmath.sqrt(-2 * mpmath.log(word / mpmath.mpf(2) ** 63))
        theta = 2 * mpmath.pi * mpmath.mpf(angle) / mpmath.mpf(2) ** 64
        return r, r * mpmath.sin(theta), r * mpmath.cos(theta)


def hold_against_exact(radius: np.ndarray, angle: np.ndarray, further: int) -> float:
    """The largest error in units of 2**-53 (r + 1/8r)."""
    n = len(radius)
    out, scratch = np.empty(2 * n), np.empty(n)
    box_muller(radius, angle, lambda count: np.full(count, further, dtype=np.uint64), out, scratch)
    worst = 0.0
    for k in range(n):
        r, sine, cosine = exact_pair(int(radius[k]), int(angle[k]), further)
        error = max(abs(sine - mpmath.mpf(out[k])), abs(cosine - mpmath.mpf(out[n + k])))
        worst = max(worst, float(error / (r + 1 / (8 * r)) * 2**53) if r else float(error) * 2**53)
    return worst


def test_each_normal_is_within_the_stated_distance_of_the_exact_one() -> None:
    drawn = Keystream()
    assert hold_against_exact(drawn.draw(4000, np.int64), drawn.draw(4000, np.int64), 2**63) < 16


@given(radius=WORD, angle=WORD, further=st.integers(0, 2**64 - 1), zeros=st.integers(0, 62))
def test_words_of_any_size_give_the_exact_normal_to_the_stated_distance(
    radius: int, angle: int, further: int, zeros: int
) -> None:
    words = np.array([radius, radius >> zeros, 2**62 + (radius >> (zeros + 1))], dtype=np.int64)
    angles = np.array([angle, angle >> zeros, angle], dtype=np.int64)
    assert hold_against_exact(words, angles, further) < 16


def test_the_largest_and_smallest_words_give_finite_normals_of_at_most_13_4() -> None:
    edges = [0, 1, -1, 2**63 - 1, -(2**63), int(TAIL), int(TAIL) - 1]
    for further in (0, 2**64 - 1):
        radius, angle = (np.array(w, dtype=np.int64).ravel() for w in np.meshgrid(edges, edges))
        out, scratch = np.empty(2 * len(radius)), np.empty(len(radius))
        box_muller(radius, angle, lambda count, f=further: np.full(count, f, dtype=np.uint64), out, scratch)
        assert np.isfinite(out).all()
        assert np.abs(out).max() < 13.4
    assert np.abs(out).max() > 9


# --- the grid ---


def exact_add(total: float, std: float, normal: float, dither: int) -> Fraction:
    """The formula in rational numbers, but for the one product that is a float by its definition."""
    g = Fraction(grid(std))
    return g * (round(Fraction(total) / g) + round(Fraction(normal * (std / grid(std)))) + dither)


FINITE32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    total=FINITE32,
    std=st.floats(2.0**-100, 2.0**80),
    normal=st.floats(-13.4, 13.4),
    dither=st.integers(-(2**31), 2**31 - 1),
)
def test_a_sum_becomes_its_rounding_plus_whole_noise_times_the_grid(
    total: float, std: float, normal: float, dither: int
) -> None:
    """The naive twin in exact arithmetic: nothing but the last rounding to the type of the sums stands between."""
    sums = np.array([total])
    add_on_grid(sums, std, np.array([normal]), np.array([dither], dtype=np.int32), np.empty(1))
    assert sums[0] == float(exact_add(total, std, normal, dither))


@given(std=st.floats(2.0**-900, 2.0**900))
def test_the_grid_is_a_power_of_two_between_2_to_the_minus_37_and_minus_36_of_the_deviation(std: float) -> None:
    assert math.frexp(grid(std))[0] == 0.5
    assert 2**36 <= Fraction(std) / Fraction(grid(std)) < 2**37


@given(
    one=st.lists(FINITE32, min_size=1, max_size=20),
    data=st.data(),
    std=st.floats(1e-3, 1e3),
)
def test_rounding_adds_at_most_the_widening_to_a_difference(one: list[float], data: st.DataObject, std: float) -> None:
    step = st.floats(-3, 3).map(lambda x: x * grid(std))
    near = [x + data.draw(step) for x in one]
    g = Fraction(grid(std))
    before = math.sqrt(sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(one, near, strict=True)))
    after = math.sqrt(
        sum((g * (round(Fraction(a) / g) - round(Fraction(b) / g))) ** 2 for a, b in zip(one, near, strict=True))
    )
    assert after <= (before + widening(std, len(one))) * (1 + 2**-40)


def test_the_widening_is_below_a_millionth_of_the_clip_for_a_hundred_million_parameters() -> None:
    for multiplier in (0.5, 1.0, 4.0):
        assert widening(multiplier, 10**8) < 1e-6


@pytest.mark.parametrize("base", [0.0, 1.0, -math.pi, 1e-9, 12345.678])
def test_the_support_is_the_same_grid_whatever_the_sum(base: float) -> None:
    """What Mironov's attack reads, a difference of supports, is not there: all residues modulo the grid are zero, and
    whole multiples have no favourite last bits."""
    sums = torch.full((300_000,), base, dtype=torch.float64)
    SecureNoise().add(sums, STD)
    multiples = sums.numpy() / grid(STD)
    assert np.array_equal(multiples, np.rint(multiples))
    counts = np.bincount(multiples.astype(np.int64) & 255, minlength=256)
    assert stats.chisquare(counts).pvalue > SURE


def test_the_noise_is_centred_on_the_sum_and_independent_of_it() -> None:
    sums = torch.linspace(-50, 50, N // 4, dtype=torch.float64)
    noisy = sums.clone()
    SecureNoise().add(noisy, STD)
    drawn = (noisy - sums).numpy() / STD
    assert stats.kstest(drawn, "norm", method="asymp").pvalue > SURE
    assert abs((drawn * sums.numpy()).mean()) < 5 * float(sums.std()) / math.sqrt(len(sums))


def test_sums_that_are_not_finite_stay_so_and_huge_ones_stay_huge() -> None:
    sums = torch.tensor([math.nan, math.inf, -math.inf, 3e38])
    SecureNoise().add(sums, 1.0)
    assert sums.isnan().tolist() == [True, False, False, False]
    assert sums[1:].tolist() == [math.inf, -math.inf, pytest.approx(3e38)]


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf, 1e-300, 1e300])
def test_a_deviation_that_is_no_deviation_is_refused(std: float) -> None:
    for call in (partial(SecureNoise().add, torch.zeros(3)), grid, partial(widening, count=3)):
        with pytest.raises(BadPlan, match="standard deviation"):
            call(std)


@pytest.mark.parametrize(
    "sums",
    [torch.zeros(2, 2), torch.zeros(8)[::2], torch.zeros(3, dtype=torch.bfloat16), torch.zeros(3, device="meta")],
)
def test_a_tensor_that_is_not_flat_and_floating_is_refused(sums: torch.Tensor) -> None:
    with pytest.raises(Misuse, match="flat contiguous float32 or float64"):
        SecureNoise().add(sums, 1.0)


# --- nobody can repeat it ---


def test_no_normal_is_given_twice_whoever_asks_and_how(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against one long draw from the same key, in pieces and by two methods."""

    def source() -> SecureNoise:
        monkeypatch.setattr(keystream.os, "urandom", lambda size: bytes(size))
        return SecureNoise()

    whole = source().normals(3 * noise.BLOCK)
    pieces = source()
    first, skipped, third = pieces.normals(1000), torch.zeros(noise.BLOCK), pieces
    third.add(skipped, 1.0)
    rest = third.normals(100)
    assert torch.equal(torch.cat([first, rest]), torch.cat([whole[:1000], whole[1000 + noise.BLOCK :][:100]]))
    assert (skipped.double() - whole[1000 : 1000 + noise.BLOCK]).abs().max() < 2**-4


def test_what_was_handed_out_is_wiped() -> None:
    source = SecureNoise()
    source.add(torch.zeros(100), 1.0)
    assert not source._normals[:100].any()
    assert not source._dither[:100].any()
    assert source._normals[100:].all()
    bits = Keystream()
    bits.words(100)
    assert not bits._ahead[:800].any()
    assert bits._ahead[800:AHEAD].any()


def test_noise_is_not_repeated_when_adding_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SecureNoise()
    source.normals(1)
    upcoming = source._normals[1:6].copy()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(noise, "add_on_grid", fail)
    with pytest.raises(KeyboardInterrupt):
        source.add(torch.zeros(5), 1.0)
    assert not source._normals[1:6].any()
    drawn = source.normals(5)
    assert not np.isin(drawn.numpy(), upcoming).any()
    assert (drawn != 0).all()


def test_keystream_is_aes_256_in_counter_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the known answer of NIST SP 800-38A, F.5.5 (CTR-AES256.Encrypt): keystream = ciphertext xor plaintext."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    sealed = bytes.fromhex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5")
    given_bytes = {32: key, 16: counter}
    monkeypatch.setattr(keystream.os, "urandom", lambda size: given_bytes[size])
    words = Keystream().words(4)
    assert words.numpy().tobytes() == bytes(a ^ b for a, b in zip(sealed, plain, strict=True))


@given(sizes=st.lists(st.sampled_from([0, 1, 7, 100, AHEAD // 2, AHEAD // 2 + 1, AHEAD, 3 * AHEAD + 5]), max_size=12))
def test_no_byte_of_the_stream_is_handed_out_twice(sizes: list[int]) -> None:
    key, counter = os.urandom(32), os.urandom(16)
    bits = Keystream()
    bits._encrypt = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    bits._owner = os.getpid()
    stream = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(sum(sizes) + 14 * AHEAD))
    found = []
    for size in sizes:
        part = bits.draw(size, np.uint8).tobytes()
        assert len(part) == size
        if size >= 7:  # of seven bytes and more no second place in the stream is to be expected
            found.append((stream.index(part), size))
    found.sort()
    assert all(start + size <= after for (start, size), (after, _) in pairwise(found))


def test_two_keystreams_differ() -> None:
    assert not torch.equal(Keystream().words(8), Keystream().words(8))


def test_threads_share_a_keystream_and_no_word_is_given_twice() -> None:
    bits, parts = Keystream(), []

    def take() -> None:
        parts.extend(bits.words(50) for _ in range(400))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    words = torch.cat(parts)
    assert len(words) == 4 * 400 * 50 == len(words.unique())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_shares_no_noise_with_its_parent() -> None:
    bits, source = Keystream(), SecureNoise()
    bits.words(2)
    source.normals(2)
    reading, writing = os.pipe()
    with bits.lock, warnings.catch_warnings():  # a lock held at the fork must not stop the child
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, bits.words(100).numpy().tobytes() + source.normals(100).numpy().tobytes())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 2000)
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 1600
    assert not np.isin(np.frombuffer(theirs[:800], np.int64), bits.words(AHEAD // 8).numpy()).any()
    assert not np.isin(np.frombuffer(theirs[800:]), source.normals(noise.BLOCK).numpy()).any()


def test_noise_and_keystream_cannot_be_copied_stored_or_shown() -> None:
    bits, source = Keystream(), SecureNoise()
    bits.words(2)
    source.normals(2)
    for secret in (bits, source):
        for copier in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied"):
                copier(secret)
    assert repr(bits) == "Keystream(AES-256-CTR)"
    assert repr(source) == "SecureNoise(AES-256-CTR)"


def test_torch_and_numpy_seeds_do_not_fix_the_noise() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(42)
        np.random.seed(42)
        drawn.append(SecureNoise().normals(8))
    assert not torch.equal(*drawn)


def test_pour_fills_all_but_the_slack() -> None:
    into = np.zeros(1000 + SLACK, dtype=np.uint8)
    Keystream().pour(into)
    assert np.count_nonzero(into[:1000]) > 900


def test_the_unsafe_doors_warn_and_are_what_they_say() -> None:
    with pytest.warns(UserWarning, match=re.escape("UnsafeSeededNoise: a seed fixes the noise")):
        one = UnsafeSeededNoise(7)
    with pytest.warns(UserWarning, match="no privacy"):
        other = UnsafeSeededNoise(7)
    assert torch.equal(one.normals(5), other.normals(5))
    sums = torch.arange(5, dtype=torch.float32)
    one.add(sums, 2.0)
    assert torch.equal(sums, (torch.arange(5) + 2.0 * other.normals(5)).float())
    with pytest.warns(UserWarning, match="UnsafeZeroNoise"):
        zero = UnsafeZeroNoise()
    assert zero.normals(3).tolist() == [0.0, 0.0, 0.0]
    sums = torch.tensor([-0.0, math.nan, 1e-45])
    before = sums.numpy().tobytes()
    zero.add(sums, 2.0)
    assert sums.numpy().tobytes() == before
