"""The noise is standard normal, in the bulk and in the tail, and nobody can repeat it."""

from __future__ import annotations

import copy
import math
import os
import pickle
import re

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from pellucid.train import keystream, noise
from pellucid.train.keystream import Keystream
from pellucid.train.noise import SecureNoise, UnsafeSeededNoise, UnsafeZeroNoise

N = 1_000_000


@pytest.fixture(scope="module")
def normals() -> np.ndarray:
    return SecureNoise().normals(N).numpy()


def test_moments_are_those_of_a_standard_normal(normals: np.ndarray) -> None:
    # five standard errors each: one false alarm in a million runs
    assert abs(normals.mean()) < 5 / math.sqrt(N)
    assert abs(normals.var() - 1) < 5 * math.sqrt(2 / N)
    assert abs((normals**3).mean()) < 5 * math.sqrt(15 / N)
    assert abs((normals**4).mean() - 3) < 5 * math.sqrt(96 / N)


def test_distribution_is_normal(normals: np.ndarray) -> None:
    assert stats.kstest(normals[:200_000], "norm").pvalue > 1e-6


@pytest.mark.parametrize("level", [2.0, 3.0, 4.0])
def test_tails_have_the_mass_of_a_normal(normals: np.ndarray, level: float) -> None:
    mass = 2 * stats.norm.sf(level)
    count = int((np.abs(normals) > level).sum())
    assert stats.binomtest(count, N, mass).pvalue > 1e-6


def test_normals_are_independent_across_lags_halves_and_blocks(normals: np.ndarray) -> None:
    # cosine and sine of one draw stand half a block apart
    for lag in (1, 2, noise.BLOCK // 2, noise.BLOCK):
        correlation = float((normals[:-lag] * normals[lag:]).mean())
        squares = float(((normals[:-lag] ** 2 - 1) * (normals[lag:] ** 2 - 1)).mean())
        assert abs(correlation) < 5 / math.sqrt(N)
        assert abs(squares) < 5 * 2 / math.sqrt(N)


@pytest.mark.parametrize("count", [0, 1, 2, 3, noise.BLOCK - 1, noise.BLOCK + 1])
def test_any_count(count: int) -> None:
    out = SecureNoise().normals(count)
    assert out.shape == (count,)
    assert out.dtype == torch.float64
    assert out.isfinite().all()


def test_box_muller_against_the_formula_by_hand() -> None:
    class Fixed:
        def words(self, count: int) -> torch.Tensor:
            return torch.arange(1, count + 1, dtype=torch.int64) * (2**62 // count) * 3

    source = SecureNoise()
    source._bits = Fixed()  # type: ignore[assignment]
    words = [w % 2**64 for w in Fixed().words(16).tolist()]
    u = [(w >> 11) * 2.0**-53 for w in words]
    radius = [math.sqrt(-2 * math.log1p(-v)) for v in u[:8]]
    angle = [2 * math.pi * v for v in u[8:]]
    # two pairs, four draws each: element k of draw d is number 2·d + k
    cosines = [sum(radius[2 * d + k] * math.cos(angle[2 * d + k]) for d in range(4)) / 2 for k in range(2)]
    sines = [sum(radius[2 * d + k] * math.sin(angle[2 * d + k]) for d in range(4)) / 2 for k in range(2)]
    assert source.normals(4).tolist() == pytest.approx(cosines + sines, abs=1e-12)


def test_the_largest_and_smallest_words_give_finite_normals_of_at_most_17() -> None:
    class Extreme:
        def words(self, count: int) -> torch.Tensor:
            words = torch.zeros(count, dtype=torch.int64)
            words[: count // 2] = -1  # all ones: the uniform next to 1
            return words

    source = SecureNoise()
    source._bits = Extreme()  # type: ignore[assignment]
    out = source.normals(2)
    assert out.isfinite().all()
    assert 17 < out.abs().max() < 17.15


def test_keystream_is_aes_256_in_counter_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the known answer of NIST SP 800-38A, F.5.5 (CTR-AES256.Encrypt): keystream = ciphertext xor plaintext."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    sealed = bytes.fromhex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5")
    given = {32: key, 16: counter}
    monkeypatch.setattr(keystream.os, "urandom", lambda size: given[size])
    words = Keystream().words(4)
    assert words.numpy().tobytes() == bytes(a ^ b for a, b in zip(sealed, plain, strict=True))


def test_keystream_goes_on_and_never_repeats() -> None:
    bits = Keystream()
    key, counter = os.urandom(32), os.urandom(16)
    bits._encrypt = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    bits._owner = os.getpid()
    # calls of 16 bytes each continue one stream
    parts = b"".join(bits.words(2).numpy().tobytes() for _ in range(8))
    assert parts == Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(128))
    assert not torch.equal(Keystream().words(8), Keystream().words(8))


def test_a_forked_process_draws_a_new_key() -> None:
    bits = Keystream()
    bits.words(2)
    bits._owner = -2  # what a child sees: the key belongs to another process
    before = bits._encrypt
    bits.words(2)
    assert bits._encrypt is not before
    assert bits._owner == os.getpid()


def test_a_keystream_cannot_be_copied_stored_or_shown() -> None:
    bits = Keystream()
    bits.words(2)
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            copier(bits)
    assert repr(bits) == "Keystream(AES-256-CTR)"


def test_torch_seed_does_not_fix_the_noise() -> None:
    torch.manual_seed(42)
    one = SecureNoise().normals(8)
    torch.manual_seed(42)
    assert not torch.equal(one, SecureNoise().normals(8))


def test_the_unsafe_doors_warn_and_are_what_they_say() -> None:
    with pytest.warns(UserWarning, match=re.escape("UnsafeSeededNoise: a seed fixes the noise")):
        one = UnsafeSeededNoise(7)
    with pytest.warns(UserWarning, match="no privacy"):
        other = UnsafeSeededNoise(7)
    assert torch.equal(one.normals(5), other.normals(5))
    with pytest.warns(UserWarning, match="UnsafeZeroNoise"):
        assert UnsafeZeroNoise().normals(3).tolist() == [0.0, 0.0, 0.0]
