"""Bits per dimension of held-out examples: the variational bound of a path of whole times, whole or sampled."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.levels import Coefficients
from ddpm_exp.diffusion.network import Condition, Network, asked
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.predictions import full_precision, to_x0
from ddpm_exp.diffusion.variance import StepTable, bound, log_variance
from ddpm_exp.spec.diffusion import Diffusion


class Bits(NamedTuple):
    """Upper bound on -log2 p(x0) per element, float32 [B] each; `total` is the sum of the others."""

    total: Tensor
    prior: Tensor
    """What is left of the data at time T: the divergence from the standard normal that sampling starts from."""
    steps: Tensor
    """The sum of the terms of times 2..T."""
    decoder: Tensor
    """The term of time 1: for images the probability of their grey values, otherwise a density, which may be negative."""


@torch.no_grad()
def bits_per_dimension(
    spec: Diffusion,
    path: Path,
    network: Network,
    x0: Tensor,
    condition: Condition,
    seed: int,
    ordinals: Tensor,
    *,
    terms: int | None = None,
    clip_x0: bool = False,
    prefix: str = "",
) -> Bits:
    """Bound on the bits per element of x0 [B, ...] in the model's range (Ho et al. 2020, eq. 5; images are in [-1, 1]).

    The variance is the learned one where `spec` learns it, else the posterior's ("small"). `terms`: how many of the T - 1
    steps are evaluated, one at random in each of as many `parts` (None: all, with T network evaluations); the estimate has no
    bias. `clip_x0` clamps the estimates of images, as samplers do. Noise and times belong to `seed` and `ordinals`
    [B]; their purposes begin with `prefix`. Raises ValueError on real times, or for `terms` outside 1..T - 1.
    """
    if not path.discrete:
        raise ValueError("the variational bound is a sum over whole times, and this path has real ones")
    count = path.timesteps - 1
    terms = count if terms is None else terms
    if not 1 <= terms <= count:
        raise ValueError(f"the bound has 1 to {count} terms of steps to estimate it by, not {terms}")
    table, x0 = StepTable(path, x0.device), full_precision(x0)

    def term(t: Tensor, name: str) -> Tensor:
        eps, at, steps = draws.normal(seed, f"{prefix}likelihood/{name}", ordinals, tuple(x0.shape[1:])), path.at(t), table.at(t)
        x = add_noise(x0, eps, at)
        value, said = asked(spec, network, x, at, path.c_noise(t), condition)
        estimate = to_x0(spec.prediction, value, x, at)
        estimate = estimate.clamp(-1.0, 1.0) if clip_x0 else estimate
        # Without a learned variance the network says "small" everywhere.
        said = torch.full_like(x0, -1.0) if said is None else said
        return bound(steps, t, x0, estimate, log_variance(said, steps.log_small, steps.log_large))

    steps = torch.zeros(len(x0), dtype=torch.float64, device=x0.device)
    for number, (low, high) in enumerate(itertools.pairwise(parts(count, terms))):
        inside = draws.uniform(seed, f"{prefix}likelihood/time {number}", ordinals).double()
        steps += (high - low) * term(low + (inside * (high - low)).long() + 2, f"noise {number}").double()
    decoder = term(torch.ones_like(ordinals), "decoder").double()
    left = prior(x0, path.exact(torch.full_like(ordinals, path.timesteps))).double()
    return Bits(*(part.float() for part in (left + steps + decoder, left, steps, decoder)))


def parts(count: int, terms: int) -> list[int]:
    """Edges 0 = e_0 < ... < e_terms = `count` of the parts that share out the steps: they widen as the cube of the time.

    The terms fall so fast from the data on that with equal parts the first would hold nearly all of the estimate's variance.
    """
    edges = [0]
    for number in range(1, terms + 1):
        edges.append(max(edges[-1] + 1, round(count * (number / terms) ** 3)))
    return edges


def prior(x0: Tensor, last: Coefficients) -> Tensor:
    """Divergence of q(x_T | x0) from the standard normal, bits per element, float32 [B]."""
    variance, mean_square = last.sigma.double() ** 2, x0.double().square().flatten(1).mean(1) * last.alpha.double() ** 2
    return (0.5 * (mean_square + variance - 1.0 - variance.log()) / math.log(2.0)).float()
