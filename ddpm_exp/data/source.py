"""Where a step's training examples come from: one protocol for those on the device, loaded by workers, or streamed."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ddpm_exp.data.examples import Batch
from ddpm_exp.data.order import Draw
from ddpm_exp.data.pixels import assert_finite, assert_model_range, to_model_range

Fetched = tuple[Tensor, ...]
"""Tensors on the device, of the same shapes for every batch of one size: what `Source.batch` makes the examples of."""


class Source(Protocol):
    """The training examples of one run. Which example an ordinal is depends on (seed, ordinal) alone."""

    waited: float
    """Seconds that `fetch` has waited for data that were not ready, with an idle device; who reads them sets them back to 0."""

    def fetch(self, ordinals: Tensor) -> Fetched:
        """What `batch` needs for int64 [B] `ordinals` on the CPU, on the device. Waits for data if it has to, never for the
        device: copies are queued."""
        ...

    def batch(self, fetched: Fetched, ordinals: Tensor) -> Batch:
        """The examples of what was fetched; `ordinals`: the same ones, on the device. A CUDA graph can capture it after one
        call. Raises RunError if the first batch is not in the model's range."""
        ...


def batch_of(source: Source, ordinals: Tensor) -> Batch:
    """The examples of int64 [B] `ordinals` on the CPU, on the device of `source`."""
    fetched = source.fetch(ordinals)
    return source.batch(fetched, ordinals.to(fetched[0].device, non_blocking=True))


class Finish:
    """The last part of every source, on the device: the model's range, and mirroring by ordinal."""

    def __init__(self, seed: int, flip: bool, draw: Draw) -> None:
        self._seed, self._flip, self._draw = seed, flip, draw
        self._asserted = False

    def __call__(self, x: Tensor, labels: Tensor | None, values: Tensor | None, ordinals: Tensor) -> Batch:
        """`x`: uint8 images or scaled numbers. Raises RunError if those of the first call are not in range."""
        pixels = x.dtype == torch.uint8
        x0 = to_model_range(x) if pixels else x
        if not self._asserted:
            (assert_model_range if pixels else assert_finite)(x0)
            self._asserted = True
        if self._flip:
            mirrored = self._draw(self._seed, "flip", ordinals) < 0.5
            x0 = torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)
        return Batch(x0, labels, values)
