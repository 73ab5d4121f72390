"""Scattering against a naive convolution in numpy; features by rows."""

from __future__ import annotations

import cmath
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.train.features import Scattering, averaging, extract, morlet


def wavelet(shape: tuple[int, int], j: int, angle: float, slant: float) -> np.ndarray:
    """A Morlet wavelet on a torus, one pixel at a time."""
    sigma, frequency = 0.8 * 2**j, 0.75 * math.pi / 2**j
    wave, envelope = np.zeros(shape, complex), np.zeros(shape)
    for u, v in np.ndindex(*shape):
        for a, b in itertools.product(range(-2, 3), repeat=2):
            x, y = u + a * shape[0], v + b * shape[1]
            along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
            gauss = math.exp(-(along**2 + slant**2 * across**2) / (2 * sigma**2))
            envelope[u, v] += gauss
            wave[u, v] += gauss * cmath.exp(1j * frequency * along)
    return slant / (2 * math.pi * sigma**2) * (wave - wave.sum() / envelope.sum() * envelope)


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Circular convolution, one shift at a time."""
    out = np.zeros(x.shape, complex)
    for u, v in np.ndindex(*kernel.shape):
        out += kernel[u, v] * np.roll(x, (u, v), (0, 1))
    return out


def naive(image: np.ndarray, scales: int, orientations: int) -> np.ndarray:
    """All coefficients of one image: modulus, thinning, averaging, in space."""
    step = 2**scales
    padded = np.pad(image, step, mode="reflect")
    sigma, slant = 0.8 * 2 ** (scales - 1), 4 / orientations
    angles = [math.pi * k / orientations for k in range(orientations)]

    def mean(u: np.ndarray, grid: int) -> np.ndarray:
        window = np.zeros(u.shape)
        for place in np.ndindex(*u.shape):
            for turn in itertools.product(range(-2, 3), repeat=2):
                square = sum(((p + t * n) * 2**grid) ** 2 for p, t, n in zip(place, turn, u.shape, strict=True))
                window[place] += math.exp(-square / (2 * sigma**2))
        every = step // 2**grid
        return convolved(u, window / window.sum()).real[every:-every:every, every:-every:every]

    wavelets = {(j, angle): wavelet(padded.shape, j, angle, slant) for j in range(scales) for angle in angles}
    first, second = [], []
    for j in range(scales):
        for angle in angles:
            u = np.abs(convolved(padded, wavelets[j, angle]))[:: 2**j, :: 2**j]
            first.append(mean(u, j))
    for j in range(scales):
        for k in range(j + 1, scales):
            for angle in angles:
                u = np.abs(convolved(padded, wavelets[j, angle]))[:: 2**j, :: 2**j]
                for other in angles:
                    thinned = wavelets[k, other][:: 2**j, :: 2**j] * 4**j
                    inner = np.abs(convolved(u, thinned))[:: 2 ** (k - j), :: 2 ** (k - j)]
                    second.append(mean(inner, k))
    return np.stack([mean(padded, 0), *first, *second])


@pytest.mark.parametrize(("size", "scales", "orientations"), [((8, 12), 2, 3), ((6, 4), 1, 4), ((12, 12), 2, 2)])
def test_coefficients_are_those_of_the_definition(size: tuple[int, int], scales: int, orientations: int) -> None:
    image = np.random.default_rng(1).uniform(-1, 1, size)
    found = Scattering(size, scales, orientations)(torch.from_numpy(image)[None, None])
    np.testing.assert_allclose(found[0].numpy(), naive(image, scales, orientations), atol=2e-6)


def test_three_scales_are_those_of_the_definition() -> None:
    image = np.random.default_rng(2).uniform(-1, 1, (16, 16))
    found = Scattering((16, 16), 3, 1)(torch.from_numpy(image)[None, None])
    np.testing.assert_allclose(found[0].numpy(), naive(image, 3, 1), atol=2e-6)


def test_images_of_28_pixels_have_81_coefficients_at_7_by_7_places() -> None:
    net = Scattering((28, 28))
    assert net.channels == 81
    out = net(torch.rand(3, 1, 28, 28))
    assert out.shape == (3, 81, 7, 7)
    assert out.dtype == torch.float32


def test_there_is_nothing_to_learn_and_nothing_to_save() -> None:
    net = Scattering((8, 8))
    assert not list(net.parameters())
    assert not net.state_dict()


def test_colours_are_transformed_one_by_one() -> None:
    net, x = Scattering((8, 8), 1, 2), torch.rand(2, 3, 8, 8)
    together = net(x)
    for colour in range(3):
        alone = net(x[:, colour : colour + 1])
        torch.testing.assert_close(together[:, colour * net.channels : (colour + 1) * net.channels], alone)


def test_a_constant_image_has_its_value_in_order_zero_and_nothing_else() -> None:
    out = Scattering((12, 12))(torch.full((1, 1, 12, 12), 0.7))
    torch.testing.assert_close(out[:, 0], torch.full((1, 3, 3), 0.7))
    torch.testing.assert_close(out[:, 1:], torch.zeros(1, 80, 3, 3), rtol=0, atol=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 2), st.floats(0, math.pi), st.floats(0.25, 1))
def test_wavelets_have_mean_zero(j: int, angle: float, slant: float) -> None:
    assert abs(complex(morlet((16, 16), j, angle, slant).sum())) < 1e-12


@given(st.integers(1, 3), st.integers(2, 5))
def test_averages_are_of_weights_that_sum_to_one(scales: int, places: int) -> None:
    for grid in range(scales + 1):
        window = averaging(places * 2**scales, scales, grid)
        assert window.shape == (places, (places + 2) * 2 ** (scales - grid))
        torch.testing.assert_close(window.sum(1), torch.ones(places, dtype=torch.float64))


def test_gradients_go_through() -> None:
    x = torch.rand(1, 1, 8, 8, requires_grad=True)
    Scattering((8, 8))(x).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize(
    ("size", "scales", "orientations"), [((30, 28), 2, 8), ((4, 8), 2, 8), ((8, 8), 0, 8), ((8, 8), 2, 0)]
)
def test_refuses_sizes_that_do_not_fit(size: tuple[int, int], scales: int, orientations: int) -> None:
    with pytest.raises(BadData, match="size"):
        Scattering(size, scales, orientations)


def test_refuses_images_of_another_size() -> None:
    with pytest.raises(BadData, match="8"):
        Scattering((8, 8))(torch.rand(2, 1, 8, 12))


def test_extracted_features_are_those_of_every_row_alone() -> None:
    net = nn.Sequential(Scattering((8, 8)), nn.GroupNorm(27, 81, affine=False), nn.Flatten())
    x = torch.rand(7, 1, 8, 8)
    found = extract(net, x, chunk=3)
    torch.testing.assert_close(found, torch.cat([net(x[row : row + 1]) for row in range(7)]), rtol=1e-4, atol=1e-5)
    assert not found.requires_grad


def test_extracts_in_evaluation_mode_and_leaves_the_mode() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4)).train()
    net[0].eval()
    x = torch.rand(5, 4)
    found = extract(net, x)
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-4)  # running mean 0 and variance 1: nothing was learnt
    assert [part.training for part in net.modules()] == [True, False, True]


def test_refuses_features_that_depend_on_other_rows() -> None:
    class Centred(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(0)

    with pytest.raises(UnsupportedModel, match="Centred"):
        extract(Centred(), torch.rand(5, 4))
