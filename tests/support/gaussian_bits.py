"""The variational bound of Gaussian data in closed form, part by part: its best denoiser, and so every term, is known."""

from __future__ import annotations

import math

from support.known_data import GaussianData

from ddpm_exp.diffusion.paths import Path, build_path
from ddpm_exp.diffusion.variance import variances
from ddpm_exp.spec.diffusion import Diffusion


def error(data: GaussianData, path: Path, t: int) -> float:
    """Expected squared error per element of the best x0 at time t."""
    level, variance = path.level(t), data.deviation**2
    return float(variance * level.sigma**2 / (level.alpha**2 * variance + level.sigma**2))


def closed_form(data: GaussianData, spec: Diffusion, *, best_variance: bool = False) -> tuple[float, float, float]:
    """Expected prior, steps and decoder in bits, for the small variance or for the best that a network could learn."""
    path, second_moment = build_path(spec), data.mean**2 + data.deviation**2
    last = path.level(path.last)
    prior = 0.5 * (last.alpha**2 * second_moment + last.sigma**2 - 1 - 2 * math.log(last.sigma))
    steps = 0.0
    for time in range(2, path.timesteps + 1):
        t, s = path.level(time), path.level(time - 1)
        small, large = variances(t, s)
        shift = (s.alpha * large / t.sigma**2) ** 2 * error(data, path, time)
        steps += 0.5 * math.log(1 + shift / small) if best_variance else 0.5 * shift / small
    variance, wrong = variances(path.level(2), path.level(1))[0], error(data, path, 1)
    variance = wrong if best_variance else variance
    decoder = 0.5 * (wrong / variance + math.log(2 * math.pi * variance))
    return prior / math.log(2), steps / math.log(2), decoder / math.log(2)
