"""Distances between two sets of features again, in NumPy and SciPy alone and in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax

Array = NDArray[np.float64]


def frechet(ours: Array, theirs: Array) -> float:
    """The trace of the root of the product of covariances is the sum of singular values of the product of the centred sets."""
    a, b = ours - ours.mean(0), theirs - theirs.mean(0)
    covariances = a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum()
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum() / np.sqrt((len(a) - 1) * (len(b) - 1))
    return float(((ours.mean(0) - theirs.mean(0)) ** 2).sum() + covariances - 2 * root)


def kernel_distance(ours: Array, theirs: Array, *, subsets: int, size: int, seed: int) -> float:
    """Mean of the unbiased estimate over random subsets."""
    draw = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        x, y = (some[draw.choice(len(some), size, replace=False)] for some in (ours, theirs))
        within = [(one @ one.T / one.shape[1] + 1) ** 3 for one in (x, y)]
        between = (x @ y.T / x.shape[1] + 1) ** 3
        pairs = size * (size - 1)
        found.append(sum((kernel.sum() - np.trace(kernel)) / pairs for kernel in within) - 2 * between.mean())
    return float(np.mean(found))


def precision_recall(ours: Array, theirs: Array) -> tuple[float, float]:
    """Shares of each that lie no farther from one of the other than that one's third neighbour."""

    def inside(points: Array, among: Array) -> float:
        radii = np.sort(cdist(among, among), axis=1)[:, 3]
        return float((cdist(points, among) <= radii).any(1).mean())

    return inside(ours, theirs), inside(theirs, ours)


def inception_score(logits: Array, *, splits: int, seed: int) -> float:
    """Mean over parts of the samples in random order."""
    shuffled = logits[np.random.RandomState(seed).permutation(len(logits))]
    scores = []
    for part in range(splits):
        some = shuffled[part * len(logits) // splits : (part + 1) * len(logits) // splits]
        p = softmax(some, axis=1)
        scores.append(np.exp((p * (log_softmax(some, axis=1) - np.log(p.mean(0)))).sum(1).mean()))
    return float(np.mean(scores))
