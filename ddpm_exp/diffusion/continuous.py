"""Paths on real times in [0, 1], with their derivatives in time and their exact inverses. See `paths` for what a path is.

Each curve is one float64 formula of tensors, and float32 is rounded to once, last.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ddpm_exp.diffusion.levels import DATA, Coefficients, Level
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.schedule import FIRST_TIME, covered_log_snr


class ContinuousPath(ABC):
    """A path on [0, 1]. Build it with `paths.build_path`; it keeps no tensors and works on any device."""

    discrete = False
    timesteps = 0
    last = 1.0
    prior_std = 1.0

    def __init__(self, spec: Diffusion) -> None:
        self.first = FIRST_TIME[spec.schedule]
        self._covered = covered_log_snr(spec)

    @abstractmethod
    def exact(self, t: Tensor) -> Coefficients:
        """alpha, sigma and their derivatives in time, float64 [B], at times `t` (floating [B] in [0, 1])."""

    @abstractmethod
    def time_at(self, log_ratio: Tensor) -> Tensor:
        """The time at which ln(sigma / alpha) = `log_ratio` (any shape), float64; the inverse of the path. Not clamped."""

    def at(self, t: Tensor) -> Coefficients:
        """`exact`, rounded to float32."""
        alpha, sigma, d_alpha, d_sigma = self.exact(t)
        assert d_alpha is not None and d_sigma is not None
        return Coefficients(alpha.float(), sigma.float(), d_alpha.float(), d_sigma.float())

    def c_noise(self, t: Tensor) -> Tensor:
        """1000 t, float32 [B]: the range that networks for whole times are made for."""
        return 1000.0 * t.float()

    def level(self, t: float) -> Level:
        """The level at one time in [0, 1]; `DATA` at time 0, where derivatives may be infinite."""
        if not 0.0 <= t <= 1.0:
            raise ValueError(f"the path has the times 0 to 1, not {t}")
        if t == 0.0:
            return DATA
        time = torch.tensor([t], dtype=torch.float64)
        alpha, sigma, d_alpha, d_sigma = (float(c) for c in self.exact(time) if c is not None)
        return Level(t, alpha, sigma, self._told(t, sigma), d_alpha, d_sigma)

    def at_log_snr(self, log_snr: float) -> Level:
        """The level with ln(alpha^2 / sigma^2) = `log_snr`. Raises ValueError outside the log-SNRs of `first` to 1."""
        low, high = self._covered
        if not low <= log_snr <= high:
            raise ValueError(f"the path covers log-SNR {low:.4f} to {high:.4f}, not {log_snr}")
        t = float(self.time_at(torch.tensor(-log_snr / 2.0, dtype=torch.float64)))
        level = self.level(min(max(t, self.first), self.last))
        if log_snr < -1000.0:
            return level  # Pure noise to any precision, and its ratio beyond float64.
        # Near noise, a float64 time is too coarse for alpha; the ratio itself is not.
        alpha, sigma = self._at_ratio(math.exp(-log_snr / 2.0))
        return level._replace(alpha=alpha, sigma=sigma)

    def _at_ratio(self, ratio: float) -> tuple[float, float]:
        """alpha and sigma with sigma / alpha = `ratio` and alpha^2 + sigma^2 = 1."""
        return 1.0 / math.hypot(1.0, ratio), ratio / math.hypot(1.0, ratio)

    def _told(self, t: float, sigma: float) -> float:
        return 1000.0 * t


class VPLinear(ContinuousPath):
    """The variance-preserving SDE whose rate of noise grows linearly (Song et al. 2021, eq. 33):
    ln alpha = -t^2 (b1 - b0) / 4 - t b0 / 2."""

    def __init__(self, spec: Diffusion) -> None:
        super().__init__(spec)
        self._start, self._rise = spec.beta_min, spec.beta_max - spec.beta_min

    def exact(self, t: Tensor) -> Coefficients:
        """See the base class. The derivative of sigma is infinite at time 0."""
        t = t.double()
        log_alpha = -(t**2) * self._rise / 4 - t * self._start / 2
        # 1 - alpha^2 would lose half of the digits near the data.
        alpha, sigma = log_alpha.exp(), (-(2 * log_alpha).expm1()).sqrt()
        rate = self._start + t * self._rise
        return Coefficients(alpha, sigma, -alpha * rate / 2, alpha**2 * rate / (2 * sigma))

    def time_at(self, log_ratio: Tensor) -> Tensor:
        """The positive root of the quadratic in t, in the form that subtracts nothing."""
        spent = softplus(2 * log_ratio.double(), threshold=700.0) / 2  # -ln alpha
        return 2 * spent / (self._start / 2 + (self._start**2 / 4 + self._rise * spent).sqrt())


class VPCosine(ContinuousPath):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2): the cosine schedule without offset, to pure noise."""

    def exact(self, t: Tensor) -> Coefficients:
        """See the base class."""
        t, turn = t.double(), math.pi / 2
        # As a sine of what is left, alpha is exactly 0 at time 1; cos(pi / 2) is 6e-17.
        alpha, sigma = (turn * (1 - t)).sin(), (turn * t).sin()
        return Coefficients(alpha, sigma, -turn * sigma, turn * alpha)

    def time_at(self, log_ratio: Tensor) -> Tensor:
        """2 / pi atan(sigma / alpha)."""
        return log_ratio.double().exp().atan() * (2 / math.pi)


class RectifiedFlow(ContinuousPath):
    """alpha = 1 - t, sigma = t: a straight line (Liu et al. 2022; Lipman et al. 2023). Not variance-preserving."""

    def exact(self, t: Tensor) -> Coefficients:
        """See the base class."""
        t = t.double()
        return Coefficients(1 - t, t, -torch.ones_like(t), torch.ones_like(t))

    def time_at(self, log_ratio: Tensor) -> Tensor:
        """t / (1 - t) = sigma / alpha."""
        return log_ratio.double().sigmoid()

    def _at_ratio(self, ratio: float) -> tuple[float, float]:
        return 1.0 / (1.0 + ratio), ratio / (1.0 + ratio)


class VarianceExploding(ContinuousPath):
    """alpha = 1, sigma = s_min (s_max / s_min)^t for t > 0, and exact data at time 0 (Song et al. 2021, eq. 31)."""

    def __init__(self, spec: Diffusion) -> None:
        super().__init__(spec)
        self.prior_std = spec.sigma_max
        self._log_min, self._growth = math.log(spec.sigma_min), math.log(spec.sigma_max / spec.sigma_min)

    def exact(self, t: Tensor) -> Coefficients:
        """See the base class. Between time 0 and any other, sigma jumps by `sigma_min`."""
        t = t.double()
        sigma = torch.where(t > 0, (self._log_min + t * self._growth).exp(), 0.0)
        return Coefficients(torch.ones_like(t), sigma, torch.zeros_like(t), self._growth * sigma)

    def time_at(self, log_ratio: Tensor) -> Tensor:
        """The share of the way from ln s_min to ln s_max."""
        return (log_ratio.double() - self._log_min) / self._growth

    def _at_ratio(self, ratio: float) -> tuple[float, float]:
        return 1.0, ratio

    def c_noise(self, t: Tensor) -> Tensor:
        """ln(sigma) / 4, float32 [B] (Karras et al. 2022, table 1)."""
        return ((self._log_min + t.double() * self._growth) / 4).float()

    def _told(self, t: float, sigma: float) -> float:
        return math.log(sigma) / 4


_PATHS: dict[str, type[ContinuousPath]] = {
    "vp-linear": VPLinear,
    "vp-cosine": VPCosine,
    "rectified-flow": RectifiedFlow,
    "ve": VarianceExploding,
}


def continuous_path(spec: Diffusion) -> ContinuousPath:
    """The path of a schedule on real times."""
    return _PATHS[spec.schedule](spec)
