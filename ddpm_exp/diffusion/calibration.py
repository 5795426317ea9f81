"""What a network's estimates of x0 are worth at each noise level, measured on real examples, and estimates put right by it.

At the noisiest levels x0 = (x - sigma eps) / alpha turns an error of one per cent in eps into an x0 of many times the data's size.
Clipping keeps the worst of it out of the picture; what is left, a sampler without noise of its own hands on from step to step.
The best linear estimate that x and the network's x0 allow, m + q (x0 - m) + p (x - alpha m), m being the data's mean, has no such
error: where the network knows nothing, q is 0 and p the Wiener filter's; where it is the conditional mean E[x0 | x], q is 1 and p
is 0, since a conditional mean is its own regression. The normal equations make what is left of x0 uncorrelated with x in each
band, so that along the probability-flow ODE each band's power grows as the data's does. q and p are measured for bands of
frequency (see `bands`): a network knows the large shapes at a noise in which it knows no detail.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.bands import Bands
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.network import Condition, Network, asked
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.predictions import full_precision, to_x0
from ddpm_exp.diffusion.step import ratio
from ddpm_exp.spec.diffusion import Diffusion

Each = Callable[[Callable[[slice], Tensor]], list[Tensor]]

LEAST_RATIO = 3.0
"""sigma / alpha below which estimates are left as the network gives them."""

FARTHEST = 2000.0
"""sigma / alpha from which on all levels are taken to be alike: those of pure noise."""

SPACING = 0.75
"""Distance in log-SNR between the levels that are measured."""

_PRIOR = 1e-4
"""Weight of the belief that nothing is to be mended, as a share of the measured power: it decides where x and the network's x0
say the same, and the two weights cannot be told apart."""


@dataclass(frozen=True)
class Calibration:
    """Weights of x0 and x by level and band, and the data's mean."""

    mean: Tensor
    """float32 [*shape], on the device."""

    bands: Bands
    log_snrs: Tensor
    """float64 [K], rising: the levels that were measured, on the CPU."""

    weights: Tensor
    """float64 [K, 2, bands], on the CPU: q and p."""

    def __call__(self, x0: Tensor, x: Tensor, level: Level) -> Tensor:
        """The calibrated estimate, of x0's shape and type; x0 itself below `LEAST_RATIO`."""
        if ratio(level) < LEAST_RATIO:
            return x0
        q, p = self._at(level.log_snr).to(x0.device, x0.dtype)[:, self.bands.index]
        mean = self.mean.to(x0.dtype)
        mended = q * self.bands.split(x0 - mean) + p * self.bands.split(x - level.alpha * mean)
        return mean + self.bands.join(mended)

    def _at(self, log_snr: float) -> Tensor:
        """[2, bands], linear between measured levels, and the nearest one's beyond them."""
        above = int(torch.searchsorted(self.log_snrs, log_snr).clamp(1, len(self.log_snrs) - 1))
        low, high = self.log_snrs[above - 1], self.log_snrs[above]
        share = float(((log_snr - low) / (high - low)).clamp(0.0, 1.0))
        return torch.lerp(self.weights[above - 1], self.weights[above], share)


@torch.no_grad()
def calibrate(
    diffusion: Diffusion, path: Path, network: Network, x0: Tensor, condition: Condition, mean: Tensor, bands: Bands, each: Each
) -> Calibration | None:
    """Measure what `network` says of the real examples `x0` [N, *shape], each told its own `condition`.

    At levels from the path's noisiest to `LEAST_RATIO`; None where the path is nowhere as noisy. The noise is always the same.
    `each` calls what it is given with slices that cover the N examples, and returns the results.
    """
    noisiest = path.level(path.last)
    low, high = -2.0 * math.log(min(ratio(noisiest), FARTHEST)), -2.0 * math.log(LEAST_RATIO)
    if low >= high:
        return None
    log_snrs = torch.linspace(low, high, max(2, math.ceil((high - low) / SPACING) + 1), dtype=torch.float64)
    weights = []
    for number, log_snr in enumerate(log_snrs.tolist()):
        level = noisiest if number == 0 and ratio(noisiest) <= FARTHEST else path.at_log_snr(log_snr)

        def products(part: slice, number: int = number, level: Level = level) -> Tensor:
            real = full_precision(x0[part])
            ordinals = torch.arange(part.start, part.stop, device=x0.device)
            eps = draws.normal(0, f"calibration/noise {number}", ordinals, tuple(real.shape[1:]))
            x = level.alpha * real + level.sigma * eps
            told = None if condition is None else {name: values[part] for name, values in condition.items()}
            said = asked(diffusion, network, x, level, x.new_full((len(x),), level.c_noise), told)
            found = to_x0(diffusion.prediction, said.value, x, level)
            t, n, s = (bands.split(one.double()) for one in (real - mean, found - mean, x - level.alpha * mean))
            return torch.stack([bands.total(product) for product in (t * n, t * s, n * n, n * s, s * s)])

        sums = torch.stack(each(products)).sum(0)
        weights.append(_regression(*sums))
    return Calibration(mean, bands, log_snrs, torch.stack(weights).cpu())


def _regression(tn: Tensor, ts: Tensor, nn: Tensor, ns: Tensor, ss: Tensor) -> Tensor:
    """[2, bands]: q and p of the least |t - q n - p s|^2 + `_PRIOR` ((q - 1)^2 n^2 + p^2 s^2), from sums of products [bands]."""
    tn, nn_ = tn + _PRIOR * nn, nn * (1 + _PRIOR)
    ss_ = ss * (1 + _PRIOR)
    determinant = nn_ * ss_ - ns * ns
    known = determinant > 0  # else a band without power, of which nothing can be learnt
    q = torch.where(known, (tn * ss_ - ts * ns) / torch.where(known, determinant, 1.0), 1.0)
    p = torch.where(known, (ts * nn_ - tn * ns) / torch.where(known, determinant, 1.0), 0.0)
    return torch.stack([q, p])
