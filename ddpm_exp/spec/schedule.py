"""The noise schedules' plain numbers, in float64 without torch: for rules and advice, and what `diffusion` is built from."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddpm_exp.spec.diffusion import Diffusion

FIRST_TIME = {"vp-linear": 1e-5, "vp-cosine": 1e-3, "rectified-flow": 1e-3, "ve": 1e-9}
"""Smallest real time that a network is trained on and asked about. There sigma / alpha is about 1e-3, an eighth of the step
between two grey values (`ve`: `sigma_min`, to nine digits); nearer to the data only rounding is left to learn."""

SMALLEST_ALPHA_BAR = 1e-9
"""Where the sigmoid schedule is cut off: its formula ends at 0 (Jabri et al. 2022, algorithm 1, `clip_min`)."""


@lru_cache(maxsize=64)
def alpha_bars(diffusion: Diffusion) -> tuple[float, ...]:
    """alpha_t^2 of a schedule on whole times, t = 1..T (index k is time k + 1).

    Linear: cumulative product of 1 - beta (Ho et al. 2020). Scaled-linear: the same, with the square roots of beta in
    equal steps (Rombach et al. 2022). Cosine: betas from Nichol & Dhariwal 2021, eq. 17, clipped at 0.999. Sigmoid:
    Jabri et al. 2022, algorithm 1, which is alpha_bar itself. Raises ValueError for a schedule on real times.
    """
    if not diffusion.discrete:
        raise ValueError(f"{diffusion.schedule} has no whole times to list")
    if diffusion.schedule == "sigmoid":
        bars = _sigmoid(diffusion)
    else:
        product, bars = 1.0, []
        for beta in _betas(diffusion, diffusion.timesteps):
            product *= 1.0 - beta
            bars.append(product)
    if diffusion.zero_terminal_snr:
        bars = _reach_zero(bars)
    return tuple(bars)


def _betas(diffusion: Diffusion, count: int) -> list[float]:
    if diffusion.schedule == "linear":
        first, last = diffusion.beta_start, diffusion.beta_end
        return [first + (last - first) * k / (count - 1) for k in range(count)]
    if diffusion.schedule == "scaled-linear":
        first, last = math.sqrt(diffusion.beta_start), math.sqrt(diffusion.beta_end)
        return [(first + (last - first) * k / (count - 1)) ** 2 for k in range(count)]
    s = diffusion.cosine_s

    def f(t: float) -> float:
        return math.cos((t / count + s) / (1 + s) * math.pi / 2) ** 2

    return [min(1.0 - f(k + 1) / f(k), 0.999) for k in range(count)]


def _sigmoid(diffusion: Diffusion) -> list[float]:
    start, end, tau, count = diffusion.sigmoid_start, diffusion.sigmoid_end, diffusion.sigmoid_tau, diffusion.timesteps

    def f(t: float) -> float:
        return 1.0 / (1.0 + math.exp(-(start + (end - start) * t) / tau))

    if f(1.0) == f(0.0):  # Saturated throughout: no levels to tell apart, which a rule of `Diffusion` refuses.
        return [SMALLEST_ALPHA_BAR] * count
    return [max((f(1.0) - f((k + 1) / count)) / (f(1.0) - f(0.0)), SMALLEST_ALPHA_BAR) for k in range(count)]


def _reach_zero(bars: list[float]) -> list[float]:
    """Shift and scale sqrt(alpha_bar) so that the last is 0 and the first unchanged (Lin et al. 2024, algorithm 1)."""
    roots = [math.sqrt(bar) for bar in bars]
    first, last = roots[0], roots[-1]
    if first == last:  # As above.
        return bars
    return [((root - last) * first / (first - last)) ** 2 for root in roots]


def log_snr(alpha_bar: float) -> float:
    """ln(alpha^2 / sigma^2) of a variance-preserving level; minus infinity at alpha_bar = 0."""
    return math.log(alpha_bar / (1.0 - alpha_bar)) if alpha_bar > 0 else -math.inf


def log_snr_at(diffusion: Diffusion, t: float) -> float:
    """ln(alpha^2 / sigma^2) of a schedule on real times, at 0 < t <= 1; minus infinity where alpha is 0."""
    if diffusion.schedule == "vp-linear":
        spent = t**2 * (diffusion.beta_max - diffusion.beta_min) / 2 + t * diffusion.beta_min  # -ln(alpha^2)
        return -math.log(math.expm1(spent))
    if diffusion.schedule == "ve":
        return -2.0 * (math.log(diffusion.sigma_min) + t * math.log(diffusion.sigma_max / diffusion.sigma_min))
    if t >= 1.0:
        return -math.inf
    if diffusion.schedule == "vp-cosine":
        return -2.0 * math.log(math.tan(math.pi / 2 * t))
    return 2.0 * math.log((1.0 - t) / t)


def covered_log_snr(diffusion: Diffusion) -> tuple[float, float]:
    """Smallest and largest log-SNR that a network of this schedule knows: of times 1..T, or of `FIRST_TIME` to 1."""
    if not diffusion.discrete:
        return log_snr_at(diffusion, 1.0), log_snr_at(diffusion, FIRST_TIME[diffusion.schedule])
    bars = alpha_bars(diffusion)
    return log_snr(bars[-1]), log_snr(bars[0])
