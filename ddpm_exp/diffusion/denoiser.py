"""From a network to what a sampler sees: (x, level) -> (x0, eps), guided and kept in range. Takes no steps."""

from __future__ import annotations

import torch
from torch import Tensor

from ddpm_exp.diffusion.guidance import Ask, guided, rescaled
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.network import Condition, Network, Output, asked
from ddpm_exp.diffusion.predictions import to_eps, to_x0
from ddpm_exp.diffusion.step import Denoise, Estimate
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling


def denoiser(
    diffusion: Diffusion,
    sampling: Sampling,
    network: Network,
    *,
    condition: Condition,
    null: Condition,
    guide: Network | None = None,
    clamp: bool = True,
) -> Denoise:
    """`network` as (x, level) -> (x0, eps) in float32, for a batch with these conditions.

    `condition`, `null`: what the network takes, each tensor [B, ...], or None. `guide`: the network that guides in place of
    the unconditional one; it must be trained under the same `diffusion`. `clamp`: whether x0 is kept in [-1, 1], as
    `sampling.clip_x0` and `dynamic_threshold` say; for images only. The clamp comes after guidance and its rescaling, and
    eps is derived again, so that x = alpha x0 + sigma eps holds after both.
    """
    answer = guided(
        _asking(diffusion, network), sampling, condition, null, guide=None if guide is None else _asking(diffusion, guide)
    )

    def denoise(x: Tensor, level: Level) -> Estimate:
        (value, variance), conditional = answer(x, level)
        x0 = before = to_x0(diffusion.prediction, value, x, level)
        if conditional is not None:
            x0 = rescaled(x0, to_x0(diffusion.prediction, conditional, x, level), sampling.guidance_rescale)
        if clamp:
            x0 = kept_in_range(sampling, x0)
        eps = to_eps(diffusion.prediction, value, x, level) if x0 is before else to_eps("x0", x0, x, level)
        return Estimate(x0, eps, variance)

    return denoise


def kept_in_range(sampling: Sampling, x0: Tensor) -> Tensor:
    """`x0` [B, *shape] in [-1, 1], or itself where `sampling` asks for nothing.

    Dynamic thresholding (Saharia et al. 2022, section 2.3): with s the larger of 1 and the quantile of |x0| in an image,
    clamped to [-s, s] and divided by s.
    """
    if sampling.dynamic_threshold is not None:
        bound = _quantile(x0.abs().flatten(1), sampling.dynamic_threshold).clamp(min=1.0)
        bound = bound.view(-1, *(1,) * (x0.dim() - 1))
        return torch.minimum(torch.maximum(x0, -bound), bound) / bound
    return x0.clamp(-1.0, 1.0) if sampling.clip_x0 else x0


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
