"""An independent judge of drawn classes: scikit-learn on real examples, with nothing of the diffusion network in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ddpm_exp.data.examples import Examples

_MOST_IMAGES = 10_000
_COMPONENTS = 64
_PIXELS_PER_COMPONENT = 3
"""At least: whitening blows up the last components, in which real images hardly vary and a judge would hear only noise."""
_FEWEST_COMPONENTS = 4
"""Where there are so many features: one of two would often not tell classes apart."""


@dataclass(frozen=True)
class Judge:
    """A fitted classifier and its accuracy on real examples that it was not fitted on."""

    model: Any
    accuracy_on_real: float

    def accuracy(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Share of `images` (uint8 [N, C, H, W], or other data as scaled for the network) that are taken for their `labels` [N];
        one with a number that is not finite is taken for nothing."""
        rows = flat(images)
        finite = np.isfinite(rows).all(axis=1)
        right = self.model.predict(np.where(finite[:, None], rows, 0.0)) == labels.numpy()
        return float((right & finite).mean())


def fit_judge(train: Examples, held_out: Examples) -> Judge:
    """Principal components and a support vector machine (RBF) on whichever set is larger, tested on the other.

    At most 10,000 examples each way, the first ones in the data set's order; seconds on a CPU.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    larger, smaller = (train, held_out) if len(train) >= len(held_out) else (held_out, train)
    if larger.labels is None or smaller.labels is None:
        raise ValueError("a classifier needs labelled examples")
    features = flat(larger.x[:_MOST_IMAGES])
    wanted = max(_FEWEST_COMPONENTS, min(_COMPONENTS, features.shape[1] // _PIXELS_PER_COMPONENT))
    components = min(wanted, *features.shape)
    model = make_pipeline(PCA(components, whiten=True, random_state=0, svd_solver="randomized"), SVC(C=10.0, gamma=0.01))
    model.fit(features, larger.labels[:_MOST_IMAGES].numpy())
    judge = Judge(model, 0.0)
    accuracy = judge.accuracy(smaller.x[:_MOST_IMAGES], smaller.labels[:_MOST_IMAGES])
    return Judge(model, accuracy)


def flat(x: torch.Tensor) -> Any:
    """Examples [N, *shape] as rows of float32; bytes as shares of 255."""
    rows = x.flatten(1).numpy().astype(np.float32)
    return rows / 255.0 if x.dtype == torch.uint8 else rows
