"""The path from data to noise: alpha and sigma at every time, and the times that a sampler visits. No network, no noise.

Time 0 is exact data (alpha = 1, sigma = 0), time T the noisiest. A network's index k in 0..T-1 is time k + 1.
"""

from __future__ import annotations

import bisect
import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.schedule import alpha_bars, covered_log_snr


class Coefficients(NamedTuple):
    """x = alpha x0 + sigma eps; both float32 [B]."""

    alpha: Tensor
    sigma: Tensor


class Level(NamedTuple):
    """One noise level in float64, and the network input that belongs to it."""

    alpha: float
    sigma: float
    c_noise: float


class DiscretePath:
    """A variance-preserving path on times 0..T. Build it with `build_path`.

    Everything is computed in float64; `at` rounds to float32 once, as the last operation. (In bfloat16, sigma would
    be exactly 0 for the first ten times of the linear schedule.)
    """

    def __init__(self, spec: Diffusion, device: torch.device) -> None:
        bars = (1.0, *alpha_bars(spec))
        self.timesteps = spec.timesteps
        self._covered = covered_log_snr(spec)
        self._alphas = [math.sqrt(bar) for bar in bars]
        self._sigmas = [math.sqrt(1.0 - bar) for bar in bars]
        self._angles = [math.atan2(sigma, alpha) for alpha, sigma in zip(self._alphas, self._sigmas, strict=True)]
        self._table = torch.tensor([self._alphas, self._sigmas], dtype=torch.float64).to(torch.float32).to(device)

    def at(self, t: Tensor) -> Coefficients:
        """Coefficients at times `t` (int64 [B], 0..T, on the path's device)."""
        alpha, sigma = self._table[:, t].unbind(0)
        return Coefficients(alpha, sigma)

    def level(self, t: int) -> Level:
        """Coefficients in float64 at one time in 0..T; `c_noise` is -1 at time 0, which no network is asked about."""
        return Level(self._alphas[t], self._sigmas[t], t - 1.0)

    def c_noise(self, t: Tensor) -> Tensor:
        """What the network is told about times `t` (int64 [B], 1..T): the index t - 1, float32 [B]."""
        return (t - 1).float()

    def at_log_snr(self, level: float) -> Level:
        """The noise level with ln(alpha^2 / sigma^2) = `level`, which need not be one of the path's times.

        alpha and sigma are exact. The network index lies between those of the neighbouring times, in proportion to the
        angle atan(sigma / alpha), which is monotone in the log-SNR and finite even at zero terminal SNR.
        Raises ValueError outside the log-SNRs of times 1..T.
        """
        low, high = self._covered
        if not low <= level <= high:
            raise ValueError(f"the path covers log-SNR {low:.4f} to {high:.4f}, not {level}")
        alpha, sigma = math.sqrt(1.0 / (1.0 + math.exp(-level))), math.sqrt(1.0 / (1.0 + math.exp(level)))
        angle = math.atan2(sigma, alpha)
        above = min(max(bisect.bisect_left(self._angles, angle), 2), self.timesteps)
        first, last = self._angles[above - 1], self._angles[above]
        share = min(max((angle - first) / (last - first), 0.0), 1.0)
        return Level(alpha, sigma, above - 2 + share)

    def pairs(self, steps: int) -> list[tuple[int, int]]:
        """`steps` moves (t, s) from T down to 0, each starting where the last ended.

        Trailing spacing (Lin et al. 2024, table 2): times at equal distances, the first of them T.
        Raises UserError if there are more steps than times.
        """
        if not 1 <= steps <= self.timesteps:
            raise UserError(
                f"sampling takes between 1 and as many steps as the diffusion has timesteps, {self.timesteps}",
                field="sampling.steps",
                value=steps,
                fix=f"take sampling.steps <= {self.timesteps}",
            )
        times = [(2 * self.timesteps * left + steps) // (2 * steps) for left in range(steps, -1, -1)]
        return list(itertools.pairwise(times))


def build_path(spec: Diffusion, device: torch.device | str = "cpu") -> DiscretePath:
    """The path that `spec` describes, its tables on `device`."""
    return DiscretePath(spec, torch.device(device))
