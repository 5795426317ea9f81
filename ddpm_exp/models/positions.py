"""Where a token stands, as fixed sines and cosines, and the cutting of examples into tokens and back."""

from __future__ import annotations

import torch
from torch import Tensor


def places(grid: tuple[int, ...], width: int) -> Tensor:
    """Float32 [T, width] for the tokens of a grid, row by row: of a sequence's pieces (Vaswani et al. 2017), or of an image's
    patches, where half of the width tells the column and half the row (Peebles & Xie 2023).

    Raises ValueError for a grid of more dimensions, or a width that does not divide into sines and cosines of each.
    """
    if len(grid) not in (1, 2) or width % (2 * len(grid)):
        raise ValueError(f"{width} features cannot tell places of a grid of shape {grid}")
    if len(grid) == 1:
        return _waves(torch.arange(grid[0]), width)
    rows, columns = torch.arange(grid[0]), torch.arange(grid[1])
    halves = (columns.repeat(grid[0]), rows.repeat_interleave(grid[1]))
    return torch.cat([_waves(half, width // 2) for half in halves], dim=1)


def _waves(place: Tensor, width: int) -> Tensor:
    """Sines, then cosines, at frequencies from 1 down to, but without, 1e-4 in equal ratios."""
    half = width // 2
    angles = place.double()[:, None] * 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / half)[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def cut(x: Tensor, patch: int) -> Tensor:
    """Tokens [B, T, C * patch^n] of x [B, C, *sizes] in n dimensions: channel by channel, each its patch row by row."""
    batch, channels, *sizes = x.shape
    split = x.reshape(batch, channels, *(side for size in sizes for side in (size // patch, patch)))
    ends = range(2, split.dim(), 2)
    return split.permute(0, *ends, 1, *(end + 1 for end in ends)).reshape(batch, -1, channels * patch ** len(sizes))


def put_together(tokens: Tensor, sizes: tuple[int, ...], patch: int) -> Tensor:
    """[B, C, *sizes] from tokens [B, T, patch^n * C]: place by place of the patch, all channels of each."""
    batch, n = tokens.shape[0], len(sizes)
    split = tokens.reshape(batch, *(size // patch for size in sizes), *[patch] * n, -1)
    order = (end for i in range(n) for end in (1 + i, 1 + n + i))
    return split.permute(0, 2 * n + 1, *order).reshape(batch, -1, *sizes)
