"""The parts of the U-Net: residual block, attention, halving and doubling (Ho et al. 2020, appendix B, and what came after).

Activations may be in either memory format; none of the parts changes it.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_exp.models.attention import CrossAttention

NORM_EPS = 1e-6


class ResidualBlock(nn.Module):
    """Two convolutions, each after GroupNorm and SiLU; between them the block is told the embedding.

    `additive`: mapped and added (Ho et al. 2020). `adagn`: as scale and shift of the second norm's output, which it multiplies
    by 1 + scale (Dhariwal & Nichol 2021, section 4.3). `concatenated`: mapped, and laid beside the second convolution's input,
    the same at every pixel.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        embedding: int,
        *,
        groups: int,
        dropout: float,
        conditioning: Literal["additive", "adagn", "concatenated"] = "additive",
        skip_scaling: bool = False,
    ) -> None:
        super().__init__()
        self.conditioning = conditioning
        self.skip_scaling = skip_scaling
        self.norm1 = nn.GroupNorm(groups, channels, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.embedding = nn.Linear(embedding, 2 * out if conditioning == "adagn" else out)
        self.norm2 = nn.GroupNorm(groups, out, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(2 * out if conditioning == "concatenated" else out, out, 3, padding=1)
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, out, H, W] from x [B, channels, H, W] and SiLU of the embedding, [B, embedding]."""
        h = self.conv1(F.silu(self.norm1(x)))
        told = self.embedding(embedding)[:, :, None, None]
        if self.conditioning == "additive":
            h = self.dropout(F.silu(self.norm2(h + told)))
        elif self.conditioning == "adagn":
            scale, shift = told.chunk(2, dim=1)
            h = self.dropout(F.silu(self.norm2(h) * (1 + scale) + shift))
        else:
            h = self.dropout(F.silu(self.norm2(h)))
            h = torch.cat([h, F.silu(told).to(h.dtype).expand(-1, -1, *h.shape[2:])], dim=1)
        return joined(self.shortcut(x), self.conv2(h), scaled=self.skip_scaling)


class SelfAttention(nn.Module):
    """Every pixel looks at every pixel; added to the input."""

    def __init__(self, channels: int, *, heads: int, groups: int, skip_scaling: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.skip_scaling = skip_scaling
        self.norm = nn.GroupNorm(groups, channels, eps=NORM_EPS)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.merge = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] from [B, C, H, W]."""
        batch, channels, height, width = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        qkv = self.qkv(pixels).view(batch, height * width, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, height * width, channels)
        branch = self.merge(seen).transpose(1, 2).reshape(batch, channels, height, width)
        return joined(x, branch, scaled=self.skip_scaling)


class TokenAttention(nn.Module):
    """Every pixel looks at the condition's tokens; added to the input."""

    def __init__(self, channels: int, token_width: int, *, heads: int, groups: int, skip_scaling: bool = False) -> None:
        super().__init__()
        self.skip_scaling = skip_scaling
        self.norm = nn.GroupNorm(groups, channels, eps=NORM_EPS)
        self.look = CrossAttention(channels, token_width, heads)

    def forward(self, x: Tensor, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """[B, C, H, W] from [B, C, H, W] and tokens [B, T, token_width], of which `visible`, bool [B, T], are there."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        branch = self.look(pixels, tokens, visible).transpose(1, 2).reshape(x.shape)
        return joined(x, branch, scaled=self.skip_scaling)


class Block(nn.Module):
    """A residual block, followed by attention where the level attends: the unit of recomputation."""

    def __init__(
        self, residual: ResidualBlock, attention: SelfAttention | None = None, token_attention: TokenAttention | None = None
    ) -> None:
        super().__init__()
        self.residual = residual
        self.attention = attention
        self.token_attention = token_attention

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor | None = None, visible: Tensor | None = None) -> Tensor:
        """[B, out, H, W] from x [B, channels, H, W], SiLU of the embedding, [B, embedding], and the condition's tokens if any."""
        h: Tensor = self.residual(x, embedding)
        if self.attention is not None:
            h = self.attention(h)
        if self.token_attention is not None and tokens is not None:
            h = self.token_attention(h, tokens, visible)
        return h


class Halve(nn.Module):
    """Half the side by a convolution of stride 2, padded below and to the right alone, as DDPM does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H / 2, W / 2] from [B, C, H, W]."""
        result: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return result


class Average(nn.Module):
    """Half the side by the mean of each two by two pixels. Nothing to learn."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H / 2, W / 2] from [B, C, H, W]."""
        return F.avg_pool2d(x, 2)


class Double(nn.Module):
    """Twice the side by repeating pixels, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 2 H, 2 W] from [B, C, H, W]."""
        result: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result


class Repeat(nn.Module):
    """Twice the side by repeating pixels alone. Nothing to learn."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 2 H, 2 W] from [B, C, H, W]."""
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


def joined(x: Tensor, branch: Tensor, *, scaled: bool) -> Tensor:
    """x + branch, over the square root of 2 if `scaled`: the sum of two of variance 1 then has variance 1 (Song et al. 2021)."""
    total = x + branch
    return total * math.sqrt(0.5) if scaled else total
