"""Distances between examples: whether samples repeat training examples, or each other. Plain functions on features [N, F]."""

from __future__ import annotations

import torch

_AROUND = 50
"""Neighbours that tell what a near one is (Carlini et al. 2023)."""

UNUSUAL = 0.01
"""Share of held-out examples that are as near to a training example, for their surroundings, as what counts as repeated."""

_TOGETHER = 64
"""Rows whose distances are held at once: 26 MB against 50,000 examples."""


def nearest(of: torch.Tensor, among: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of `of` [N, F], exactly: its distance to the nearest of `among` [M, F], and that distance divided by the mean of its
    50 smallest (or a quarter of M), both fp64 [N]. The quotient is near 0 for a copy, whatever the scale; smooth examples, which
    are near to everything, do not have a small one (Carlini et al. 2023, "Extracting training data from diffusion models", 5.1)."""
    around = min(_AROUND, max(2, len(among) // 4), len(among))
    smallest = torch.cat(
        [torch.cdist(part, among).topk(around, largest=False).values for part in torch.split(of.double(), _TOGETHER)]
    )
    mean = smallest.mean(1)
    # With less than rounding between them all are copies of one.
    return smallest[:, 0], torch.where(mean > 1e-9, smallest[:, 0] / mean.clamp_min(1e-9), 1.0)


def share_repeated(drawn: torch.Tensor, held_out: torch.Tensor) -> float:
    """Share of samples whose `nearest` quotients `drawn` [N] are below those of all but 1 % of `held_out` [M] examples."""
    return float((drawn < held_out.quantile(UNUSUAL)).double().mean())


def mean_distance(features: torch.Tensor) -> float:
    """Mean distance of two different rows of `features` [N, F]."""
    return float(torch.pdist(features.double()).mean())


def median_to_nearest_other(features: torch.Tensor) -> float:
    """Median over rows of the distance to the nearest other row of `features` [N, F]; exactly 0 only for copies."""
    rows = features.double()
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return float(distances.fill_diagonal_(torch.inf).amin(1).quantile(0.5))
