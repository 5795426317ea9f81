"""All gradients of a network in one buffer, so that zeroing, norm, clipping and summing over ranks are one call each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_ALIGNED = 32
"""Numbers between the beginnings of two gradients are a multiple of this: 128 bytes, the width of the widest loads."""


class Gradients:
    """Gives each weight a `.grad` that is a view of one float32 buffer, with the weight's own strides.

    The buffer lives as long as this object: a captured graph writes to its addresses. Padding in it is always 0.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        """`weights`: dense, of one device and dtype. Raises ValueError for others."""
        starts, total = [], 0
        for weight in weights:
            starts.append(total)
            total += -(-weight.numel() // _ALIGNED) * _ALIGNED
        if len({(weight.device, weight.dtype) for weight in weights}) != 1:
            raise ValueError("gradients of one buffer are of one device and dtype")
        self.flat = torch.zeros(total, dtype=weights[0].dtype, device=weights[0].device)
        self._views = []
        for weight, start in zip(weights, starts, strict=True):
            if not _dense(weight):
                raise ValueError(f"a weight of shape {tuple(weight.shape)} has gaps between its numbers: {weight.stride()}")
            view = self.flat.as_strided(weight.shape, weight.stride(), start)
            weight.grad = view
            self._views.append(view)

    @property
    def own(self) -> list[Tensor]:
        """What is to be summed over processes after the last backward pass."""
        return [self.flat]

    def expect(self, *, last: bool) -> None:
        """Called before each backward pass of a step; here nothing depends on whether it is the `last`."""

    def zero(self) -> None:
        """Forget what was accumulated."""
        self.flat.zero_()

    def multiply(self, factor: Tensor) -> None:
        """Multiply every gradient by a scalar on the device."""
        self.flat.mul_(factor)

    def norm(self) -> Tensor:
        """Root of the sum of squares of all gradients: a scalar on the device."""
        if self.flat.is_cuda:
            whole: Tensor = torch.linalg.vector_norm(self.flat)
            return whole
        # A processor adds a long row in few running sums, whose rounding grows with its length; tensor by tensor it does not.
        return torch.nn.utils.get_total_norm(self._views)


def _dense(weight: Tensor) -> bool:
    """Whether the numbers of `weight` lie next to each other, in whatever order."""
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(weight.stride(), weight.shape, strict=True) if size > 1):
        if stride != expected:
            return False
        expected = stride * size
    return True
