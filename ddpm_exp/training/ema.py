"""The exponential moving average of the weights, in a network of its own: nothing is ever swapped or restored."""

from __future__ import annotations

import copy

import torch
from torch import nn


def decay(*, images_per_step: int, images_seen: int, half_life_images: int, ramp: float | None) -> float:
    """Share of the old average kept by one step: 0.5 ** (images_per_step / half_life).

    With a `ramp` the half-life is at most that share of the images seen, so that the first averages follow the weights.
    """
    half_life = float(half_life_images)
    if ramp is not None:
        half_life = min(half_life, ramp * images_seen)
    return 0.5 ** (images_per_step / half_life) if half_life > 0 else 0.0


class Ema:
    """A frozen copy of a network whose parameters follow the original's by exponential averaging; buffers are copied."""

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._pairs = list(zip(self.network.parameters(), network.parameters(), strict=True))
        self._buffers = list(zip(self.network.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def update(self, keep: float) -> None:
        """average = keep * average + (1 - keep) * weights, for all parameters in one call."""
        averages: list[torch.Tensor] = [average for average, _ in self._pairs]
        weights: list[torch.Tensor] = [weight.detach() for _, weight in self._pairs]
        torch._foreach_lerp_(averages, weights, 1.0 - keep)
        for average, buffer in self._buffers:
            average.copy_(buffer)
