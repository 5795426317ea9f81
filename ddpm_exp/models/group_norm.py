"""GroupNorm with what networks do around it, op by op or by the fused kernels. The first is the reference for the second."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_exp.models.dropout import KeyedDropout
from ddpm_exp.models.fused import Job, fused_norm


class Norm(nn.GroupNorm):
    """GroupNorm (Wu & He 2018) of images [B, C, H, W], on request with SiLU and dropout after it.

    `fused`, which `fuse` sets: by kernels that keep neither float32 copies nor masks, and compute in float32 whatever the input's
    type, which is the output's; op by op, autocast would make it float32.
    """

    fused = False

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__(groups, channels, eps=eps)

    def forward(self, x: Tensor, *, silu: bool = False) -> Tensor:
        """[B, C, H, W] from x [B, C, H, W]."""
        if self.fused:
            result: Tensor = fused_norm(x, self.weight, self.bias, Job(self.num_groups, self.eps, silu))
            return result
        h = super().forward(x)
        return F.silu(h) if silu else h

    def with_input(self, x: Tensor, skip: Tensor | None = None, *, silu: bool = False) -> tuple[Tensor, Tensor]:
        """The norm of x, or of x and then `skip` along the channels, and what was normalized, as one tensor."""
        if self.fused:
            job = Job(self.num_groups, self.eps, silu, through=True)
            pair: tuple[Tensor, Tensor] = fused_norm(x, self.weight, self.bias, job, skip=skip)
            return pair
        whole = x if skip is None else torch.cat([x, skip], dim=1)
        return self(whole, silu=silu), whole

    def told(self, x: Tensor, *, add: Tensor | None, scale: Tensor | None, shift: Tensor | None, dropout: KeyedDropout) -> Tensor:
        """dropout(silu(norm(x + add) (1 + scale) + shift)), each [B, C] or None."""
        if self.fused:
            weight: Tensor = self.weight
            bias: Tensor = self.bias
            if scale is not None and shift is not None:
                weight, bias = weight * (1 + scale), bias * (1 + scale) + shift
            words = dropout.keys.words
            drop = dropout.p if dropout.active and words is not None else 0.0
            job = Job(self.num_groups, self.eps, silu=True, drop=drop, layer=dropout.layer)
            result: Tensor = fused_norm(x, weight, bias, job, told=add, words=words if drop else None)
            return result if drop else dropout(result)
        h = super().forward(x if add is None else x + add[:, :, None, None])
        if scale is not None and shift is not None:
            h = h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
        dropped: Tensor = dropout(F.silu(h))
        return dropped


def fuse(network: nn.Module, on: bool) -> None:
    """Have every `Norm` in `network` computed by the fused kernels, or op by op."""
    for module in network.modules():
        if isinstance(module, Norm):
            module.fused = on


def without_bias(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution alone, for a caller that adds its bias where it costs nothing."""
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
