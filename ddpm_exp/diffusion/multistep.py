"""Samplers that look back: DPM-Solver++ of order 2, its stochastic form of order 3, and UniPC. One evaluation per step each.

All integrate x0 exactly against the exponential weights of the log-SNR, x0 being a polynomial in lambda = ln(alpha / sigma)
through the last estimates. h is a step's length in lambda. From pure noise and to data h is infinite, and the formulas take
their limits: such a step is of first order, and the next one learns no slope from it.
"""

from __future__ import annotations

import math

from torch import Tensor

from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.step import Arrival, Denoise, Draw, History, Move, Past, length
from ddpm_exp.spec.sampling import Sampling

LONGEST = 1.5
"""How many times longer than the last step one of `dpm++3m-sde` may be to learn a slope from it. Beyond, x0's parabola would be
followed far outside of its points: 50 steps of `linspace`, the last but one of which is ten times longer than its neighbour,
would draw a deviation of 1.2 where the data have 0.4 (0.39 with this rule)."""

LONGEST_OF_TWO = 2.0
"""The same of `dpm++2m` and `unipc`, which follow a line: 10 steps of `linspace` would draw a deviation of 0.54 where the data
have 0.4, and 25 of them 0.49 (0.29 and 0.38 with this rule, which are `trailing`'s too)."""


def dpm_2m(sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): x0 is extrapolated to the middle of the step from its last two values."""
    x0 = denoise(x, move.t).x0
    past = Past(move.t, x, x0)
    if move.to_data:
        return Arrival(x0, x0, (past,))
    h, (before,) = length(move.t, move.s), _lengths(move.t, history, 1)
    ahead = x0 + h / (2 * before) * (x0 - history[0].x0) if h <= LONGEST_OF_TWO * before < math.inf else x0
    return Arrival(_first_order(move, x, ahead), x0, (past,))


def dpm_3m_sde(sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival:
    """DPM-Solver++ for the reverse SDE (Lu et al. 2022, section 6), x0 being the parabola through its last three values.

    With weights 2 exp(-2 (h - u)) du, u in 0..h from t, the mean is
    (sigma_s / sigma_t) exp(-h) x + alpha_s (w0 x0 + w1 h x0' + w2 h^2 x0'' / 2), exactly, w_k being the integral of (u / h)^k.
    The noise is sigma_s sqrt(1 - exp(-2 h)) z, `ddpm`'s with the small variance. After a step shorter than h / `LONGEST`, x0
    is taken to stay what it is.
    """
    x0 = denoise(x, move.t).x0
    past = (Past(move.t, x, x0), *history[:1])
    if move.to_data:
        return Arrival(x0, x0, past)
    h, (near, far) = length(move.t, move.s), _lengths(move.t, history, 2)
    left = math.exp(-h)
    w0 = -math.expm1(-2 * h)
    mean = (move.s.sigma / move.t.sigma * left) * x + move.s.alpha * w0 * x0
    if h <= LONGEST * near < math.inf:
        w1 = 1.0 - w0 / (2 * h)
        slope = (x0 - history[0].x0) * (h / near)
        if math.isfinite(far):
            w2 = 1.0 - w1 / h
            before = (history[0].x0 - history[1].x0) * (h / far)
            bend = (slope - before) * (h / (near + far))
            slope = slope + near / h * bend
            mean = mean + move.s.alpha * w2 * bend
        mean = mean + move.s.alpha * w1 * slope
    return Arrival(mean + move.s.sigma * math.sqrt(w0) * draw(), x0, past)


def unipc(sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival:
    """UniPC of order 2 with B(h) = exp(-h) - 1 on x0 (Zhao et al. 2023, algorithms 1 and 2; `bh2`).

    The estimate at t first corrects the step that led to t, without being evaluated again, and then predicts s.
    """
    x0 = denoise(x, move.t).x0
    if history:
        x = _correct(move.t, x0, history)
    past = (Past(move.t, x, x0), *history[:1])
    if move.to_data:
        return Arrival(x0, x0, past)
    h, (before,) = length(move.t, move.s), _lengths(move.t, history, 1)
    ahead = x0 + h / (2 * before) * (x0 - history[0].x0) if h <= LONGEST_OF_TWO * before < math.inf else x0
    return Arrival(_first_order(move, x, ahead), x0, past)


def _correct(t: Level, x0: Tensor, history: History) -> Tensor:
    """x at t, from the last step's start and the x0 of both its ends (and of the step before, where there was a finite one)."""
    last = history[0]
    back = Move(last.level, t, 1)
    h, (before,) = length(last.level, t), _lengths(last.level, history[1:], 1)
    change = x0 - last.x0
    if not h <= LONGEST_OF_TWO * before < math.inf:
        return _first_order(back, last.x, last.x0 + 0.5 * change)
    # The two conditions of order 2: weights of both differences that integrate a line and a parabola in lambda exactly.
    gone = math.expm1(-h)
    line = (gone / -h - 1.0) / gone
    parabola = 2.0 * ((gone / -h - 1.0) / -h - 0.5) / gone
    place = -before / h
    of_past = (line - parabola) / (1.0 - place)
    slope = (history[1].x0 - last.x0) / place
    return _first_order(back, last.x, last.x0 + of_past * slope + (line - of_past) * change)


def _first_order(move: Move, x: Tensor, x0: Tensor) -> Tensor:
    """Where x goes if x0 stays what it is: sigma_s / sigma_t x + alpha_s (1 - exp(-h)) x0."""
    t, s = move.t, move.s
    return s.sigma / t.sigma * x + (s.alpha - s.sigma * t.alpha / t.sigma) * x0


def _lengths(t: Level, history: History, count: int) -> list[float]:
    """Lengths of the last `count` steps, the newest (to t) first; infinite where there was none, and beyond an infinite one."""
    found: list[float] = []
    for past in history[:count]:
        found.append(math.inf if math.inf in found else length(past.level, t))
        t = past.level
    return found + [math.inf] * (count - len(found))
