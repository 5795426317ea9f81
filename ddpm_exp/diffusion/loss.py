"""The training loss of each image. Averages over nothing but the image's own elements."""

from __future__ import annotations

from torch import Tensor

from ddpm_exp.diffusion.predictions import Coefficient, full_precision, target
from ddpm_exp.spec.diffusion import Diffusion


def per_image_loss(spec: Diffusion, output: Tensor, x0: Tensor, eps: Tensor, alpha: Coefficient, sigma: Coefficient) -> Tensor:
    """Float32 [B]: the mean over an image of the squared error of `spec.prediction` (Ho et al. 2020, eq. 14).

    `output` is the network's, of any float type, at alpha x0 + sigma eps; all images are [B, C, H, W].
    In x0 space this `simple` weight is SNR for eps, 1 for x0 and SNR + 1 for v: values compare only between runs that
    agree in schedule and prediction.
    """
    error = full_precision(output) - target(spec.prediction, x0, eps, alpha, sigma)
    return error.square().flatten(1).mean(1)
