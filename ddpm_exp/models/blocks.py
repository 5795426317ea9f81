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
from ddpm_exp.models.dropout import KeyedDropout
from ddpm_exp.models.fused import fused_join
from ddpm_exp.models.group_norm import Norm, without_bias

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
        self.norm1 = Norm(groups, channels, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.embedding = nn.Linear(embedding, 2 * out if conditioning == "adagn" else out)
        self.norm2 = Norm(groups, out, eps=NORM_EPS)
        self.dropout = KeyedDropout(dropout)
        self.conv2 = nn.Conv2d(2 * out if conditioning == "concatenated" else out, out, 3, padding=1)
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None = None) -> Tensor:
        """[B, out, H, W] from x [B, channels, H, W], or x and `skip` that together have so many, and SiLU of the
        embedding, [B, embedding]."""
        if self.norm1.fused:
            return self._fused(x, embedding, skip)
        h, whole = self.norm1.with_input(x, skip, silu=True)
        h = self._second(self.conv1(h), self.embedding(embedding), None)
        return joined(self.shortcut(whole), self.conv2(h), scaled=self.skip_scaling)

    def _second(self, h: Tensor, told: Tensor, bias: Tensor | None) -> Tensor:
        """The second convolution's input, from the first's output, which lacks its `bias` if that is given."""
        add = None if bias is None else bias.expand(len(h), -1)
        if self.conditioning == "additive":
            add = told if add is None else told + add
            return self.norm2.told(h, add=add, scale=None, shift=None, dropout=self.dropout)
        if self.conditioning == "adagn":
            scale, shift = told.chunk(2, dim=1)
            return self.norm2.told(h, add=add, scale=scale, shift=shift, dropout=self.dropout)
        h = self.norm2.told(h, add=add, scale=None, shift=None, dropout=self.dropout)
        return torch.cat([h, F.silu(told).to(h.dtype)[:, :, None, None].expand(-1, -1, *h.shape[2:])], dim=1)

    def _fused(self, x: Tensor, embedding: Tensor, skip: Tensor | None) -> Tensor:
        """The same with biases added by kernels that read the activation anyway."""
        h, whole = self.norm1.with_input(x, skip, silu=True)
        h = self._second(without_bias(self.conv1, h), self.embedding(embedding), self.conv1.bias)
        bias = self.conv2.bias
        assert bias is not None
        if isinstance(self.shortcut, nn.Conv2d) and self.shortcut.bias is not None:
            whole, bias = without_bias(self.shortcut, whole), bias + self.shortcut.bias
        return fused_join(whole, without_bias(self.conv2, h), bias, scaled=self.skip_scaling)


class SelfAttention(nn.Module):
    """Every pixel looks at every pixel; added to the input."""

    def __init__(self, channels: int, *, heads: int, groups: int, skip_scaling: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.skip_scaling = skip_scaling
        self.norm = Norm(groups, channels, eps=NORM_EPS)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.merge = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] from [B, C, H, W]."""
        batch, channels, height, width = x.shape
        h, x = self.norm.with_input(x)
        pixels = h.flatten(2).transpose(1, 2)
        # Unbound in the middle: the gradients of the three are then put together where they belong, in one copy.
        qkv = self.qkv(pixels).view(batch, height * width, 3, self.heads, channels // self.heads)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, height * width, channels)
        branch = self.merge(seen).transpose(1, 2).reshape(batch, channels, height, width)
        return joined(x, branch, scaled=self.skip_scaling)


class TokenAttention(nn.Module):
    """Every pixel looks at the condition's tokens; added to the input."""

    def __init__(self, channels: int, token_width: int, *, heads: int, groups: int, skip_scaling: bool = False) -> None:
        super().__init__()
        self.skip_scaling = skip_scaling
        self.norm = Norm(groups, channels, eps=NORM_EPS)
        self.look = CrossAttention(channels, token_width, heads)

    def forward(self, x: Tensor, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """[B, C, H, W] from [B, C, H, W] and tokens [B, T, token_width], of which `visible`, bool [B, T], are there."""
        h, x = self.norm.with_input(x)
        pixels = h.flatten(2).transpose(1, 2)
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

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        tokens: Tensor | None = None,
        visible: Tensor | None = None,
        skip: Tensor | None = None,
    ) -> Tensor:
        """[B, out, H, W] from x [B, channels, H, W] (with `skip`), SiLU of the embedding, [B, embedding], and the condition's
        tokens if any."""
        h: Tensor = self.residual(x, embedding, skip)
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
        result: Tensor = self.conv(doubled(x))
        return result


class Repeat(nn.Module):
    """Twice the side by repeating pixels alone. Nothing to learn."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 2 H, 2 W] from [B, C, H, W]."""
        return doubled(x)


def doubled(x: Tensor) -> Tensor:
    """Each pixel four times, [B, C, 2 H, 2 W], in x's own type: autocast would copy pixels as float32."""
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


def joined(x: Tensor, branch: Tensor, *, scaled: bool) -> Tensor:
    """x + branch, over the square root of 2 if `scaled`: the sum of two of variance 1 then has variance 1 (Song et al. 2021)."""
    total = x + branch
    return total * math.sqrt(0.5) if scaled else total
