"""Which class a sample comes nearest to, and how near: centroids of real classes in feature space. Plain functions on features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

_TOLD = 1.5
CORRECT = 0.5
"""A class counts as generated where its samples are recognised at least this share as often as real examples of it."""


@dataclass(frozen=True)
class Centroids:
    """Real classes as points. Which is nearest is asked where the spread within classes is round (linear discriminant analysis)."""

    round: torch.Tensor
    """fp64 [F, F]: makes the within-class covariance the identity."""
    centres: torch.Tensor
    """fp64 [K, F], in the features' own space."""

    def nearest(self, features: torch.Tensor) -> torch.Tensor:
        """int64 [N]: the class whose centre is nearest to each row of `features` [N, F]; -1 for a row that is not finite."""
        rows = features.double() @ self.round
        finite = rows.isfinite().all(1)
        return torch.where(finite, torch.cdist(rows.nan_to_num(), self.centres @ self.round).argmin(1), -1)

    def recognised(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """fp64 [K]: share of each class's rows that come nearest to its own centre; NaN for a class without rows."""
        right = (self.nearest(features) == labels).double()
        count = labels.bincount(minlength=len(self.centres))
        return torch.zeros(len(self.centres), dtype=torch.float64).index_add(0, labels, right) / count

    def distances(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """fp64 [K]: distance of the mean of each class's rows to its centre, as a share of the mean distance of two centres; NaN
        for a class with fewer than two rows. What the mean of so few rows is off by chance is taken off its square."""
        rows = features.double()
        apart = torch.pdist(self.centres).mean()
        found = torch.full((len(self.centres),), torch.nan, dtype=torch.float64)
        for kind in range(len(self.centres)):
            mine = rows[labels == kind]
            if len(mine) > 1:
                off = (mine.mean(0) - self.centres[kind]).square().sum() - mine.var(0).sum() / len(mine)
                found[kind] = off.clamp_min(0).sqrt() / apart
        return found


def fit_centroids(features: torch.Tensor, labels: torch.Tensor, classes: int) -> Centroids:
    """Centroids of real `features` [N, F] with `labels` [N]. Raises ValueError where one of the `classes` has none.

    The covariance is shrunk towards its mean variance by F / (F + N): with few examples, directions in which these hardly vary by
    chance would decide.
    """
    count = labels.bincount(minlength=classes)
    if int(count.min()) == 0:
        raise ValueError("a class without an example has no centroid")
    rows = features.double()
    centres = torch.zeros(classes, rows.shape[1], dtype=torch.float64).index_add(0, labels, rows) / count[:, None]
    within = rows - centres[labels]
    covariance = within.T @ within / len(rows)
    spread = covariance.diagonal().mean().clamp_min(1e-12)
    shrunk = len(covariance) / (len(covariance) + len(rows))
    covariance = (1 - shrunk) * covariance + shrunk * spread * torch.eye(len(covariance), dtype=torch.float64)
    variances, directions = torch.linalg.eigh(covariance)
    return Centroids(directions / variances.sqrt(), centres)


def coverage(drawn: torch.Tensor, count: torch.Tensor, real: torch.Tensor) -> float:
    """Share of classes that are generated correctly.

    `drawn` [K] is the share of each class's `count` [K] samples that is recognised (`Centroids.recognised`), `real` [K] that of
    real examples. A class is generated correctly that is recognised at least half as often as real examples, less one standard
    error of so few samples, and as often as by chance. Classes without samples are left out. NaN where real examples of a class are
    recognised no more than half as often again as by chance: these features do not tell it, and nothing can be said of all.
    """
    chance = 1 / len(real)
    half = CORRECT * real
    needed = (half - (half * (1 - half) / count).sqrt()).clamp_min(chance)
    asked = count > 0
    told = real > _TOLD * chance
    return float((drawn >= needed)[asked].double().mean()) if bool(told[asked].all()) else math.nan


def class_figures(
    drawn: torch.Tensor, told: torch.Tensor, real: torch.Tensor, labels: torch.Tensor, classes: int
) -> dict[str, float]:
    """`class_coverage`, the number of `classes` that it is a share of, and `class_distance`, of features `drawn` [N, F] that were
    asked for as `told` [N], against `real` [M, F] with `labels` [M]: every second one makes the centroids, and how often the others
    are recognised is what real examples achieve. Nothing where a class lacks real examples; no coverage where features tell too
    little of a class."""
    fitted, others = slice(0, None, 2), slice(1, None, 2)
    if min(int(labels[half].bincount(minlength=classes).min()) for half in (fitted, others)) == 0:
        return {}
    centroids = fit_centroids(real[fitted], labels[fitted], classes)
    return compared(centroids, centroids.recognised(real[others], labels[others]), drawn, told)


def compared(centroids: Centroids, real: torch.Tensor, drawn: torch.Tensor, told: torch.Tensor) -> dict[str, float]:
    """As `class_figures`, with `centroids` and how often `real` [K] examples are recognised by them."""
    count = told.bincount(minlength=len(real))
    found = {
        "class_distance": float(centroids.distances(drawn, told).nanmean()),
        "class_coverage": coverage(centroids.recognised(drawn, told), count, real),
    }
    found = {name: value for name, value in found.items() if not math.isnan(value)}
    return found | ({"classes": float((count > 0).sum())} if "class_coverage" in found else {})
