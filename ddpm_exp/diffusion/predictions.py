"""What a network's output means: every conversion between eps, x0, v, score and velocity lives here, and nowhere else.

x = alpha x0 + sigma eps. The targets are eps; x0; v = alpha eps - sigma x0 (Salimans & Ho 2022); score = -eps / sigma (Song
et al. 2021); velocity = d_alpha x0 + d_sigma eps, the path's own derivative dx/dt (Lipman et al. 2023).

Guide 002 writes the velocity of rectified flow as data minus noise, because its time runs from noise to data. Ours runs from
data to noise, so that on alpha = 1 - t, sigma = t the velocity is eps - x0.

Examples are [B, ...] of any float type; `at` holds numbers or float32/float64 [B]. All arithmetic and all results are
float32, or float64 where an example is: never half precision, whatever the network returned.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ddpm_exp.diffusion.levels import Coefficients, Level

Prediction = Literal["eps", "x0", "v", "score", "velocity"]
Coefficient = Tensor | float


def full_precision(example: Tensor) -> Tensor:
    """float64 stays, everything narrower becomes float32."""
    return example if example.dtype == torch.float64 else example.float()


def per_example(coefficient: Coefficient, example: Tensor) -> Coefficient:
    """A coefficient per example, [B], shaped to multiply [B, ...]. Numbers pass."""
    if isinstance(coefficient, Tensor) and coefficient.dim() == 1:
        return coefficient.view(-1, *(1,) * (example.dim() - 1))
    return coefficient


def target(prediction: Prediction, x0: Tensor, eps: Tensor, at: Coefficients | Level) -> Tensor:
    """What the network should return. `score` needs sigma > 0.

    Raises ValueError for `velocity` where `at` has no derivatives.
    """
    x0, eps = full_precision(x0), full_precision(eps)
    alpha, sigma = per_example(at.alpha, x0), per_example(at.sigma, x0)
    if prediction == "eps":
        return eps
    if prediction == "x0":
        return x0
    if prediction == "v":
        return alpha * eps - sigma * x0
    if prediction == "score":
        return -eps / sigma
    d_alpha, d_sigma = _derivatives(at, x0)
    return d_alpha * x0 + d_sigma * eps


def to_x0(prediction: Prediction, output: Tensor, x: Tensor, at: Coefficients | Level) -> Tensor:
    """The clean example that `output` at `x` means. `eps` and `score` need alpha > 0; the others hold at zero SNR too."""
    output, x = full_precision(output), full_precision(x)
    alpha, sigma = per_example(at.alpha, x), per_example(at.sigma, x)
    if prediction == "eps":
        return (x - sigma * output) / alpha
    if prediction == "x0":
        return output
    if prediction == "v":
        return (alpha * x - sigma * output) / (alpha**2 + sigma**2)
    if prediction == "score":
        return (x + sigma**2 * output) / alpha
    d_alpha, d_sigma = _derivatives(at, x)
    return (d_sigma * x - sigma * output) / (alpha * d_sigma - sigma * d_alpha)


def to_eps(prediction: Prediction, output: Tensor, x: Tensor, at: Coefficients | Level) -> Tensor:
    """The noise that `output` at `x` means. `x0` needs sigma > 0; the others hold everywhere."""
    output, x = full_precision(output), full_precision(x)
    alpha, sigma = per_example(at.alpha, x), per_example(at.sigma, x)
    if prediction == "eps":
        return output
    if prediction == "x0":
        return (x - alpha * output) / sigma
    if prediction == "v":
        return (sigma * x + alpha * output) / (alpha**2 + sigma**2)
    if prediction == "score":
        return -sigma * output
    d_alpha, d_sigma = _derivatives(at, x)
    return (alpha * output - d_alpha * x) / (alpha * d_sigma - sigma * d_alpha)


def _derivatives(at: Coefficients | Level, example: Tensor) -> tuple[Coefficient, Coefficient]:
    if at.d_alpha is None or at.d_sigma is None:
        raise ValueError("a velocity is a derivative in time, and this level lies on a path of whole times (or is the data itself)")
    return per_example(at.d_alpha, example), per_example(at.d_sigma, example)
