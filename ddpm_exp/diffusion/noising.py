"""From clean images to noisy ones: the forward process in one step. Draws nothing; see `draws`."""

from __future__ import annotations

from torch import Tensor

from ddpm_exp.diffusion.predictions import Coefficient, full_precision, per_image


def add_noise(x0: Tensor, eps: Tensor, alpha: Coefficient, sigma: Coefficient) -> Tensor:
    """alpha x0 + sigma eps (Ho et al. 2020, eq. 4), float32 [B, C, H, W]; alpha and sigma are [B] or numbers."""
    x0, eps = full_precision(x0), full_precision(eps)
    return per_image(alpha, x0) * x0 + per_image(sigma, x0) * eps
