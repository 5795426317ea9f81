"""Whether a series of measurements says that the training should end. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple


class Early(NamedTuple):
    """Where a training ends before its time, and why."""

    images: int
    best_images: int
    best: float


def early_end(
    points: Iterable[tuple[int, float]], *, patience_images: int, improvement: float, better: Literal["lower", "higher"]
) -> Early | None:
    """The first of `points` (images seen, value; in order) at which the best value is `patience_images` old; None if there is none.

    A value is a new best where it is better by more than `improvement` times the size of the old one. One that is not finite is
    never the best, not even the first: nothing is better or worse than NaN, so that it would stay the best for ever.
    """
    sign = 1.0 if better == "higher" else -1.0
    best: tuple[int, float] | None = None
    for images, value in points:
        if math.isfinite(value) and (best is None or sign * (value - best[1]) > improvement * abs(best[1])):
            best = (images, value)
        elif best is not None and images - best[0] >= patience_images:
            return Early(images, *best)
    return None
