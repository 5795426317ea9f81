"""DDIM and ancestral sampling: one transition whose coefficients differ. Knows no networks and no times, only levels."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.step import Arrival, Denoise, Draw, History, Move
from ddpm_exp.diffusion.variance import log_variance, variances
from ddpm_exp.spec.sampling import Sampling


class Transition(NamedTuple):
    """x_s = x0 * x0_hat + eps * eps_hat + noise * z, in float64."""

    x0: float
    eps: float
    noise: float


def transition(sampling: Sampling, t: Level, s: Level) -> Transition:
    """Coefficients of the `ddim` or `ddpm` step from level t to a level s nearer the data.

    With the small and large of `variance.variances`, DDIM is
    x_s = alpha_s x0 + sqrt(sigma_s^2 - eta^2 small) eps + eta sqrt(small) z (Song et al. 2021, eq. 12 and 16).
    Ancestral sampling has the mean of eta = 1 and either variance (Ho et al. 2020, algorithm 2). The step to data
    returns x0, without noise. A learned variance is not a number: its noise is left at the small one.
    """
    if s.sigma == 0.0:
        return Transition(1.0, 0.0, 0.0)
    small, large = variances(t, s)
    eta = sampling.eta if sampling.sampler == "ddim" else 1.0
    noise = large if sampling.sampler == "ddpm" and sampling.variance == "large" else eta**2 * small
    return Transition(s.alpha, math.sqrt(max(s.sigma**2 - eta**2 * small, 0.0)), math.sqrt(max(noise, 0.0)))


def ddim(sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival:
    """One step of DDIM with `eta` (Song et al. 2021). At eta = 0 it is Euler's in sigma / alpha."""
    x0, eps, _ = denoise(x, move.t)
    if move.to_data:
        # x0 itself: 0 x eps would turn an infinite eps into NaN.
        return Arrival(x0, x0)
    step = transition(sampling, move.t, move.s)
    x = step.x0 * x0 + step.eps * eps
    return Arrival(x + step.noise * draw() if step.noise > 0.0 else x, x0)


def ddpm(sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival:
    """One ancestral step with the small, the large or the learned variance.

    Learned: between the two, where the network says (`variance.log_variance`). Raises ValueError where it says none.
    """
    x0, eps, said = denoise(x, move.t)
    if move.to_data:
        return Arrival(x0, x0)
    step = transition(sampling, move.t, move.s)
    x = step.x0 * x0 + step.eps * eps
    if sampling.variance == "learned":
        if said is None:
            raise ValueError("sampling.variance = 'learned' needs a network that says a variance")
        small, large = variances(move.t, move.s)
        return Arrival(x + (0.5 * log_variance(said, math.log(small), math.log(large))).exp() * draw(), x0)
    return Arrival(x + step.noise * draw() if step.noise > 0.0 else x, x0)
