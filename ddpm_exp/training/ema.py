"""The exponential moving average of the weights, in a network of its own: nothing is ever swapped or restored."""

from __future__ import annotations

import copy
import math
from functools import lru_cache

import torch
from torch import nn

from ddpm_exp.training.sharding import own_part


def decay(*, images_per_step: int, images_seen: int, half_life_images: int, ramp: float | None) -> float:
    """Share of the old average kept by one step: 0.5 ** (images_per_step / half_life).

    With a `ramp` the half-life is at most that share of the images seen, so that the first averages follow the weights.
    """
    half_life = float(half_life_images)
    if ramp is not None:
        half_life = min(half_life, ramp * images_seen)
    return 0.5 ** (images_per_step / half_life) if half_life > 0 else 0.0


@lru_cache(maxsize=64)
def power_exponent(sigma_rel: float) -> float:
    """gamma of the power-function average with this relative width: sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3))
    (Karras et al. 2024, appendix C). `sigma_rel` in (0, 0.289): the width falls as gamma grows from 0."""
    low, high = 0.0, 1e7
    for _ in range(200):
        gamma = (low + high) / 2
        wider = math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) > sigma_rel
        low, high = (gamma, high) if wider else (low, gamma)
    return (low + high) / 2


def power_decay(*, images_per_step: int, images_seen: int, gamma: float) -> float:
    """Share of the old average kept by the step that ends at `images_seen`: (1 - 1 / k)^(gamma + 1) at step k (Karras et al.
    2024, appendix C). The first step keeps nothing."""
    return float((1.0 - min(1.0, images_per_step / images_seen)) ** (gamma + 1)) if images_seen > 0 else 0.0


class Ema:
    """A frozen copy of a network whose parameters follow the original's by exponential averaging; buffers are copied."""

    def __init__(self, network: nn.Module, average: nn.Module | None = None) -> None:
        """`average`: what to use as that copy, with the same weights."""
        self.network = (copy.deepcopy(network) if average is None else average).eval().requires_grad_(False)
        self._pairs = list(zip(self.network.parameters(), network.parameters(), strict=True))
        self._buffers = list(zip(self.network.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def update(self, keep: float) -> None:
        """average = keep * average + (1 - keep) * weights, for all parameters in one call."""
        averages: list[torch.Tensor] = [own_part(average) for average, _ in self._pairs]
        weights: list[torch.Tensor] = [own_part(weight.detach()) for _, weight in self._pairs]
        torch._foreach_lerp_(averages, weights, 1.0 - keep)
        for average, buffer in self._buffers:
            average.copy_(buffer)
