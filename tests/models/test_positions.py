"""Places and patches: every place its own, cutting loses nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm_exp.models.positions import cut, places, put_together


@given(grid=st.lists(st.integers(1, 5), min_size=1, max_size=2), patch=st.integers(1, 3), channels=st.integers(1, 3))
def test_cutting_and_putting_together_is_every_number_in_its_place(grid: list[int], patch: int, channels: int) -> None:
    sizes = tuple(side * patch for side in grid)
    x = torch.randn(2, channels, *sizes)
    tokens = cut(x, patch)
    assert tokens.shape == (2, torch.tensor(grid).prod(), channels * patch ** len(grid))
    # Tokens are cut channel by channel, and come back with all channels of a place together.
    turned = tokens.unflatten(2, (channels, -1)).transpose(2, 3).flatten(2)
    assert torch.equal(put_together(turned, sizes, patch), x)


def test_a_token_is_one_patch() -> None:
    x = torch.arange(2 * 4 * 6).float().reshape(1, 2, 4, 6)
    tokens = cut(x, 2)
    assert torch.equal(tokens[0, 4].reshape(2, 2, 2), x[0, :, 2:4, 2:4])
    assert torch.equal(cut(x[:, :, 0], 3)[0, 1].reshape(2, 3), x[0, :, 0, 3:6])


@pytest.mark.parametrize("grid", [(7,), (3, 5)])
def test_every_place_is_its_own_and_as_long_as_the_others(grid: tuple[int, ...]) -> None:
    known = places(grid, 16)
    assert known.dtype == torch.float32
    assert len(known.unique(dim=0)) == len(known) == torch.tensor(grid).prod()
    torch.testing.assert_close(known.square().sum(1), torch.full((len(known),), 8.0))


def test_of_an_image_half_tells_the_column_and_half_the_row() -> None:
    known = places((3, 5), 16).reshape(3, 5, 16)
    assert (known[:, :, :8] == known[:1, :, :8]).all()
    assert (known[:, :, 8:] == known[:, :1, 8:]).all()
    torch.testing.assert_close(known[0, :, :8], places((5,), 8))
    torch.testing.assert_close(known[:, 0, 8:], places((3,), 8))


@pytest.mark.parametrize(("grid", "width"), [((2, 2, 2), 12), ((4,), 7), ((4, 4), 10)])
def test_what_cannot_tell_places_is_refused(grid: tuple[int, ...], width: int) -> None:
    with pytest.raises(ValueError, match="places"):
        places(grid, width)
