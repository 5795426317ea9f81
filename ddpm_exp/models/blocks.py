"""The parts of the U-Net: residual block, self-attention, halving and doubling (Ho et al. 2020, appendix B).

Activations may be in either memory format; none of the parts changes it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-6


def weights_like_ddpm(module: nn.Module) -> None:
    """DDPM's initial weights for one convolution or linear map: Glorot-uniform, biases 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def start_at_zero(module: nn.Conv2d | nn.Linear) -> None:
    """Make a branch's last map 0, so that the branch adds nothing before training."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class ResidualBlock(nn.Module):
    """Two convolutions, each after GroupNorm and SiLU; the embedding is added between them."""

    def __init__(self, channels: int, out: int, embedding: int, *, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.embedding = nn.Linear(embedding, out)
        self.norm2 = nn.GroupNorm(groups, out, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, out, H, W] from x [B, channels, H, W] and SiLU of the time embedding, [B, embedding]."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.embedding(embedding)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        result: Tensor = self.shortcut(x) + h
        return result


class SelfAttention(nn.Module):
    """Every pixel looks at every pixel; added to the input."""

    def __init__(self, channels: int, *, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
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
        result: Tensor = x + self.merge(seen).transpose(1, 2).reshape(batch, channels, height, width)
        return result


class Block(nn.Module):
    """A residual block, followed by self-attention where the level attends: the unit of recomputation."""

    def __init__(
        self, channels: int, out: int, embedding: int, *, groups: int, dropout: float, heads: int, attention: bool
    ) -> None:
        super().__init__()
        self.residual = ResidualBlock(channels, out, embedding, groups=groups, dropout=dropout)
        self.attention = SelfAttention(out, heads=heads, groups=groups) if attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, out, H, W] from x [B, channels, H, W] and SiLU of the time embedding, [B, embedding]."""
        h: Tensor = self.residual(x, embedding)
        return h if self.attention is None else self.attention(h)


class Halve(nn.Module):
    """Half the side by a convolution of stride 2, padded below and to the right alone, as DDPM does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H / 2, W / 2] from [B, C, H, W]."""
        result: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return result


class Double(nn.Module):
    """Twice the side by repeating pixels, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 2 H, 2 W] from [B, C, H, W]."""
        result: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result
