"""A network asked at a noise level: its input and output scaled as the spec says. Converts no predictions; see there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.diffusion.levels import Coefficients, Level
from ddpm_exp.diffusion.predictions import Coefficient, full_precision, per_example
from ddpm_exp.spec.diffusion import Diffusion

Condition = dict[str, Tensor] | None
"""What the network is told beside the noise level; every tensor has the batch first. None where there is nothing to tell."""

Network = Callable[[Tensor, Tensor, Condition], Tensor]
"""(x [B, C, ...], c_noise [B], condition) -> [B, C, ...] of any float type, or [B, 2 C, ...] with a learned variance."""


class Output(NamedTuple):
    """What a network said, in float32 (float64 where x is)."""

    value: Tensor
    """[B, C, ...], in the space of `spec.prediction`."""

    variance: Tensor | None
    """With a learned variance, [B, C, ...]: where ln(variance) lies, from the posterior's at -1 to the forward step's at 1.
    Nothing keeps it inside (Nichol & Dhariwal 2021, section 3.1); see `variance`."""


class Preconditioning(NamedTuple):
    """value = c_skip x + c_out network(c_in x): numbers, or [B]."""

    c_skip: Coefficient
    c_out: Coefficient
    c_in: Coefficient


def edm(sigma: Coefficient, sigma_data: float) -> Preconditioning:
    """Input, output and target of unit variance at every sigma, for data of `sigma_data` (Karras et al. 2022, table 1).

    The network's own target is then -v of (x0 / sigma_data, eps) at the angle atan(sigma / sigma_data).
    """
    total = sigma**2 + sigma_data**2
    return Preconditioning(sigma_data**2 / total, sigma * sigma_data / total**0.5, 1.0 / total**0.5)


def asked(spec: Diffusion, network: Network, x: Tensor, at: Coefficients | Level, c_noise: Tensor, condition: Condition) -> Output:
    """What `network` says about x [B, C, ...] at the level `at`, whose network input is `c_noise` [B].

    On `ve`, where x grows with sigma, the network sees x / sqrt(sigma^2 + sigma_data^2); elsewhere x as it is.
    """
    scale = edm(at.sigma, spec.sigma_data) if spec.schedule == "ve" else None
    said = full_precision(network(x if scale is None else per_example(scale.c_in, x) * x, c_noise, condition))
    variance: Tensor | None = None
    if spec.learned_variance:
        said, variance = said.chunk(2, dim=1)
    if spec.preconditioning == "edm" and scale is not None:
        said = per_example(scale.c_skip, x) * full_precision(x) + per_example(scale.c_out, x) * said
    return Output(said, variance)


def network_target(x0: Tensor, x: Tensor, sigma: Coefficient, sigma_data: float) -> Tensor:
    """What a network under EDM's preconditioning should return itself: (x0 - c_skip x) / c_out, of unit variance."""
    c_skip, c_out, _ = edm(sigma, sigma_data)
    return torch.div(x0 - per_example(c_skip, x) * x, per_example(c_out, x))
