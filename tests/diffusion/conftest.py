"""Data whose best denoiser is known in closed form: every element an independent normal with one mean and deviation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ddpm_exp.diffusion.paths import DiscretePath
from ddpm_exp.diffusion.predictions import target

# One thread: these tensors are so small that more threads only wait for each other.
torch.set_num_threads(1)


@dataclass(frozen=True)
class GaussianData:
    """x0 ~ N(mean, deviation^2), element by element."""

    mean: float = 0.3
    deviation: float = 0.4

    def x0(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[x0 | x], the least-squares denoiser."""
        gain = alpha * self.deviation**2 / (alpha**2 * self.deviation**2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)

    def network(self, path: DiscretePath, prediction: str) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
        """The ideal network for `prediction`: it reads the time back from c_noise."""

        def ask(x: Tensor, c_noise: Tensor, condition: Tensor | None) -> Tensor:
            alpha, sigma, _ = path.level(int(c_noise[0]) + 1)
            x0 = self.x0(x, alpha, sigma)
            return target(prediction, x0, (x - alpha * x0) / sigma, alpha, sigma)  # type: ignore[arg-type]

        return ask

    def flow_end(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """Where the probability flow carries x at (alpha, sigma): the standardised distance is preserved."""
        spread = math.sqrt(alpha**2 * self.deviation**2 + sigma**2)
        return self.mean + self.deviation * (x - alpha * self.mean) / spread


@pytest.fixture
def gaussian() -> GaussianData:
    return GaussianData()
