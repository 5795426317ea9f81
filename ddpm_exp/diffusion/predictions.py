"""What a network's output means: every conversion between eps, x0, v and score lives here, and nowhere else.

x = alpha x0 + sigma eps. The targets are eps; x0; v = alpha eps - sigma x0 (Salimans & Ho 2022); score = -eps / sigma.
Images are [B, C, H, W] of any float type; alpha and sigma are float or float32/float64 [B]. All arithmetic and all
results are float32, or float64 where an image is: never half precision, whatever the network returned.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["eps", "x0", "v", "score"]
Coefficient = Tensor | float


def full_precision(image: Tensor) -> Tensor:
    """float64 stays, everything narrower becomes float32."""
    return image if image.dtype == torch.float64 else image.float()


def per_image(coefficient: Coefficient, image: Tensor) -> Coefficient:
    """A coefficient per image, [B], shaped to multiply [B, ...]. Numbers pass."""
    if isinstance(coefficient, Tensor) and coefficient.dim() == 1:
        return coefficient.view(-1, *(1,) * (image.dim() - 1))
    return coefficient


def target(prediction: Prediction, x0: Tensor, eps: Tensor, alpha: Coefficient, sigma: Coefficient) -> Tensor:
    """What the network should return. `score` needs sigma > 0."""
    x0, eps = full_precision(x0), full_precision(eps)
    alpha, sigma = per_image(alpha, x0), per_image(sigma, x0)
    if prediction == "eps":
        return eps
    if prediction == "x0":
        return x0
    if prediction == "v":
        return alpha * eps - sigma * x0
    return -eps / sigma


def to_x0(prediction: Prediction, output: Tensor, x: Tensor, alpha: Coefficient, sigma: Coefficient) -> Tensor:
    """The clean image that `output` at `x` means. `eps` and `score` need alpha > 0; the others hold at zero SNR too."""
    output, x = full_precision(output), full_precision(x)
    alpha, sigma = per_image(alpha, x), per_image(sigma, x)
    if prediction == "eps":
        return (x - sigma * output) / alpha
    if prediction == "x0":
        return output
    if prediction == "v":
        return (alpha * x - sigma * output) / (alpha**2 + sigma**2)
    return (x + sigma**2 * output) / alpha


def to_eps(prediction: Prediction, output: Tensor, x: Tensor, alpha: Coefficient, sigma: Coefficient) -> Tensor:
    """The noise that `output` at `x` means. `x0` needs sigma > 0; the others hold everywhere."""
    output, x = full_precision(output), full_precision(x)
    alpha, sigma = per_image(alpha, x), per_image(sigma, x)
    if prediction == "eps":
        return output
    if prediction == "x0":
        return (x - alpha * output) / sigma
    if prediction == "v":
        return (sigma * x + alpha * output) / (alpha**2 + sigma**2)
    return -sigma * output
