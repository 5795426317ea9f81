"""The squared error of each example. Averages over nothing but the example's own elements, and weighs nothing."""

from __future__ import annotations

from torch import Tensor

from ddpm_exp.diffusion.levels import Coefficients, Level
from ddpm_exp.diffusion.predictions import Prediction, full_precision, target


def squared_error(prediction: Prediction, value: Tensor, x0: Tensor, eps: Tensor, at: Coefficients | Level) -> Tensor:
    """Float32 [B]: the mean over an example's elements of the squared error of `prediction` (Ho et al. 2020, eq. 14).

    `value` [B, ...] is what the network says about alpha x0 + sigma eps, of any float type.
    In x0 space this unweighted error has weight SNR for eps, 1 for x0 and SNR + 1 for v: values compare only between
    runs that agree in schedule and prediction.
    """
    error = full_precision(value) - target(prediction, x0, eps, at)
    return error.square().flatten(1).mean(1)
