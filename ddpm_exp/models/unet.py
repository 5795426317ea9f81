"""The U-Net of DDPM (Ho et al. 2020, appendix B), with an optional condition added to its time embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ddpm_exp.models.blocks import NORM_EPS, Block, Double, Halve, ResidualBlock, SelfAttention, start_at_zero, weights_like_ddpm
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.model import UNet


def sinusoids(c_noise: Tensor, width: int) -> Tensor:
    """Float32 [B, width]: sines, then cosines, of c_noise [B] at frequencies from 1 down to 1e-4 in equal ratios.

    Continuous in c_noise. An odd width ends in a column of zeros.
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device=c_noise.device, dtype=torch.float32) * (-math.log(10_000.0) / (half - 1)))
    angles = c_noise.float()[:, None] * frequencies[None]
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))


class TimeEmbedding(nn.Module):
    """Sinusoids through a two-layer network, in float32 even under autocast: half precision cannot tell late indices apart."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.width = width
        self.network = nn.Sequential(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))

    def forward(self, c_noise: Tensor) -> Tensor:
        """Float32 [B, out] from c_noise, float [B]."""
        with torch.autocast(c_noise.device.type, enabled=False):
            features: Tensor = self.network(sinusoids(c_noise, self.width))
        return features


class UNetNetwork(nn.Module):
    """Levels down, a middle, levels up that read what the way down left behind.

    `checkpointing` may be set at any time: activations of each block are then recomputed in the backward pass, with the
    same dropout, and results are the same bit for bit.
    """

    def __init__(self, spec: UNet, shape: Shape, condition: nn.Module | None) -> None:
        super().__init__()
        self.checkpointing = spec.checkpointing
        self.time = TimeEmbedding(spec.base_channels, spec.time_embedding)
        widths = [spec.base_channels * multiplier for multiplier in spec.multipliers]
        attends = [shape.height // 2**level in spec.attention_resolutions for level in range(len(widths))]

        def block(channels: int, out: int, attention: bool) -> Block:
            return Block(
                channels,
                out,
                spec.time_embedding,
                groups=spec.groups,
                dropout=spec.dropout,
                heads=spec.heads,
                attention=attention,
            )

        self.first = nn.Conv2d(shape.channels, widths[0], 3, padding=1)
        self.down, self.halvings = nn.ModuleList(), nn.ModuleList()
        skips, channels = [widths[0]], widths[0]
        for level, out in enumerate(widths):
            blocks = nn.ModuleList()
            for _ in range(spec.blocks_per_level):
                blocks.append(block(channels, out, attends[level]))
                channels = out
                skips.append(channels)
            self.down.append(blocks)
            if level < len(widths) - 1:
                self.halvings.append(Halve(channels))
                skips.append(channels)

        self.middle = nn.ModuleList([block(channels, channels, True), block(channels, channels, False)])

        self.up, self.doublings = nn.ModuleList(), nn.ModuleList()
        for level, out in reversed(list(enumerate(widths))):
            blocks = nn.ModuleList()
            for _ in range(spec.blocks_per_level + 1):
                blocks.append(block(channels + skips.pop(), out, attends[level]))
                channels = out
            self.up.append(blocks)
            if level > 0:
                self.doublings.append(Double(channels))

        self.last_norm = nn.GroupNorm(spec.groups, channels, eps=NORM_EPS)
        self.last = nn.Conv2d(channels, shape.channels, 3, padding=1)

        self.apply(weights_like_ddpm)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                start_at_zero(module.conv2)
            elif isinstance(module, SelfAttention):
                start_at_zero(module.merge)
        start_at_zero(self.last)
        # Set after `apply`: a condition's encoder keeps the initial weights that it chose.
        self.condition = condition

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """[B, C, H, W] from x [B, C, H, W], c_noise float [B] and the condition that the network was built for.

        Raises ValueError if a condition is missing or was not built for: it would be ignored.
        """
        embedding = self._embed(c_noise, condition)
        h = self.first(x)
        skips = [h]
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList in a ModuleList
                h = self._run(block, h, embedding)
                skips.append(h)
            if level < len(self.halvings):
                h = self.halvings[level](h)
                skips.append(h)
        for block in self.middle:
            h = self._run(block, h, embedding)
        for level, blocks in enumerate(self.up):
            for block in blocks:  # type: ignore[attr-defined]
                h = self._run(block, torch.cat([h, skips.pop()], dim=1), embedding)
            if level < len(self.doublings):
                h = self.doublings[level](h)
        result: Tensor = self.last(F.silu(self.last_norm(h)))
        return result

    def _embed(self, c_noise: Tensor, condition: Tensor | None) -> Tensor:
        """SiLU of the time embedding plus the condition's features, [B, time_embedding]."""
        if (condition is None) != (self.condition is None):
            raise ValueError(
                "this network was built without a condition" if self.condition is None else "this network needs its condition"
            )
        embedding: Tensor = self.time(c_noise)
        if self.condition is not None:
            embedding = embedding + self.condition(condition).float()
        return F.silu(embedding)

    def _run(self, block: nn.Module, x: Tensor, embedding: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(block, x, embedding, use_reentrant=False, preserve_rng_state=True)
            return recomputed
        result: Tensor = block(x, embedding)
        return result
