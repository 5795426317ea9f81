"""Where a step's training examples come from: one protocol for those on the device, loaded by workers, or streamed."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ddpm_exp.data.examples import Batch

Fetched = tuple[Tensor, ...]
"""Tensors on the device, of the same shapes for every batch of one size: what `Source.batch` makes the examples of."""


class Source(Protocol):
    """The training examples of one run. Which example an ordinal is depends on (seed, ordinal) alone."""

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
