"""A noise level as tensors for a batch and as numbers for a sampler. No times, no schedules; see `paths`."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class Coefficients(NamedTuple):
    """x = alpha x0 + sigma eps for a batch: each is [B], float32 unless said. `None` where time has no derivative."""

    alpha: Tensor
    sigma: Tensor
    d_alpha: Tensor | None = None
    d_sigma: Tensor | None = None

    @property
    def log_snr(self) -> Tensor:
        """ln(alpha^2 / sigma^2), of alpha's shape and type: minus infinity at pure noise, infinity at data."""
        return 2.0 * (self.alpha.log() - self.sigma.log())


class Level(NamedTuple):
    """One noise level in float64, and the network input that belongs to it."""

    time: float
    """On the path, 0 (data) to `Path.last`; between two whole times where a level between them was asked for."""
    alpha: float
    sigma: float
    c_noise: float
    d_alpha: float | None = None
    d_sigma: float | None = None

    @property
    def log_snr(self) -> float:
        """ln(alpha^2 / sigma^2): minus infinity at pure noise, infinity at data."""
        if self.sigma == 0.0:
            return math.inf
        return 2.0 * math.log(self.alpha / self.sigma) if self.alpha > 0.0 else -math.inf


DATA = Level(0.0, 1.0, 0.0, -1.0)
"""Time 0: exact data. No network is asked about it, which is what a `c_noise` of -1 says."""
