"""The best possible network for data whose pixels are independent normals: mathematics, known without training."""

from __future__ import annotations

import math

import torch
from torch import nn

from ddpm_exp.diffusion.levels import Coefficients
from ddpm_exp.diffusion.predictions import target
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.schedule import alpha_bars


class IdealDenoiser(nn.Module):
    """E[x0 | x] for x0 ~ N(mean, deviation^2), element by element, as `diffusion.prediction` asks for it.

    It reads the noise level from c_noise: between two whole indices the angle atan(sigma / alpha) runs in a line.
    """

    def __init__(self, diffusion: Diffusion, mean: float, deviation: float) -> None:
        super().__init__()
        self.prediction, self.mean, self.variance = diffusion.prediction, mean, deviation**2
        angles = [math.atan2(math.sqrt(1 - bar), math.sqrt(bar)) for bar in alpha_bars(diffusion)]
        self.register_buffer("angles", torch.tensor(angles, dtype=torch.float64))

    def forward(self, x: torch.Tensor, c_noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """The prediction at x [B, C, H, W] and c_noise [B]; any condition is ignored."""
        below = c_noise.long().clamp(max=len(self.angles) - 2)
        angle = torch.lerp(self.angles[below], self.angles[below + 1], c_noise.double() - below)
        alpha, sigma = (part.view(-1, 1, 1, 1) for part in (angle.cos(), angle.sin()))
        gain = alpha * self.variance / (alpha**2 * self.variance + sigma**2)
        x0 = self.mean + gain * (x - alpha * self.mean)
        return target(self.prediction, x0, (x - alpha * x0) / sigma, Coefficients(alpha.flatten(), sigma.flatten()))


def least_error(log_snr: float, deviation: float) -> float:
    """Mean squared error of that denoiser at a log-SNR: the posterior variance of x0 given x, per pixel."""
    alpha2, sigma2 = 1 / (1 + math.exp(-log_snr)), 1 / (1 + math.exp(log_snr))
    return deviation**2 * sigma2 / (alpha2 * deviation**2 + sigma2)
