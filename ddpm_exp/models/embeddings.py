"""What networks are told of the noise level: features of c_noise, then a two-layer network. In float32 whatever autocast says."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_exp.spec.model import Network

FOURIER_SCALE = 16.0
"""Standard deviation of the random frequencies, for c_noise = ln(sigma) / 4 (Song et al. 2021, appendix C; EDM's table 7)."""


def sinusoids(c_noise: Tensor, width: int) -> Tensor:
    """Float32 [B, width]: sines, then cosines, of c_noise [B] at frequencies from 1 down to 1e-4 in equal ratios.

    Continuous in c_noise. An odd width ends in a column of zeros.
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device=c_noise.device, dtype=torch.float32) * (-math.log(10_000.0) / (half - 1)))
    angles = c_noise.float()[:, None] * frequencies[None]
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))


class LearnedFeatures(nn.Module):
    """A learnt vector per whole time; between two of them, their mix; outside of the table, its nearest end."""

    def __init__(self, timesteps: int, width: int) -> None:
        super().__init__()
        if timesteps < 1:
            raise ValueError("learned time features need a schedule on whole times: a table of timesteps >= 1 rows")
        self.table = nn.Embedding(timesteps, width)

    def forward(self, c_noise: Tensor) -> Tensor:
        """Float32 [B, width] from c_noise, float [B], an index of 0..timesteps - 1."""
        last = self.table.num_embeddings - 1
        place = c_noise.float().clamp(0.0, float(last))
        below = place.floor()
        low = below.long()
        rows: Tensor = self.table(low).float()
        above: Tensor = self.table((low + 1).clamp(max=last)).float()
        return torch.lerp(rows, above, (place - below)[:, None])


class FourierFeatures(nn.Module):
    """Cosines and sines at random frequencies that are drawn once and never trained (Song et al. 2021; Tancik et al. 2020)."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("frequencies", torch.randn(width // 2) * FOURIER_SCALE)

    def forward(self, c_noise: Tensor) -> Tensor:
        """Float32 [B, width] from c_noise, float [B]; an odd width ends in a column of zeros."""
        angles = (2 * math.pi) * c_noise.float()[:, None] * self.frequencies[None].float()
        return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, self.width % 2))


class TimeEmbedding(nn.Module):
    """`width` features of the noise level through a two-layer network, in float32 even under autocast: half precision cannot
    tell late indices apart.

    `timesteps` is the number of whole times, for `time_features = "learned"`.
    """

    def __init__(self, spec: Network, width: int, out: int, timesteps: int) -> None:
        super().__init__()
        self.width = width
        self.network = nn.Sequential(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))
        self.features: nn.Module | None = None
        if spec.time_features == "learned":
            self.features = LearnedFeatures(timesteps, width)
        elif spec.time_features == "fourier":
            self.features = FourierFeatures(width)

    def forward(self, c_noise: Tensor) -> Tensor:
        """Float32 [B, out] from c_noise, float [B]."""
        with torch.autocast(c_noise.device.type, enabled=False):
            features = sinusoids(c_noise, self.width) if self.features is None else self.features(c_noise)
            result: Tensor = self.network(features)
        return result
