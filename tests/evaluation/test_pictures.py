"""A grid shows every pixel as it is, in its place, beside its caption."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_exp.data.pixels import to_model_range
from ddpm_exp.evaluation.pictures import grid

GAP = 2


def decoded(png: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(png))
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    return np.asarray(picture)


def pixels(rows: int, columns: int, channels: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(side)
    return torch.randint(0, 256, (rows, columns, channels, side, side), dtype=torch.uint8, generator=generator)


def tiles(sheet: np.ndarray, rows: int, columns: int, side: int) -> np.ndarray:
    """[R, K, side, side, 3] from the lower right corner, where the tiles are."""
    step = side + GAP
    part = sheet[-rows * step :, -columns * step :].reshape(rows, step, columns, step, 3)
    return part[:, :side, :, :side].transpose(0, 2, 1, 3, 4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "factor"), [(8, 6), (20, 3), (32, 2), (48, 1), (64, 1)])
def test_every_pixel_comes_back_exactly_enlarged_by_a_whole_factor(channels: int, side: int, factor: int) -> None:
    images = pixels(2, 3, channels, side)
    sheet = decoded(grid(to_model_range(images), ["cat", "dog"], "5,000 images"))
    found = tiles(sheet, 2, 3, side * factor)
    expected = images.expand(-1, -1, 3, -1, -1).permute(0, 1, 3, 4, 2).numpy().repeat(factor, axis=2).repeat(factor, axis=3)
    assert np.array_equal(found, expected)


def test_values_outside_the_range_are_clamped_not_wrapped() -> None:
    images = torch.tensor([-3.0, 3.0]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 48, 48)
    found = tiles(decoded(grid(images, [""])), 1, 2, 48)
    assert (int(found[0, 0].max()), int(found[0, 1].min())) == (0, 255)


def ink(part: np.ndarray) -> int:
    return int((part < 200).any(axis=-1).sum())


def test_each_row_has_its_caption_beside_it_and_no_other() -> None:
    images = torch.ones(3, 2, 1, 8, 8)
    with_two = decoded(grid(images, ["zero", "", "a photo of a seven"]))
    margin = with_two.shape[1] - 2 * (48 + GAP)
    rows = [with_two[GAP + row * 50 : GAP + (row + 1) * 50, :margin] for row in range(3)]
    assert [ink(row) > 20 for row in rows] == [True, False, True]
    assert ink(with_two[:, margin:]) == 0, "captions run into the pictures"
    assert ink(rows[2]) > ink(rows[0])


def test_the_title_stands_above_and_is_never_cut_off() -> None:
    images, title = torch.ones(1, 1, 1, 8, 8), "1,280,000 images, epoch 12.5"
    narrow, wide = (decoded(grid(images.expand(1, columns, 1, 8, 8), [""], title)) for columns in (1, 20))
    assert ink(wide[:22]) > 100
    assert ink(narrow[:22]) == ink(wide[:22])
    assert ink(wide[22:]) == 0


def test_without_captions_and_title_only_the_tiles_take_space() -> None:
    sheet = decoded(grid(torch.zeros(2, 2, 1, 48, 48), ["", ""]))
    assert sheet.shape[0] == GAP + 2 * (48 + GAP)
    assert sheet.shape[1] <= 12 + 2 * (48 + GAP)
