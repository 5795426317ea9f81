"""Bands of frequencies: an orthonormal transform and back, the cosine transform of the field, a band for every coefficient."""

from __future__ import annotations

import pytest
import torch
from scipy.fft import dctn

from ddpm_exp.diffusion.bands import MOST, Bands
from ddpm_exp.spec.data import Family

SHAPES: list[tuple[tuple[int, ...], Family, int]] = [
    ((1, 8, 8), "image", 4),
    ((3, 32, 32), "image", 16),
    ((3, 64, 64), "image", MOST),
    ((2, 6, 10), "image", 3),
    ((2, 64), "sequence", MOST),
    ((1, 1), "sequence", 1),
    ((13,), "vector", 13),
    ((2, 20), "points", 2),
]


@pytest.mark.parametrize(("shape", "family", "count"), SHAPES)
def test_splitting_keeps_lengths_and_joining_undoes_it(shape: tuple[int, ...], family: Family, count: int) -> None:
    bands = Bands(shape, family)
    x = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    split = bands.split(x)
    assert split.shape == x.shape
    torch.testing.assert_close(split.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), atol=1e-12, rtol=0)
    torch.testing.assert_close(bands.join(split), x, atol=1e-12, rtol=0)
    assert bands.split(x.float()).dtype == torch.float32


@pytest.mark.parametrize(("shape", "family", "count"), SHAPES)
def test_every_coefficient_has_a_band_and_every_band_a_coefficient(shape: tuple[int, ...], family: Family, count: int) -> None:
    bands = Bands(shape, family)
    assert bands.count == count
    assert bands.index.shape == shape and bands.index.dtype == torch.int64
    assert bands.index.unique().tolist() == list(range(count))


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 6, 10), (2, 64)])
def test_images_and_sequences_become_scipys_cosine_transform(shape: tuple[int, ...]) -> None:
    x = torch.randn(4, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = Bands(shape, "image" if len(shape) == 3 else "sequence").split(x)
    axes = tuple(range(2, x.dim()))
    torch.testing.assert_close(found, torch.from_numpy(dctn(x.numpy(), axes=axes, norm="ortho")), atol=1e-12, rtol=0)


def test_bands_rise_with_the_frequency_and_are_the_same_in_all_channels() -> None:
    index = Bands((3, 16, 16), "image").index
    assert torch.equal(index[0], index[1]) and torch.equal(index[0], index[2])
    assert index[0, 0, 0] == 0 and index[0, -1, -1] == 7
    assert torch.equal(index[0], index[0].T)
    assert bool((index[0].diff(dim=0) >= 0).all()) and bool((index[0].diff(dim=1) >= 0).all())


def test_a_flat_image_is_of_the_lowest_band_alone() -> None:
    bands = Bands((1, 8, 8), "image")
    totals = bands.total(bands.split(torch.full((2, 1, 8, 8), 0.5)).square())
    torch.testing.assert_close(totals, torch.tensor([32.0, 0, 0, 0], dtype=torch.float64), atol=1e-5, rtol=0)


def test_totals_add_up_over_examples_and_bands() -> None:
    bands = Bands((3, 4, 4), "image")
    x = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    totals = bands.total(x)
    assert totals.dtype == torch.float64 and totals.shape == (bands.count,)
    for band in range(bands.count):
        assert float(totals[band]) == pytest.approx(float(x[:, bands.index == band].double().sum()), abs=1e-6)


def test_columns_of_tables_and_coordinates_of_clouds_are_bands() -> None:
    assert torch.equal(Bands((3,), "vector").index, torch.arange(3))
    assert torch.equal(Bands((2, 5), "points").index, torch.arange(2)[:, None].expand(2, 5))
