"""Loss weights: one number for the error of x0 at each level, whatever is predicted, and its worth in every prediction's space.

All arithmetic is float64 and finite from SNR = 0 to the first time; float32 is rounded to once, last.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_exp.diffusion.levels import Coefficients
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.predictions import Prediction
from ddpm_exp.diffusion.variance import variances
from ddpm_exp.spec.diffusion import Diffusion


def build_weight(spec: Diffusion, path: Path, device: torch.device | str) -> Callable[[Tensor], Tensor] | None:
    """Times [B] (as the path takes them) -> float32 [B], the weight of the squared error of `spec.prediction`.

    None for `simple`, which multiplies by nothing. On whole times a table on `device`.
    """
    if spec.weight == "simple":
        return None
    if path.discrete:
        times = torch.arange(1, path.timesteps + 1, device=device)
        table = loss_weight(spec, path, times).to(torch.float32)
        return lambda t: table[t - 1]
    return lambda t: loss_weight(spec, path, t).to(torch.float32)


def loss_weight(spec: Diffusion, path: Path, t: Tensor) -> Tensor:
    """Weight of the squared error of `spec.prediction` at times `t` [B] > 0, float64 [B]; 1 for `simple`."""
    at = path.exact(t)
    if spec.weight == "simple":
        return torch.ones_like(at.alpha)
    return x0_weight(spec, path, t) * x0_error_per_error(spec.prediction, at)


def x0_weight(spec: Diffusion, path: Path, t: Tensor) -> Tensor:
    """Weight of |x0 - x0^|^2 at times `t` [B], float64 [B]. Not defined for `simple`, which is no one weight in x0 space.

    elbo: see `_elbo`. truncated-snr: max(SNR, 1) (Salimans & Ho 2022, section 4). min-snr: min(SNR, g) (Hang et al.
    2023, section 3.4). soft-min-snr: g SNR / (SNR + g). p2: SNR / (k + SNR)^gamma (Choi et al. 2022, eq. 8, times the
    SNR that its eps loss has in x0 space). edm: (sigma^2 + sd^2) / (sigma sd)^2 (Karras et al. 2022, table 1).
    """
    at = path.exact(t)
    snr = (at.alpha / at.sigma) ** 2
    if spec.weight == "snr":
        return snr
    if spec.weight == "truncated-snr":
        return snr.clamp(min=1.0)
    if spec.weight == "min-snr":
        return snr.clamp(max=spec.snr_gamma)
    if spec.weight == "soft-min-snr":
        return spec.snr_gamma * snr / (snr + spec.snr_gamma)
    if spec.weight == "p2":
        return snr / (spec.p2_k + snr) ** spec.p2_gamma
    if spec.weight == "edm":
        return (at.sigma**2 + spec.sigma_data**2) / (at.sigma * spec.sigma_data) ** 2
    if spec.weight == "elbo":
        return _elbo(path, t, at)
    raise ValueError(f"{spec.weight} is no weight of the error of x0")


def _elbo(path: Path, t: Tensor, at: Coefficients) -> Tensor:
    """The variational bound's, so that its mean over uniform times is the bound in nats (Kingma et al. 2021, eq. 14, 15 and 17).

    On real times -dSNR/dt / 2. On whole times T (SNR(t - 1) - SNR(t)) / 2 for t > 1, which is Ho et al. 2020, eq. 12, with
    the small variance. At t = 1, where that quotient divides by the posterior's variance 0, the term is the decoder's
    instead: a normal around x0^ with the variance of `variance.StepTable`, T / (2 variance). Its density takes the place of
    the bins' probability, whose logarithm is not a square, and constants are left out.
    """
    if not path.discrete:
        assert at.d_alpha is not None and at.d_sigma is not None
        return at.alpha * (at.alpha * at.d_sigma - at.sigma * at.d_alpha) / at.sigma**3
    before = path.exact(t - 1)
    gain = (before.alpha / before.sigma) ** 2 - (at.alpha / at.sigma) ** 2
    decoder, _ = variances(path.level(2), path.level(1))
    return path.timesteps / 2 * torch.where(t == 1, 1.0 / decoder, gain)


def x0_error_per_error(prediction: Prediction, at: Coefficients) -> Tensor:
    """|x0 - x0^|^2 in units of the squared error of `prediction`, of `at`'s shape and type.

    1 / SNR for eps; 1 for x0; (sigma / (alpha^2 + sigma^2))^2 for v; sigma^2 / SNR for score;
    (sigma / (alpha d_sigma - sigma d_alpha))^2 for velocity, on rectified flow t^2.
    """
    alpha, sigma = at.alpha, at.sigma
    if prediction == "eps":
        return (sigma / alpha) ** 2
    if prediction == "x0":
        return torch.ones_like(alpha)
    if prediction == "v":
        return (sigma / (alpha**2 + sigma**2)) ** 2
    if prediction == "score":
        return (sigma**2 / alpha) ** 2
    if at.d_alpha is None or at.d_sigma is None:
        raise ValueError("a velocity is a derivative in time, and this path has whole times")
    return (sigma / (alpha * at.d_sigma - sigma * at.d_alpha)) ** 2
