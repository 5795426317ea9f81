"""At which times training looks: a density of times, drawn by the ordinals of the examples. Weighs nothing but `importance`.

Each density is a pure function of (seed, purpose, ordinals), so that a time does not depend on how a step is sliced.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.continuous import ContinuousPath
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.spec.diffusion import Diffusion


def draw_times(
    spec: Diffusion, path: Path, images_per_step: int, seed: int, purpose: str, ordinals: Tensor, timesteps: int | None = None
) -> Tensor:
    """Times [B] by `spec.time_density`: int64 in 1..T, or float32 in [first, last].

    `uniform`: equally likely. `stratified`: uniform, but the examples of a step share [0, 1) out into `images_per_step`
    equal parts, by their ordinal; the mean over a step then varies less. `logit-normal`: t = 1 / (1 + exp(-z)), z normal
    (Esser et al. 2024, eq. 19, whose t also grows with the noise). `log-normal-sigma`: ln(sigma / alpha) normal (Karras et
    al. 2022, table 1), cut off at the path's ends. `importance` is uniform here; see `importance`.

    `timesteps`: draw so many of the whole times alone, T / timesteps apart (rounded up) with T among them.
    """
    if spec.time_density == "stratified":
        inside = draws.uniform(seed, purpose, ordinals).double()
        share = (ordinals % images_per_step + inside) / images_per_step
        if not path.discrete:
            return _between(path, share)
        return _spread((share * (timesteps or path.timesteps)).long() + 1, path, timesteps)
    if spec.time_density in ("logit-normal", "log-normal-sigma"):
        assert isinstance(path, ContinuousPath)  # The spec refuses these densities on whole times.
        mean, deviation = parameters(spec)
        normal = mean + deviation * draws.normal(seed, purpose, ordinals, ()).double()
        t = normal.sigmoid() if spec.time_density == "logit-normal" else path.time_at(normal)
        return t.float().clamp(_up(path.first), path.last)
    if path.discrete:
        return _spread(draws.integers(seed, purpose, ordinals, timesteps or path.timesteps) + 1, path, timesteps)
    return _between(path, draws.uniform(seed, purpose, ordinals).double())


def parameters(spec: Diffusion) -> tuple[float, float]:
    """Mean and standard deviation of the normal number behind `logit-normal` (0, 1) or `log-normal-sigma` (-1.2, 1.2)."""
    mean, deviation = (0.0, 1.0) if spec.time_density == "logit-normal" else (-1.2, 1.2)
    return (
        mean if spec.density_mean is None else spec.density_mean,
        deviation if spec.density_std is None else spec.density_std,
    )


def _spread(k: Tensor, path: Path, timesteps: int | None) -> Tensor:
    """The k-th (1 to `timesteps`) of equally distant whole times of `path`; k itself where all are drawn."""
    return k if timesteps is None else torch.div(k * path.timesteps + timesteps - 1, timesteps, rounding_mode="floor")


def _between(path: Path, share: Tensor) -> Tensor:
    """`share` in [0, 1) of the way from the last time down to the first."""
    return (path.last - (path.last - path.first) * share).float().clamp(_up(path.first), path.last)


def _up(first: float) -> float:
    """The smallest float32 that is not below `first`."""
    nearest = torch.tensor(first, dtype=torch.float32)
    return float(nearest) if float(nearest) >= first else float(torch.nextafter(nearest, torch.tensor(math.inf)))
