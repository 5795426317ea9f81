"""Training batches by ordinal, gathered from 8-bit images that live on the device. No workers, no state."""

from __future__ import annotations

import torch
from torch import Tensor

from ddpm_exp.data.images import ImageSet
from ddpm_exp.data.order import Draw, index_of
from ddpm_exp.data.pixels import assert_model_range, to_model_range


class Batches:
    """The training images of one run, on its device.

    Which image an ordinal is, and whether it is mirrored, depends on (seed, ordinal) alone: never on how a step is sliced.
    """

    def __init__(self, images: ImageSet, seed: int, flip: bool, device: torch.device | str, draw: Draw) -> None:
        self.device = torch.device(device)
        self.count = len(images)
        self._seed, self._flip, self._draw = seed, flip, draw
        self._images = images.images.to(self.device)
        self._labels = None if images.labels is None else images.labels.to(self.device)
        self._range_asserted = False

    def batch(self, ordinals: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images float32 [B, C, H, W] in [-1, 1] and labels int64 [B] (or None) on the device, for int64 [B] `ordinals` on the CPU.

        Raises RunError if the first batch is not in the model's range. Later batches never wait for the device.
        """
        # Without `non_blocking` a copy of a few bytes would wait for every kernel already queued.
        index = self.index(ordinals).to(self.device, non_blocking=True)
        return self.gather(index, ordinals.to(self.device, non_blocking=True))

    def index(self, ordinals: Tensor) -> Tensor:
        """Which training image each ordinal is: int64 [B] for int64 [B], both on the CPU."""
        return index_of(self._seed, ordinals, self.count)

    def gather(self, index: Tensor, ordinals: Tensor) -> tuple[Tensor, Tensor | None]:
        """`batch` for an `index` and `ordinals` that are on the device already; a CUDA graph can capture it after one call."""
        x0 = to_model_range(self._images[index])
        if not self._range_asserted:
            assert_model_range(x0)
            self._range_asserted = True
        if self._flip:
            mirrored = self._draw(self._seed, "flip", ordinals) < 0.5
            x0 = torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)
        return x0, None if self._labels is None else self._labels[index]
