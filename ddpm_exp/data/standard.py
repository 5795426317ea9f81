"""Mean and deviation of training examples, with missing numbers left out. Nothing else is fitted here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""Numbers in the data's own units."""


def fit(train: Array) -> tuple[Array, Array]:
    """Mean and deviation of each column of [N, K], without missing (NaN) numbers; deviation 0 where a column is constant."""
    present = ~np.isnan(train)
    count = np.maximum(present.sum(0), 1)
    mean = np.where(present, train, 0.0).sum(0) / count
    deviation = np.sqrt(np.square(np.where(present, train - mean, 0.0)).sum(0) / count)
    # A mean of equal numbers is not always that number, so a constant column may seem to vary in its last bit.
    return mean, np.where(deviation <= 1e-12 * np.maximum(1.0, np.abs(mean)), 0.0, deviation)
