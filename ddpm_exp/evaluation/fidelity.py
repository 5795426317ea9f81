"""Distances between two sets of features, each by torch-fidelity's own function. Extracts nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

KID_SUBSETS = 100
KID_SUBSET = 1000
"""Of each set, so many random subsets of at most so many images (Binkowski et al. 2018)."""

NEIGHBOURS = 3
"""Precision and recall: an image lies within the other set if it is no farther from one of its images than that one's third
nearest neighbour (Kynkaanniemi et al. 2019)."""

SPLITS = 10
"""Parts of the samples whose inception scores are averaged (Salimans et al. 2016)."""

SEED = 2020
"""Of KID's subsets and the inception score's order: torch-fidelity's own default."""

_AT_ONCE = 1000
"""Images whose distances to the whole other set are computed together."""


@dataclass(frozen=True)
class Statistics:
    """What a Frechet distance needs of a set of features."""

    mean: NDArray[np.float32]
    """[D]."""

    covariance: NDArray[np.float64]
    """[D, D], divided by N - 1."""


@dataclass(frozen=True)
class FeatureSet:
    """Features of one set of images, and their statistics, which are computed once."""

    features: torch.Tensor
    """float32 [N, D] on the CPU."""

    known: Statistics | None = None
    """Its statistics, where they were kept."""

    @cached_property
    def statistics(self) -> Statistics:
        """By torch-fidelity's function."""
        from torch_fidelity.metric_fid import fid_features_to_statistics

        if self.known is not None:
            return self.known
        found = fid_features_to_statistics(self.features)
        return Statistics(found["mu"], found["sigma"])

    def __len__(self) -> int:
        return len(self.features)


def frechet(generated: FeatureSet, reals: FeatureSet) -> float:
    """Frechet distance between the Gaussians with the means and covariances of two sets (Heusel et al. 2017, eq. 6). Called FID
    only for Inception's features. Biased: it falls with the number of images."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    ours, theirs = ({"mu": one.statistics.mean, "sigma": one.statistics.covariance} for one in (generated, reals))
    return float(fid_statistics_to_metric(ours, theirs, verbose=False)[KEY_METRIC_FID])


def kernel_distance(generated: FeatureSet, reals: FeatureSet) -> float:
    """KID: the squared maximum mean discrepancy under a cubic kernel, without bias (Binkowski et al. 2018). It may fall a little
    below 0."""
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    settings = {"kid_subsets": KID_SUBSETS, "kid_subset_size": kid_subset(len(generated), len(reals)), "rng_seed": SEED}
    found = kid_features_to_metric(generated.features, reals.features, **settings, verbose=False)
    return float(found[KEY_METRIC_KID_MEAN])


def kid_subset(generated: int, reals: int) -> int:
    """Images of each subset of KID."""
    return min(KID_SUBSET, generated, reals)


def precision_recall(generated: FeatureSet, reals: FeatureSet) -> tuple[float, float]:
    """The share of generated images that lie among the reals, and of reals that lie among the generated ones. At least four
    images of each."""
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    # In parts: 50,000 images against 50,000 are 10 GB of distances.
    settings = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": _AT_ONCE, "save_cpu_ram": True}
    found = prc_features_to_metric(generated.features, reals.features, **settings, verbose=False)
    return float(found[KEY_METRIC_PRECISION]), float(found[KEY_METRIC_RECALL])


def inception_score(logits: torch.Tensor) -> float:
    """Of Inception's unbiased logits [N, 1008] (Salimans et al. 2016). Says nothing of the reals."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    return float(isc_features_to_metric(logits, splits=min(SPLITS, len(logits)), rng_seed=SEED)[KEY_METRIC_ISC_MEAN])


_BY_NAME: dict[str, Callable[[FeatureSet, FeatureSet], float]] = {
    "fd_effnet": frechet,
    "kid_effnet": kernel_distance,
    "fid": frechet,
    "kid": kernel_distance,
}


def fewest(metrics: Sequence[str]) -> int:
    """Images of each set that `metrics` need at least."""
    return NEIGHBOURS + 1 if {"precision", "recall"} & set(metrics) else 2


def distances(metrics: Sequence[str], generated: FeatureSet, reals: FeatureSet) -> dict[str, float]:
    """Name to value of those of `metrics` that compare two sets."""
    found = {name: _BY_NAME[name](generated, reals) for name in metrics if name in _BY_NAME}
    if "precision" in metrics or "recall" in metrics:
        both = dict(zip(("precision", "recall"), precision_recall(generated, reals), strict=True))
        found |= {name: value for name, value in both.items() if name in metrics}
    return found
