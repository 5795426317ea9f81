"""Classifier-free guidance: one network, asked with and without its condition. Knows no times and no samplers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_exp.diffusion.predictions import full_precision

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(x [B, C, H, W], c_noise [B], condition [B] or [B, L] or None) -> [B, C, H, W]."""


def guided(network: Network, guidance_scale: float, null: Tensor | None) -> Network:
    """`network` with its condition pushed by `guidance_scale` w: unconditional + w (conditional - unconditional).

    w = 1 is `network` itself and w = 0 the unconditional model, each at the price of one evaluation; any other w doubles
    the batch. The literature's other convention is w - 1 (Ho & Salimans 2022, eq. 6). Predictions are affine in x0, so
    that guiding any of them guides x0 by the same amount.
    `null`: the condition that says nothing, of the condition's shape; needed unless w = 1. Raises ValueError without it.
    """
    if guidance_scale == 1.0:
        return network
    if null is None:
        raise ValueError(f"guidance_scale = {guidance_scale} needs a null condition; only 1 does without")
    nothing = null

    def unconditional(x: Tensor, c_noise: Tensor, condition: Tensor | None) -> Tensor:
        return network(x, c_noise, nothing)

    def both(x: Tensor, c_noise: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            raise ValueError("guidance needs the condition to guide towards")
        output = network(torch.cat([x, x]), torch.cat([c_noise, c_noise]), torch.cat([condition, nothing]))
        towards, away = full_precision(output).chunk(2)
        return away + guidance_scale * (towards - away)

    return unconditional if guidance_scale == 0.0 else both
