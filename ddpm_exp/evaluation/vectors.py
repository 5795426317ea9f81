"""Numbers that tell drawn tables, sequences and clouds from real ones. Knows no network and no data set."""

from __future__ import annotations

import math

import torch

from ddpm_exp.diffusion import draws
from ddpm_exp.spec.data import Family

_DIRECTIONS = 128
_CLOUD_DIRECTIONS = 16
_MOST_CORRELATED = 1024


def features(x: torch.Tensor, family: Family) -> torch.Tensor:
    """[N, F] fp64 from examples [N, *shape]: their elements; for clouds of points, which have no order, the sorted coordinates
    along fixed directions, from which a cloud can be told whatever the order of its points."""
    x = x.double()
    if family != "points":
        return x.flatten(1)
    along = _directions(_CLOUD_DIRECTIONS, x.shape[1], "cloud")
    ordered = torch.einsum("fd,ndp->nfp", along, x).sort(dim=-1).values
    return ordered.flatten(1) / len(along) ** 0.5  # type: ignore[no-any-return]


def sliced_wasserstein(first: torch.Tensor, second: torch.Tensor) -> float:
    """Sliced 2-Wasserstein distance of two sets of features [N, F] and [M, F] (Bonneel et al. 2015), over 128 fixed directions.

    The root of the mean over directions of W2^2, which is that of the two empirical distributions along a direction, exactly
    (`w2_squared`): 0 only for equal sets, in the features' own units. NaN where a feature is.
    """
    along = _directions(_DIRECTIONS, first.shape[1], "sliced")
    ours, theirs = (side.double() @ along.T for side in (first, second))
    return float(w2_squared(ours, theirs).mean().sqrt())


def w2_squared(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Squared 2-Wasserstein distances [D] of the columns of [N, D] and [M, D], each a set of equally likely numbers: the integral
    of the squared difference of both quantile functions, which are steps, over the pieces where neither has one (Peyre & Cuturi
    2019, remark 2.30)."""
    ours, theirs = first.sort(dim=0).values, second.sort(dim=0).values
    n, m = len(ours), len(theirs)
    whole = math.lcm(n, m)
    ends = torch.unique(torch.cat([torch.arange(1, n + 1) * (whole // n), torch.arange(1, m + 1) * (whole // m)]))
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    apart = ours[starts // (whole // n)] - theirs[starts // (whole // m)]
    weights = (ends - starts).to(apart.dtype) / whole
    return torch.mv(apart.square().T, weights)


def correlation_error(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean absolute difference between the correlations of features in two sets [N, F]; features that do not vary are left out.
    Of more than 1,024 features, so many at even steps: all pairs of a long sequence's would fill the memory."""
    count = first.shape[1]
    chosen = torch.linspace(0, count - 1, min(count, _MOST_CORRELATED), dtype=torch.float64).round().long()
    first, second = first[:, chosen], second[:, chosen]
    ours, theirs = (_correlations(side.double()) for side in (first, second))
    known = torch.isfinite(ours) & torch.isfinite(theirs) & ~torch.eye(len(ours), dtype=torch.bool)
    return float((ours - theirs)[known].abs().mean()) if bool(known.any()) else 0.0


def _correlations(x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(0)
    spread = centred.square().sum(0).sqrt()
    spread = torch.where(spread > 1e-9, spread, torch.nan)
    return centred.T @ centred / (spread[:, None] * spread[None, :])


def _directions(count: int, dimensions: int, purpose: str) -> torch.Tensor:
    """Unit vectors [count, dimensions], always the same."""
    drawn = draws.normal(0, f"measure/{purpose}", torch.arange(count), (dimensions,)).double()
    return drawn / drawn.norm(dim=1, keepdim=True)  # type: ignore[no-any-return]
