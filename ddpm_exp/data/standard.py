"""Standardising by the training examples, and the hashed choice of held-out rows. Shared by all data but images' pixels."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""Numbers in the data's own units."""


def fit(train: Array) -> tuple[Array, Array]:
    """Mean and deviation of each column of [N, K], without missing (NaN) numbers; deviation 0 where a column is constant."""
    present = ~np.isnan(train)
    count = np.maximum(present.sum(0), 1)
    mean = np.where(present, train, 0.0).sum(0) / count
    deviation = np.sqrt(np.where(present, train - mean, 0.0).__pow__(2).sum(0) / count)
    # A mean of equal numbers is not always that number, so a constant column may seem to vary in its last bit.
    return mean, np.where(deviation <= 1e-12 * np.maximum(1.0, np.abs(mean)), 0.0, deviation)


def held_out_rows(count: int, share: float) -> NDArray[np.bool_]:
    """bool [count]: whether the hash of each row's number falls below `share`. At least one row is held out and one trains."""
    places = np.array([int.from_bytes(hashlib.sha256(str(row).encode()).digest()[:8], "big") for row in range(count)], dtype="u8")
    held_out: NDArray[np.bool_] = places / 2.0**64 < share
    held_out[places.argmin()] = True
    held_out[places.argmax()] = False
    return held_out
