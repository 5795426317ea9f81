"""What a network's estimates of x0 are worth at each noise level, measured on real examples, and estimates put right by it.

At the noisiest levels x0 = (x - sigma eps) / alpha turns an error of one per cent in eps into an x0 of many times the data's size.
Clipping keeps the worst of it out of the picture; what is left, a sampler without noise of its own hands on from step to step.
The best linear estimate that x and the network's x0 allow, m + q (x0 - m) + p (x - alpha m), m being the data's mean, has no such
error: where the network knows nothing, q is 0 and p the Wiener filter's; where it is the conditional mean E[x0 | x], q is 1 and p
is 0, since a conditional mean is its own regression. The normal equations make what is left of x0 uncorrelated with x in each
band, so that along the probability-flow ODE each band's power grows as the data's does. q and p are measured for bands of
frequency (see `bands`): a network knows the large shapes at a noise in which it knows no detail. q lies between 0 and 1, between
no trust and trust in full: anything else would enlarge what the network says of examples that are no real ones.
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

_PRIOR = 0.01
"""Weight of the belief that nothing is to be mended, as a share of the measured power, or of the data's where that is less: it
decides where x and the network's x0 say the same, and the two weights cannot be told apart."""


@dataclass(frozen=True)
class Calibration:
    """Weights of x0 and x by level and band, and the data's mean."""

    mean: Tensor
    """float32 [*shape], on the device."""

    bands: Bands
    log_snrs: Tensor
    """float64 [K], rising: the levels that were measured, on the CPU."""

    weights: Tensor
    """float64 [K, 2, bands], on the device: q and p."""

    def __call__(self, x0: Tensor, x: Tensor, level: Level) -> Tensor:
        """The calibrated estimate, of x0's shape and type; x0 itself below `LEAST_RATIO`."""
        if ratio(level) < LEAST_RATIO:
            return x0
        q, p = self._at(level.log_snr).to(x0.dtype)[:, self.bands.index]
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
    diffusion: Diffusion,
    path: Path,
    network: Network,
    x0: Tensor,
    condition: Condition,
    mean: Tensor,
    bands: Bands,
    each: Each,
    sparing: bool = False,
) -> Calibration | None:
    """Measure what `network` says of the real examples `x0` [N, *shape], each told its own `condition`.

    At levels from the path's noisiest to `LEAST_RATIO`; None where the path is nowhere as noisy. The noise is always the same.
    `each` calls what it is given with slices that cover the N examples, and returns the results. `sparing`: mend in each band by
    the share of the squared error that this takes away, where else all is mended.
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
            return torch.stack([bands.total(product) for product in (t * t, t * n, t * s, n * n, n * s, s * s)])

        sums = torch.stack(each(products)).sum(0)
        weights.append(_regression(*sums, sparing=sparing))
    return Calibration(mean, bands, log_snrs, torch.stack(weights))


def _regression(tt: Tensor, tn: Tensor, ts: Tensor, nn: Tensor, ns: Tensor, ss: Tensor, *, sparing: bool) -> Tensor:
    """[2, bands]: q in [0, 1] and p of the least |t - q n - p s|^2 + prior ((q - 1)^2 n^2 + p^2 s^2), from sums of products
    [bands]; the prior's weight is `_PRIOR` min(1, t^2 / n^2)."""
    known = (nn > 0) & (ss > 0)  # else a band without power, of which nothing can be learnt
    n2, s2 = torch.where(known, nn, 1.0), torch.where(known, ss, 1.0)
    prior = _PRIOR * (tt / n2).clamp(max=1.0)
    own, other = n2 * (1 + prior), s2 * (1 + prior)
    q = (((tn + prior * n2) * other - ts * ns) / (own * other - ns * ns)).clamp(0.0, 1.0)
    p = (ts - q * ns) / other
    if sparing:
        before, after = tt - 2 * tn + nn, tt - 2 * q * tn - 2 * p * ts + q * q * nn + 2 * q * p * ns + p * p * ss
        share = (1 - after / before.clamp(min=1e-30)).clamp(0.0, 1.0)
        q, p = 1 + share * (q - 1), share * p
    return torch.stack([torch.where(known, q, 1.0), torch.where(known, p, 0.0)])
