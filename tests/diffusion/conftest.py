"""Data whose best denoiser is known in closed form: every element an independent normal with one mean and deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ddpm_exp.diffusion.continuous import ContinuousPath
from ddpm_exp.diffusion.levels import Coefficients
from ddpm_exp.diffusion.network import Condition, Network
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.predictions import Coefficient, Prediction, per_example, target

# One thread: these tensors are so small that more threads only wait for each other.
torch.set_num_threads(1)


@dataclass(frozen=True)
class GaussianData:
    """x0 ~ N(mean, deviation^2), element by element."""

    mean: float = 0.3
    deviation: float = 0.4

    def x0(self, x: Tensor, alpha: Coefficient, sigma: Coefficient) -> Tensor:
        """E[x0 | x], the least-squares denoiser."""
        alpha, sigma = per_example(alpha, x), per_example(sigma, x)
        gain = alpha * self.deviation**2 / (alpha**2 * self.deviation**2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)

    def network(self, path: Path, prediction: Prediction) -> Network:
        """The ideal network for `prediction` on any path: it reads the times back from c_noise.

        On `ve` it is the ideal one of x itself, before the network's input is scaled.
        """

        def ask(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
            at = path.exact(times_of(path, c_noise)) if c_noise.is_floating_point() else path.exact(c_noise + 1)
            at = Coefficients(*(c if c is None else c.to(x.dtype) for c in at))
            x0 = self.x0(x, at.alpha, at.sigma)
            alpha, sigma = per_example(at.alpha, x), per_example(at.sigma, x)
            return target(prediction, x0, (x - alpha * x0) / sigma, at)

        return ask

    def flow_end(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """Where the probability flow carries x at (alpha, sigma): the standardised distance is preserved."""
        spread = math.sqrt(alpha**2 * self.deviation**2 + sigma**2)
        return self.mean + self.deviation * (x - alpha * self.mean) / spread


def times_of(path: Path, c_noise: Tensor) -> Tensor:
    """The times [B] that a network is told about as `c_noise` [B]."""
    if path.discrete:
        return c_noise.round().long() + 1
    assert isinstance(path, ContinuousPath)
    return path.time_at(4 * c_noise.double()) if path.prior_std != 1.0 else c_noise.double() / 1000


@pytest.fixture
def gaussian() -> GaussianData:
    return GaussianData()
