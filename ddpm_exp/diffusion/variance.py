"""The variance of each reverse step on a path of whole times, fixed or learned, and the terms of the variational bound.

Terms are per example and per element, in bits: the mean over elements of a divergence in nats, divided by ln 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.special import log_ndtr

from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.predictions import Coefficient, per_example

HALF_BIN = 1.0 / 255.0
"""Half the distance between two of an image's 256 grey values in [-1, 1]."""


def variances(t: Level, s: Level) -> tuple[float, float]:
    """(small, large) variance of the step from level t to level s.

    With a = alpha_t / alpha_s, large = sigma_t^2 - a^2 sigma_s^2 is the forward step's and
    small = large sigma_s^2 / sigma_t^2 the posterior's given x0 (Ho et al. 2020, eq. 7, between any two levels).
    """
    large = t.sigma**2 - (t.alpha / s.alpha * s.sigma) ** 2
    return large * (s.sigma / t.sigma) ** 2, large


def log_variance(said: Tensor, log_small: Coefficient, log_large: Coefficient) -> Tensor:
    """ln(variance) between its two bounds, where the network's output says (Nichol & Dhariwal 2021, eq. 15).

    `said` [B, ...]: -1 is the small one, 1 the large one, 0 (an untrained network) halfway; their v is (said + 1) / 2.
    """
    share = (said + 1.0) / 2.0
    return share * per_example(log_large, said) + (1.0 - share) * per_example(log_small, said)


class Steps(NamedTuple):
    """The step from t to t - 1 of a batch, float32 [B] each."""

    log_small: Tensor
    """ln of the variance of the posterior q(x_s | x_t, x0), but at time 1 of the decoder's."""
    log_large: Tensor
    """ln of the variance of the forward step."""
    pull: Tensor
    """How much of x0 the posterior's mean holds: alpha_s large / sigma_t^2."""


class StepTable:
    """`Steps` for the times 1..T of a path of whole times, on one device. Computed in float64, rounded once.

    The posterior's variance at time 1 is 0, for s = 0 is the data. The decoder there is given the posterior's variance of
    time 2, as the smaller bound and as its own where it is fixed (Nichol & Dhariwal 2021, section 3.1 and their code).
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        rows = []
        for time in range(1, path.timesteps + 1):
            t, s = path.level(time), path.level(time - 1)
            small, large = variances(t, s)
            if time == 1:
                small, _ = variances(path.level(2), t)
            rows.append((math.log(small), math.log(large), s.alpha * large / t.sigma**2))
        self._rows = torch.tensor([rows[0], *rows], dtype=torch.float64).T.to(torch.float32).contiguous().to(device)

    def at(self, t: Tensor) -> Steps:
        """The steps from times `t`, int64 [B] in 1..T."""
        return Steps(*self._rows[:, t].unbind(0))


def bound(steps: Steps, t: Tensor, x0: Tensor, estimate: Tensor, log_var: Tensor) -> Tensor:
    """The term L_{t-1} of the variational bound, bits per element, float32 [B] (Ho et al. 2020, eq. 5).

    For t > 1 the divergence of the reverse step, whose mean is the posterior's at `estimate` of x0, from the posterior at
    x0. For t = 1 the decoder's negative log-likelihood of x0. `log_var`: ln of the reverse step's variance, of x0's shape.
    """
    first = (t == 1).view(-1, *(1,) * (x0.dim() - 1))
    shift = per_example(steps.pull, x0) * (x0 - estimate)
    ratio = per_example(steps.log_small, x0) - log_var
    divergence = 0.5 * (ratio.exp() - ratio - 1.0 + shift.square() * (-log_var).exp())
    # Far from the data an estimate may be so wrong that its likelihood has no finite gradient, and 0 times that is NaN.
    likelihood = decoder(x0, torch.where(first, estimate, x0), log_var)
    return torch.where(first, likelihood, divergence).flatten(1).mean(1) / math.log(2.0)


def decoder(x0: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """-ln p(x0) of every element under a normal with this mean and variance, in nats, of x0's shape.

    For images [B, C, H, W], the probability of the grey value's bin, those at -1 and 1 reaching to infinity (Ho et al.
    2020, eq. 13). For everything else, which is not quantised, the density.
    """
    if x0.dim() != 4:
        return 0.5 * ((x0 - mean).square() * (-log_var).exp() + log_var + math.log(2.0 * math.pi))
    # In float32 the gradient of `log_ndtr` is wrong beyond some thousand deviations and NaN beyond some ten thousand.
    x0, mean, scale = x0.double(), mean.double(), (-0.5 * log_var.double()).exp()
    low, high = (x0 - mean - HALF_BIN) * scale, (x0 - mean + HALF_BIN) * scale
    logarithm: Tensor = torch.where(x0 < -0.999, log_ndtr(high), torch.where(x0 > 0.999, log_ndtr(-low), _log_between(low, high)))
    return -logarithm.to(log_var.dtype)


def _log_between(low: Tensor, high: Tensor) -> Tensor:
    """ln of a standard normal's probability of [low, high], accurate in both tails."""
    # Both ends are brought below 0 where they can be: above, the logarithms are all 0.
    above = low + high > 0
    low, high = torch.where(above, -high, low), torch.where(above, -low, high)
    outer, inner = log_ndtr(low), log_ndtr(high)
    # No bin of a decoder's meets the bound, which keeps the logarithm finite.
    between: Tensor = inner + torch.log(-torch.expm1((outer - inner).clamp(max=-1e-6)))
    return between
