"""Examples seen as frequencies, features or coordinates, and the bands that these fall into. Knows no network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddpm_exp.spec.data import Family

MOST = 16
"""Bands of frequencies at most: each then holds enough coefficients of a few dozen images to be measured by them."""


class Bands:
    """An orthonormal transform of examples [B, *shape], each of whose coefficients belongs to one of `count` bands.

    Images and sequences: the discrete cosine transform (DCT-II) over all axes but the channels', bands of equal width in the radius
    of the frequency, all channels together. Tables: no transform, and each feature a band. Clouds of points, which have no order:
    no transform, and each coordinate a band.
    """

    def __init__(self, shape: tuple[int, ...], family: Family, device: torch.device | str = "cpu") -> None:
        self._bases: list[Tensor] = []
        if family in ("image", "sequence"):
            sizes = shape[1:]
            self.count = max(1, min(MOST, *(size // 2 for size in sizes)))
            axes = [torch.arange(size, dtype=torch.float64) / size for size in sizes]
            radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
            wide = radius.max().clamp(min=1e-9) / self.count
            self.index = (radius / wide).long().clamp(max=self.count - 1).expand(shape).contiguous().to(device)
            self._bases = [_cosines(size).to(device) for size in sizes]
        else:
            self.count = shape[0]
            self.index = torch.arange(shape[0]).view(-1, *(1,) * (len(shape) - 1)).expand(shape).contiguous().to(device)
        """Band of each coefficient, int64 [*shape]."""

    def split(self, x: Tensor) -> Tensor:
        """Coefficients [B, *shape] of x [B, *shape], in x's type."""
        return self._turned(x, transposed=False)

    def join(self, coefficients: Tensor) -> Tensor:
        """The inverse of `split`."""
        return self._turned(coefficients, transposed=True)

    def total(self, coefficients: Tensor) -> Tensor:
        """Sums over examples and each band's coefficients: float64 [count] from [B, *shape]."""
        found = torch.zeros(self.count, dtype=torch.float64, device=coefficients.device)
        return found.index_add_(0, self.index.flatten(), coefficients.double().sum(0).flatten())

    def _turned(self, x: Tensor, *, transposed: bool) -> Tensor:
        for place, basis in enumerate(reversed(self._bases), start=1):
            matrix = (basis.T if transposed else basis).to(x.dtype)
            x = x @ matrix.T if place == 1 else matrix @ x
        return x


def _cosines(size: int) -> Tensor:
    """The orthonormal DCT-II of `size` points, float64 [size, size]: row k is the cosine of frequency k."""
    at, k = torch.arange(size, dtype=torch.float64) + 0.5, torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi / size * k[:, None] * at[None, :]) * math.sqrt(2.0 / size)
    rows[0] /= math.sqrt(2.0)
    return rows
