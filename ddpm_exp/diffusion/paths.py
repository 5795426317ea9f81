"""The path from data to noise: alpha and sigma at every time. No network, no noise; a sampler's times are in `grids`.

Time 0 is exact data (alpha = 1, sigma = 0), `last` the noisiest. Whole times 0..T (here) or real times in [0, 1]
(`continuous`). A network's index k in 0..T-1 is time k + 1.
"""

from __future__ import annotations

import bisect
import math
from typing import Protocol

import torch
from torch import Tensor

from ddpm_exp.diffusion.continuous import continuous_path
from ddpm_exp.diffusion.levels import DATA, Coefficients, Level
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.schedule import alpha_bars, covered_log_snr

__all__ = ["DATA", "Coefficients", "DiscretePath", "Level", "Path", "build_path"]


class Path(Protocol):
    """What objectives and samplers know of a path."""

    @property
    def discrete(self) -> bool:
        """Whether times are whole numbers."""

    @property
    def timesteps(self) -> int:
        """T; 0 on real times."""

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise that a sampler starts from."""

    @property
    def last(self) -> float:
        """The noisiest time: T, or 1.0."""

    @property
    def first(self) -> float:
        """The smallest time that a network is trained on and asked about: 1, or a small real number."""

    def at(self, t: Tensor) -> Coefficients:
        """Float32 coefficients at times `t`: int64 [B] in 0..T, or floating [B] in [0, 1]; on the path's device."""

    def exact(self, t: Tensor) -> Coefficients:
        """The same in float64, of which `at` is the rounding: for quotients such as loss weights."""

    def c_noise(self, t: Tensor) -> Tensor:
        """What the network is told about times `t` > 0, float32 [B]."""

    def level(self, t: float) -> Level:
        """The level at one time, as numbers; `DATA` at time 0. Raises ValueError for a time that the path does not have."""

    def at_log_snr(self, log_snr: float) -> Level:
        """The level with ln(alpha^2 / sigma^2) = `log_snr`, alpha and sigma exact.

        Raises ValueError outside `spec.schedule.covered_log_snr`.
        """


class DiscretePath:
    """A variance-preserving path on times 0..T. Build it with `build_path`.

    Everything is computed in float64; `at` rounds to float32 once, as the last operation. (In bfloat16, sigma would
    be exactly 0 for the first ten times of the linear schedule.)
    """

    discrete = True
    prior_std = 1.0
    first = 1.0

    def __init__(self, spec: Diffusion, device: torch.device) -> None:
        bars = (1.0, *alpha_bars(spec))
        self.timesteps = spec.timesteps
        self.last = float(spec.timesteps)
        self._covered = covered_log_snr(spec)
        self._alphas = [math.sqrt(bar) for bar in bars]
        self._sigmas = [math.sqrt(1.0 - bar) for bar in bars]
        self._angles = [math.atan2(sigma, alpha) for alpha, sigma in zip(self._alphas, self._sigmas, strict=True)]
        self._exact = torch.tensor([self._alphas, self._sigmas], dtype=torch.float64)
        self._table = self._exact.to(torch.float32).to(device)
        self._exact = self._exact.to(device)

    def at(self, t: Tensor) -> Coefficients:
        """Coefficients at times `t` (int64 [B], 0..T, on the path's device)."""
        alpha, sigma = self._table[:, t].unbind(0)
        return Coefficients(alpha, sigma)

    def exact(self, t: Tensor) -> Coefficients:
        """The same in float64."""
        alpha, sigma = self._exact[:, t].unbind(0)
        return Coefficients(alpha, sigma)

    def level(self, t: float) -> Level:
        """The level at one whole time in 0..T; `DATA` at time 0."""
        if t != int(t) or not 0 <= t <= self.timesteps:
            raise ValueError(f"the path has the whole times 0 to {self.timesteps}, not {t}")
        return Level(float(t), self._alphas[int(t)], self._sigmas[int(t)], t - 1.0)

    def c_noise(self, t: Tensor) -> Tensor:
        """What the network is told about times `t` (int64 [B], 1..T): the index t - 1, float32 [B]."""
        return (t - 1).float()

    def at_log_snr(self, log_snr: float) -> Level:
        """The noise level with ln(alpha^2 / sigma^2) = `log_snr`, which need not be one of the path's times.

        alpha and sigma are exact. The network index lies between those of the neighbouring times, in proportion to the
        angle atan(sigma / alpha), which is monotone in the log-SNR and finite even at zero terminal SNR.
        Raises ValueError outside the log-SNRs of times 1..T.
        """
        low, high = self._covered
        if not low <= log_snr <= high:
            raise ValueError(f"the path covers log-SNR {low:.4f} to {high:.4f}, not {log_snr}")
        if log_snr == -math.inf:
            return self.level(self.timesteps)
        alpha, sigma = math.sqrt(1.0 / (1.0 + math.exp(-log_snr))), math.sqrt(1.0 / (1.0 + math.exp(log_snr)))
        angle = math.atan2(sigma, alpha)
        above = min(max(bisect.bisect_left(self._angles, angle), 2), self.timesteps)
        first, last = self._angles[above - 1], self._angles[above]
        share = min(max((angle - first) / (last - first), 0.0), 1.0)
        return Level(above - 1 + share, alpha, sigma, above - 2 + share)


def build_path(spec: Diffusion, device: torch.device | str = "cpu") -> Path:
    """The path that `spec` describes, its tables on `device`."""
    return DiscretePath(spec, torch.device(device)) if spec.discrete else continuous_path(spec)
