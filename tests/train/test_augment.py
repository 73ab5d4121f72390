"""Views of units, each made from its own row alone."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadData
from pellucid.train.augment import chain, flip, shift

SHIFT = functools.partial(shift, pixels=1)


def images(rows: int, height: int = 6, width: int = 5) -> torch.Tensor:
    return torch.arange(rows * 2 * height * width, dtype=torch.float32).reshape(rows, 2, height, width)


@given(st.integers(0, 3), st.integers(0, 10_000), st.sampled_from(["reflect", "replicate", "constant", "circular"]))
def test_shift_is_one_of_the_crops_of_the_padded_image(pixels: int, seed: int, mode: str) -> None:
    x = images(4)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        out = shift(x, pixels, mode=mode)
    padded = torch.nn.functional.pad(x, (pixels,) * 4, mode=mode)
    crops = [padded[:, :, i : i + 6, j : j + 5] for i in range(2 * pixels + 1) for j in range(2 * pixels + 1)]
    for row in range(4):
        assert any(torch.equal(out[row], crop[row]) for crop in crops)


def test_shift_reaches_every_place_equally_often() -> None:
    x = torch.zeros(18_000, 1, 7, 7)
    x[:, :, 3, 3] = 1.0
    counts = shift(x, 1, mode="constant").sum((0, 1))
    assert float(counts.sum()) == 18_000  # none leaves the image
    inner = counts[2:5, 2:5]
    assert float(inner.sum()) == 18_000
    assert float((inner - 2000).abs().max()) < 6 * (18_000 * 8 / 81) ** 0.5


def test_flip_mirrors_about_half_of_the_rows() -> None:
    x = images(1).expand(4000, -1, -1, -1)
    out = flip(x)
    mirrored = [torch.equal(row, x[0].flip(2)) for row in out]
    assert all(torch.equal(row, x[0]) for row, is_mirrored in zip(out, mirrored, strict=True) if not is_mirrored)
    assert abs(sum(mirrored) - 2000) < 6 * (4000 / 4) ** 0.5


def test_chain_applies_in_order_and_leaves_the_input() -> None:
    x = images(3)
    before = x.clone()
    assert torch.equal(chain(lambda rows: rows + 1, lambda rows: rows * 2)(x), (before + 1) * 2)
    chain(flip, SHIFT)(x)
    assert torch.equal(x, before)
    assert torch.equal(chain()(x), before)


def test_a_view_is_made_from_its_own_row_alone() -> None:
    x = images(12)
    changed = x.clone()
    changed[4] = -7.0
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = chain(flip, SHIFT)(x)
        torch.manual_seed(1)
        other = chain(flip, SHIFT)(changed)
    assert [row for row in range(12) if not torch.equal(one[row], other[row])] == [4]


def test_copies_of_a_row_become_different_views() -> None:
    views = chain(flip, SHIFT)(images(1).expand(64, -1, -1, -1))
    assert len({view.numpy().tobytes() for view in views}) > 10  # of 18


def test_refuses_a_transform_that_changes_the_number_of_rows() -> None:
    def halved(x: torch.Tensor) -> torch.Tensor:
        return x[::2]

    with pytest.raises(BadData, match="halved"):
        chain(flip, halved)(images(2))
