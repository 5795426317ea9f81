"""From clean examples to noisy ones: the forward process in one step. Draws nothing; see `draws`."""

from __future__ import annotations

from torch import Tensor

from ddpm_exp.diffusion.levels import Coefficients, Level
from ddpm_exp.diffusion.predictions import full_precision, per_example


def add_noise(x0: Tensor, eps: Tensor, at: Coefficients | Level) -> Tensor:
    """alpha x0 + sigma eps (Ho et al. 2020, eq. 4), float32 [B, ...]."""
    x0, eps = full_precision(x0), full_precision(eps)
    return per_example(at.alpha, x0) * x0 + per_example(at.sigma, x0) * eps
