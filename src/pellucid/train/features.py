"""Fixed features: what is known of images without looking at a private one.

Wavelet scattering (Bruna and Mallat 2013, IEEE TPAMI 35(8)): moduli of Morlet wavelet coefficients, averaged over
neighbourhoods of ``2**scales`` pixels. A linear model on them beats small networks at epsilon 3 (Tramèr and Boneh 2021,
arXiv 2011.11660). Nothing here is learnt, so a row's features are a function of that row, cost no privacy, and may be
computed once before the first step.
"""

from __future__ import annotations

import functools
import itertools
import math

import torch
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.train.probe import generated

__all__ = ["Scattering", "extract"]


class Scattering(nn.Module):
    """Scattering coefficients of orders 0, 1 and 2. No parameters, nothing in the state dictionary.

    Takes ``(B, C, *size)`` and gives ``(B, C·K, height/2**scales, width/2**scales)`` with
    ``K = 1 + J·L + L²·J(J-1)/2``: for J = 2 scales and L = 8 orientations 81. Morlet wavelets of Bruna and Mallat with
    sigma 0.8·2**j, frequency 3π/4·2**-j and slant 4/L; images are reflected at their borders. An ``nn.GroupNorm(27, 81,
    affine=False)`` behind it normalises by the row's own statistics, which costs nothing either.

    Args:
        size: Height and width, both multiples of ``2**scales`` and above it.
        scales: J, at least 1.
        orientations: L, at least 1.

    Raises:
        BadData: The size does not fit the scales.
    """

    def __init__(self, size: tuple[int, int], scales: int = 2, orientations: int = 8) -> None:
        super().__init__()
        step = 2**scales
        if scales < 1 or orientations < 1 or any(side % step or side <= step for side in size):
            raise BadData(
                f"height and width must be multiples of {step}, and larger",
                where="Scattering.size",
                fix="pad the images, or take fewer scales",
            )
        self.size, self.scales, self.orientations = size, scales, orientations
        padded = (size[0] + 2 * step, size[1] + 2 * step)
        for j in range(scales):
            angles = torch.arange(orientations, dtype=torch.float64) * math.pi / orientations
            spectra = torch.stack([torch.fft.fft2(morlet(padded, j, float(t), 4 / orientations)) for t in angles])
            for grid in range(j + 1):  # the same wavelets on the coarser grids of order 2, with fewer, heavier points
                self._keep(f"wavelets_{j}_{grid}", (_thin(spectra, 2**grid) * 4**grid).to(torch.complex64))
        for grid in range(scales):
            self._keep(f"rows_{grid}", averaging(size[0], scales, grid).float())
            self._keep(f"columns_{grid}", averaging(size[1], scales, grid).float())

    @property
    def channels(self) -> int:
        """K, coefficients for each channel of the input and place of the output."""
        pairs = self.scales * (self.scales - 1) // 2
        return 1 + self.scales * self.orientations + pairs * self.orientations**2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Order 0, then order 1 by scale and orientation, then order 2 by both scales and both orientations."""
        if x.dim() != 4 or tuple(x.shape[2:]) != self.size:
            raise BadData(f"images must have the shape (B, C, {self.size[0]}, {self.size[1]})", where="Scattering")
        batch, colours = x.shape[:2]
        x = nn.functional.pad(x.float(), (2**self.scales,) * 4, mode="reflect").flatten(0, 1).unsqueeze(1)
        zeroth, first, second = [self._average(x, 0)], [], []
        spectrum = torch.fft.fft2(x)
        for j in range(self.scales):
            moduli = self._moduli(spectrum, j, 0)
            first.append(self._average(moduli, j))
            if j + 1 < self.scales:
                inner = torch.fft.fft2(moduli).unsqueeze(2)
                further = range(j + 1, self.scales)
                second += [self._average(self._moduli(inner, k, j).flatten(1, 2), k) for k in further]
        return torch.cat(zeroth + first + second, 1).reshape(batch, colours * self.channels, *zeroth[0].shape[2:])

    def _keep(self, name: str, tensor: torch.Tensor) -> None:
        self.register_buffer(name, tensor, persistent=False)

    def _moduli(self, spectrum: torch.Tensor, j: int, grid: int) -> torch.Tensor:
        """Moduli of the wavelet coefficients at scale ``j``, taken at every ``2**j``-th pixel."""
        product = spectrum * self.get_buffer(f"wavelets_{j}_{grid}")
        # the band of an analytic wavelet fits into the coarser grid, so that a quarter of the transform is enough
        moduli: torch.Tensor = torch.fft.ifft2(_thin(product, 2 ** (j - grid))).abs()
        return moduli

    def _average(self, x: torch.Tensor, grid: int) -> torch.Tensor:
        return self.get_buffer(f"rows_{grid}") @ x @ self.get_buffer(f"columns_{grid}").mT


def morlet(shape: tuple[int, int], j: int, angle: float, slant: float) -> torch.Tensor:
    """A Morlet wavelet at scale ``2**j`` on a torus of ``shape``, complex128, centred at pixel (0, 0), of mean zero."""
    sigma, frequency = 0.8 * 2**j, 3 * math.pi / 4 / 2**j
    cos, sin = math.cos(angle), math.sin(angle)
    scale = slant / (2 * math.pi * sigma**2)
    wave = torch.zeros(shape, dtype=torch.complex128)
    envelope = torch.zeros(shape, dtype=torch.float64)
    # with up to 12 orientations, the Gaussians are below 1e-9 two widths of the torus away
    for turn in itertools.product(range(-2, 3), repeat=2):
        u, v = torch.meshgrid(
            *(torch.arange(n, dtype=torch.float64) + n * t for n, t in zip(shape, turn, strict=True)), indexing="ij"
        )
        along, across = cos * u + sin * v, cos * v - sin * u
        gauss = torch.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2))
        envelope += gauss
        wave += gauss * torch.exp(1j * frequency * along)
    wave -= wave.sum() / envelope.sum() * envelope
    return wave.mul_(scale)


def averaging(side: int, scales: int, grid: int) -> torch.Tensor:
    """A Gaussian window of sigma 0.8·2**(scales-1) pixels around every ``2**scales``-th pixel.

    Returns:
        float64, ``(side/2**scales, (side + 2·2**scales)/2**grid)``: from the padded, ``2**grid`` times thinned line to
        the averages. Every row sums to 1.
    """
    step, sigma = 2**scales, 0.8 * 2 ** (scales - 1)
    whole = side + 2 * step
    places = torch.arange(0, whole, 2**grid, dtype=torch.float64)
    centres = torch.arange(step, step + side, step, dtype=torch.float64)
    turns = torch.arange(-2, 3, dtype=torch.float64) * whole
    distance = places[None, :, None] - centres[:, None, None] + turns
    window = torch.exp(-(distance**2) / (2 * sigma**2)).sum(2)
    return window / window.sum(1, keepdim=True)


def _thin(spectrum: torch.Tensor, factor: int) -> torch.Tensor:
    """The spectrum of every ``factor``-th pixel of the signal that has this ``spectrum``."""
    blocks = [block for rows in spectrum.chunk(factor, -2) for block in rows.chunk(factor, -1)]
    # added one by one: torch reduces slowly over axes that lie apart
    return functools.reduce(torch.add, blocks) / factor**2


@torch.no_grad()
def extract(module: nn.Module, x: torch.Tensor, *, chunk: int = 32) -> torch.Tensor:
    """The features of every row, computed once, in evaluation mode.

    Training on them is training on ``module`` followed by a model, and costs the same privacy, as long as ``module``
    was not made from private data: give only what is public, such as :class:`Scattering` or public weights.

    Args:
        module: Takes ``(B, …)``, gives ``(B, …)``; row by row.
        x: Rows, ``(N, …)``.
        chunk: Rows at a time; few, so that what lies between the layers stays in the cache.

    Returns:
        ``(N, …)``, the same as :func:`torch.cat` of the module on every row alone, up to rounding.

    Raises:
        UnsupportedModel: On generated rows, the features of one depend on the others.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        probe = generated(tuple(x.shape[1:]), x.dtype)
        alone = torch.cat([module(probe[row : row + 1]) for row in range(len(probe))])
        together = module(probe)
        if alone.shape != together.shape or not torch.allclose(alone, together, rtol=1e-4, atol=1e-5):
            raise UnsupportedModel(
                "the features of one row depend on the other rows, so one person's influence cannot be bounded",
                where=type(module).__name__,
                fix="compute every row on its own: no mean, maximum, sort or attention over the batch",
            )
        return torch.cat([module(part) for part in torch.split(x, chunk)])
    finally:
        for part, mode in modes:
            part.training = mode
