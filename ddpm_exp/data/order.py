"""Which image is the n-th of a run: a stateless order, so that resuming needs no loader state."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor


class Draw(Protocol):
    """Uniform numbers in [0, 1), float32 [B, *shape] on `ordinals`' device, that depend only on the arguments:
    `(seed, purpose, ordinals int64 [B], *shape)`, one row per ordinal. `diffusion.draws.uniform` is one."""

    def __call__(self, seed: int, purpose: str, ordinals: Tensor, /, *shape: int) -> Tensor: ...


def order(seed: int, epoch: int, count: int) -> Tensor:
    """The permutation of `count` images in `epoch` (from 0): int64 [count] on the CPU, a function of the arguments alone."""
    return _order(seed, epoch, count).clone()


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    digest = hashlib.sha256(f"order/{seed}/{epoch}".encode()).digest()
    generator = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randperm(count, generator=generator)


def index_of(seed: int, ordinals: Tensor, count: int) -> Tensor:
    """Image index of each ordinal, int64 [B] on the CPU.

    An ordinal counts the images consumed before it in the whole run; its epoch is ordinal // count. A batch may span epochs.
    """
    if count < 1:
        raise ValueError("there is no order of no images")
    epochs = torch.div(ordinals, count, rounding_mode="floor")
    places = ordinals - epochs * count
    indices = torch.empty_like(ordinals)
    for epoch in sorted(set(epochs.tolist())):
        here = epochs == epoch
        indices[here] = _order(seed, epoch, count)[places[here]]
    return indices
