"""Training batches by ordinal, gathered from examples that live on the device. No workers, no state."""

from __future__ import annotations

import torch
from torch import Tensor

from ddpm_exp.data.examples import Batch, Examples
from ddpm_exp.data.order import Draw, index_of
from ddpm_exp.data.source import Fetched, Finish


class Batches:
    """The training examples of one run, on its device.

    Which example an ordinal is, and whether it is mirrored, depends on (seed, ordinal) alone: never on how a step is sliced.
    """

    def __init__(self, examples: Examples, seed: int, flip: bool, device: torch.device | str, draw: Draw) -> None:
        self.device = torch.device(device)
        self.count = len(examples)
        self.waited = 0.0
        self._seed, self._finish = seed, Finish(seed, flip, draw)
        self._x = examples.x.to(self.device)
        self._labels = None if examples.labels is None else examples.labels.to(self.device)
        self._values = None if examples.values is None else examples.values.to(self.device)

    def fetch(self, ordinals: Tensor) -> Fetched:
        """The index: which training example each ordinal is, int64 [B] on the device for int64 [B] on the CPU."""
        # Without `non_blocking` a copy of a few bytes would wait for every kernel already queued.
        return (index_of(self._seed, ordinals, self.count).to(self.device, non_blocking=True),)

    def batch(self, fetched: Fetched, ordinals: Tensor) -> Batch:
        """The examples at the index that was fetched, mirrored as their `ordinals` (on the device) say.

        A CUDA graph can capture it after one call, which raises RunError if it is not in the model's range.
        """
        (index,) = fetched
        labels = None if self._labels is None else self._labels[index]
        return self._finish(self._x[index], labels, None if self._values is None else self._values[index], ordinals)
