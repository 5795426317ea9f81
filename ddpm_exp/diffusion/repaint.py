"""Inpainting with a model that knows nothing of masks: known pixels are put back at every level. Trains nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import count

import torch
from torch import Tensor

from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.predictions import full_precision
from ddpm_exp.diffusion.samplers import STEPS, moves
from ddpm_exp.diffusion.step import Denoise
from ddpm_exp.diffusion.variance import variances
from ddpm_exp.spec.sampling import Sampling


@torch.no_grad()
def inpaint(
    sampling: Sampling,
    levels: Sequence[Level],
    denoise: Denoise,
    x: Tensor,
    known: Tensor,
    mask: Tensor,
    noise: Callable[[int], Tensor],
    resamples: int = 10,
) -> Tensor:
    """RePaint (Lugmayr et al. 2022, algorithm 1): float32 examples [B, *shape] that equal `known` where `mask` is 1.

    `x`: noise of standard deviation `path.prior_std`; `known`: clean, of x's shape; `mask`: 1 where known and 0 where not,
    of a shape that broadcasts to x's. At every level, `known` with that level's noise replaces what the sampler made of it;
    the result is then noised back to the level before and denoised again, `resamples` times in all, so that both parts
    come to agree. 1 is plain replacement, 10 the paper's choice. The price is `resamples` times that of sampling.
    `noise(k)`, k = 0, 1, ..., is standard normal of x's shape; each number is asked for once. Every sampler of `sampling`
    works; since each jump back breaks its history, a multistep sampler takes first-order steps.
    Raises ValueError for `resamples` below 1.
    """
    if resamples < 1:
        raise ValueError(f"each level is visited at least once, not {resamples} times")
    x, known, mask = full_precision(x), full_precision(known), full_precision(mask)
    numbers = count()

    def draw() -> Tensor:
        return noise(next(numbers))

    for move in moves(levels):
        visits = 1 if move.to_data else resamples
        for visit in range(visits):
            there = STEPS[sampling.sampler](sampling, move, x, denoise, draw, ()).x
            given = known if move.to_data else add_noise(known, draw(), move.s)
            # where, not a weighted sum: what the sampler made of a known pixel must not reach it even as 0 x infinity.
            there = torch.where(mask > 0.5, given, there)
            if visit + 1 < visits:
                x = _noised_back(there, move.s, move.t, draw())
        x = there
    return x


def _noised_back(x: Tensor, s: Level, t: Level, z: Tensor) -> Tensor:
    """The forward step from level s to the noisier t (Lugmayr et al. 2022, eq. 1, between any two levels)."""
    _, large = variances(t, s)
    return t.alpha / s.alpha * x + math.sqrt(max(large, 0.0)) * z
