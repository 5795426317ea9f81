"""Data whose best denoiser is known in closed form, and one diffusion of every kind to try it on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm_exp.diffusion.continuous import ContinuousPath
from ddpm_exp.diffusion.levels import Coefficients, Level
from ddpm_exp.diffusion.network import Condition
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.predictions import Prediction, per_example, target
from ddpm_exp.diffusion.step import Estimate
from ddpm_exp.spec.diffusion import Diffusion

DIFFUSIONS = {
    "linear": Diffusion(),
    "scaled-linear": Diffusion(schedule="scaled-linear"),
    "cosine": Diffusion(schedule="cosine"),
    "sigmoid": Diffusion(schedule="sigmoid"),
    "zero-snr": Diffusion(prediction="v", zero_terminal_snr=True),
    "vp-linear": Diffusion(schedule="vp-linear"),
    "vp-cosine": Diffusion(schedule="vp-cosine", prediction="v"),
    "rectified-flow": Diffusion(schedule="rectified-flow", prediction="velocity"),
    "ve": Diffusion(schedule="ve", prediction="x0"),
}
"""Every schedule, with a prediction that it allows."""


def times_of(path: Path, c_noise: Tensor) -> Tensor:
    """The times [B] that a network is told about as `c_noise` [B]."""
    if path.discrete:
        return c_noise.round().long() + 1
    assert isinstance(path, ContinuousPath)
    return path.time_at(4 * c_noise.double()) if path.prior_std != 1.0 else c_noise.double() / 1000


def estimate(x: Tensor, x0: Tensor, level: Level) -> Estimate:
    """x0 with the eps that belongs to it."""
    return Estimate(x0, (x - level.alpha * x0) / level.sigma)


@dataclass(frozen=True)
class GaussianData:
    """x0 ~ N(mean, deviation^2), element by element."""

    mean: float = 0.3
    deviation: float = 0.4

    def x0(self, x: Tensor, at: Level | Coefficients) -> Tensor:
        """E[x0 | x], the least-squares denoiser."""
        alpha, sigma = per_example(at.alpha, x), per_example(at.sigma, x)
        gain = alpha * self.deviation**2 / (alpha**2 * self.deviation**2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)

    def denoise(self, x: Tensor, at: Level) -> Estimate:
        """The ideal denoiser, as a sampler asks for it."""
        return estimate(x, self.x0(x, at), at)

    def network(self, path: Path, prediction: Prediction) -> Callable[[Tensor, Tensor, Condition], Tensor]:
        """The ideal network for `prediction`: it reads each example's time back from c_noise.

        On `ve` it is the ideal one of x itself, before the network's input is scaled.
        """

        def ask(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
            at = Coefficients(*(c if c is None else c.to(x.dtype) for c in path.exact(times_of(path, c_noise))))
            x0 = self.x0(x, at)
            return target(prediction, x0, (x - per_example(at.alpha, x) * x0) / per_example(at.sigma, x), at)

        return ask

    def spread(self, at: Level) -> float:
        """Standard deviation of x."""
        return math.sqrt(at.alpha**2 * self.deviation**2 + at.sigma**2)

    def flow(self, x: Tensor, t: Level, s: Level) -> Tensor:
        """Where the probability flow carries x from level t to s: the standardised distance is preserved."""
        return s.alpha * self.mean + self.spread(s) / self.spread(t) * (x - t.alpha * self.mean)

    def backward(self, x: Tensor, t: Level, s: Level) -> Tensor:
        """E[x_s | x_t], the mean of the reverse SDE."""
        gain = t.alpha / s.alpha * self.spread(s) ** 2 / self.spread(t) ** 2
        return s.alpha * self.mean + gain * (x - t.alpha * self.mean)


@dataclass(frozen=True)
class FiniteData:
    """Each element is one of these numbers, equally often."""

    points: Sequence[float] = (-0.9, -0.2, 0.4, 1.0)

    def denoise(self, x: Tensor, at: Level) -> Estimate:
        """The ideal denoiser: the mean of the points, weighted by a softmax."""
        points = torch.tensor(self.points, dtype=x.dtype)
        weights = (-((x[..., None] - at.alpha * points) ** 2) / (2 * at.sigma**2)).softmax(-1)
        return estimate(x, (weights * points).sum(-1), at)

    def distance(self, x: Tensor) -> Tensor:
        """To the nearest point."""
        return (x[..., None] - torch.tensor(self.points, dtype=x.dtype)).abs().amin(-1)
