"""Samplers along the probability-flow ODE: Euler, Heun and Heun with fresh noise. Single steps that look back on nothing.

dx/dt = d_alpha x0 + d_sigma eps (Song et al. 2021, eq. 13, written with the denoiser). Where alpha moves in real time, t is
the variable of integration. On whole times, which have no derivatives, and on `ve`, whose time is but a name of sigma, it
is sigma / alpha, in which x / alpha has the slope eps. Beyond `FARTHEST` that variable runs to infinity, and its inverse
takes over, in which x / sigma has the slope x0: so that a step from pure noise is a step like any other.
The step to data is Euler's in sigma / alpha on every path, and returns x0: d_sigma may be infinite there.
"""

from __future__ import annotations

import math

from torch import Tensor

from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.step import Arrival, Denoise, Draw, Estimate, History, Move, ratio
from ddpm_exp.spec.sampling import Sampling

FARTHEST = 80.0
"""sigma / alpha beyond which its inverse is the variable: the largest noise of Karras et al. 2022, table 1."""


def euler(sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival:
    """One Euler step. On rectified flow, and where sigma / alpha is the variable, it is DDIM's at eta = 0."""
    now = denoise(x, move.t)
    return Arrival(_ahead(move, x, now), now.x0)


def heun(sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival:
    """One step of Heun's second-order method (Karras et al. 2022, algorithm 1): Euler's, with the mean of both ends' slopes."""
    now = denoise(x, move.t)
    there = _ahead(move, x, now)
    if move.to_data:
        return Arrival(there, now.x0)
    then, (t, s) = denoise(there, move.s), (move.t, move.s)
    if _moves_in_time(t):
        return Arrival(there + (s.time - t.time) / 2 * (_slope(s, then) - _slope(t, now)), now.x0)
    return Arrival(_corrected(t, s, there, now, then), now.x0)


def edm_stochastic(sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival:
    """One step of Karras et al. 2022, algorithm 2, on x / alpha in sigma / alpha: noise is added, then Heun takes more away.

    Needs `move.path`, for the levels that the added noise leads to. Noise never exceeds the path's noisiest level.
    """
    t, s = move.t, move.s
    at = ratio(t)
    if sampling.churn_min <= at <= sampling.churn_max and sampling.churn > 0.0:
        gamma = min(sampling.churn / move.steps, math.sqrt(2.0) - 1.0)
        t = _noisier(move, at * (1.0 + gamma))
        added = math.sqrt(max(ratio(t) ** 2 - at**2, 0.0))
        x = t.alpha * (x / move.t.alpha + sampling.churn_noise * added * draw())
    now = denoise(x, t)
    if move.to_data:
        return Arrival(now.x0, now.x0)
    there = s.alpha * now.x0 + s.sigma * now.eps
    return Arrival(_corrected(t, s, there, now, denoise(there, s)), now.x0)


def _moves_in_time(t: Level) -> bool:
    return bool(t.d_alpha)  # None on whole times, 0 on `ve`


def _slope(at: Level, now: Estimate) -> Tensor:
    """dx/dt."""
    assert at.d_alpha is not None and at.d_sigma is not None
    return at.d_alpha * now.x0 + at.d_sigma * now.eps


def _ahead(move: Move, x: Tensor, now: Estimate) -> Tensor:
    """Euler's step."""
    t, s = move.t, move.s
    if move.to_data:
        return now.x0
    if _moves_in_time(t):
        return x + (s.time - t.time) * _slope(t, now)
    # alpha_s (x / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) eps), without its division by alpha_t.
    return s.alpha * now.x0 + s.sigma * now.eps


def _corrected(t: Level, s: Level, there: Tensor, now: Estimate, then: Estimate) -> Tensor:
    """Euler's arrival `there`, moved by half of the change of slope over the step, in sigma / alpha or in its inverse."""
    if ratio(t) <= FARTHEST:
        return there + s.alpha * (ratio(s) - ratio(t)) / 2 * (then.eps - now.eps)
    return there + s.sigma * (s.alpha / s.sigma - t.alpha / t.sigma) / 2 * (then.x0 - now.x0)


def _noisier(move: Move, to: float) -> Level:
    """The level whose sigma / alpha is `to`, or the path's noisiest."""
    if move.path is None:
        raise ValueError("edm-stochastic visits levels between those of its grid: take its levels from grids.levels")
    last = move.path.level(move.path.last)
    return last if to >= ratio(last) else move.path.at_log_snr(-2.0 * math.log(to))
