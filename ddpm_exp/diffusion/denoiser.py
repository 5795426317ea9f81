"""From a network to what a sampler sees: (x, level) -> (x0, eps), guided, calibrated and kept in range. Takes no steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.diffusion.calibration import Calibration
from ddpm_exp.diffusion.guidance import Ask, guided, rescaled
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.network import Condition, Network, Output, asked
from ddpm_exp.diffusion.predictions import to_eps, to_x0
from ddpm_exp.diffusion.step import Denoise, Estimate
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling


class Range(NamedTuple):
    """The smallest and the largest value of clean examples, on the device, of shapes that broadcast to x."""

    low: Tensor | float
    high: Tensor | float


IMAGES = Range(-1.0, 1.0)


def denoiser(
    diffusion: Diffusion,
    sampling: Sampling,
    network: Network,
    *,
    condition: Condition,
    null: Condition,
    guide: Network | None = None,
    within: Range | None = IMAGES,
    calibration: Calibration | None = None,
) -> Denoise:
    """`network` as (x, level) -> (x0, eps) in float32, for a batch with these conditions.

    `condition`, `null`: what the network takes, each tensor [B, ...], or None. `guide`: the network that guides in place of
    the unconditional one; it must be trained under the same `diffusion`. `calibration`: what `sampling.calibrate` asks for.
    `within`: where x0 is kept, as `sampling.clip_x0` and `dynamic_threshold` (images alone) say; None: nowhere. Both come after
    guidance and its rescaling, and eps is derived again, so that x = alpha x0 + sigma eps holds after all.
    """
    answer = guided(
        _asking(diffusion, network), sampling, condition, null, guide=None if guide is None else _asking(diffusion, guide)
    )

    def denoise(x: Tensor, level: Level) -> Estimate:
        (value, variance), conditional = answer(x, level)
        x0 = before = to_x0(diffusion.prediction, value, x, level)
        if conditional is not None:
            x0 = rescaled(x0, to_x0(diffusion.prediction, conditional, x, level), sampling.guidance_rescale)
        if calibration is not None:
            x0 = calibration(x0, x, level)
        if within is not None:
            x0 = kept_in_range(sampling, x0, within)
        eps = to_eps(diffusion.prediction, value, x, level) if x0 is before else to_eps("x0", x0, x, level)
        return Estimate(x0, eps, variance)

    return denoise


def kept_in_range(sampling: Sampling, x0: Tensor, within: Range = IMAGES) -> Tensor:
    """`x0` [B, *shape] inside the range, or itself where `sampling` asks for nothing.

    Dynamic thresholding (Saharia et al. 2022, section 2.3): with s the larger of 1 and the quantile of |x0| in an image,
    clamped to [-s, s] and divided by s.
    """
    if sampling.dynamic_threshold is not None:
        bound = _quantile(x0.abs().flatten(1), sampling.dynamic_threshold).clamp(min=1.0)
        bound = bound.view(-1, *(1,) * (x0.dim() - 1))
        return torch.minimum(torch.maximum(x0, -bound), bound) / bound
    if not sampling.clip_x0:
        return x0
    low, high = within
    if isinstance(low, Tensor) and isinstance(high, Tensor):
        return x0.clamp(low.to(x0.dtype), high.to(x0.dtype))
    return x0.clamp(float(low), float(high))


def _quantile(values: Tensor, share: float) -> Tensor:
    """[B] from [B, N], linear between neighbours. (torch.quantile takes at most 2^24 values.)"""
    place = share * (values.shape[1] - 1)
    below = int(place)
    ordered = values.sort(dim=1).values
    return torch.lerp(ordered[:, below], ordered[:, min(below + 1, values.shape[1] - 1)], place - below)


def _asking(diffusion: Diffusion, network: Network) -> Ask:
    def ask(x: Tensor, level: Level, condition: Condition) -> Output:
        return asked(diffusion, network, x, level, x.new_full((len(x),), level.c_noise), condition)

    return ask
