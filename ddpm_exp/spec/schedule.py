"""The noise schedules' plain numbers, in float64 without torch: for rules and advice, and what `diffusion` is built from."""

from __future__ import annotations

import math
from functools import lru_cache

from ddpm_exp.spec.diffusion import Diffusion


@lru_cache(maxsize=64)
def alpha_bars(diffusion: Diffusion) -> tuple[float, ...]:
    """alpha_t^2 for t = 1..T (index k is time k + 1).

    Linear: cumulative product of 1 - beta (Ho et al. 2020). Cosine: betas from Nichol & Dhariwal 2021, eq. 17,
    clipped at 0.999.
    """
    count = diffusion.timesteps
    product, bars = 1.0, []
    for beta in _betas(diffusion, count):
        product *= 1.0 - beta
        bars.append(product)
    if diffusion.zero_terminal_snr:
        bars = _reach_zero(bars)
    return tuple(bars)


def _betas(diffusion: Diffusion, count: int) -> list[float]:
    if diffusion.schedule == "linear":
        first, last = diffusion.beta_start, diffusion.beta_end
        return [first + (last - first) * k / (count - 1) for k in range(count)]
    s = diffusion.cosine_s

    def f(t: float) -> float:
        return math.cos((t / count + s) / (1 + s) * math.pi / 2) ** 2

    return [min(1.0 - f(k + 1) / f(k), 0.999) for k in range(count)]


def _reach_zero(bars: list[float]) -> list[float]:
    """Shift and scale sqrt(alpha_bar) so that the last is 0 and the first unchanged (Lin et al. 2024, algorithm 1)."""
    roots = [math.sqrt(bar) for bar in bars]
    first, last = roots[0], roots[-1]
    return [((root - last) * first / (first - last)) ** 2 for root in roots]


def log_snr(alpha_bar: float) -> float:
    """ln(alpha^2 / sigma^2); minus infinity at alpha_bar = 0."""
    return math.log(alpha_bar / (1.0 - alpha_bar)) if alpha_bar > 0 else -math.inf


def covered_log_snr(diffusion: Diffusion) -> tuple[float, float]:
    """Smallest and largest log-SNR of the schedule's times 1..T."""
    bars = alpha_bars(diffusion)
    return log_snr(bars[-1]), log_snr(bars[0])
