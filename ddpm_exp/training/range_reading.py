"""What a learning-rate range test suggests: the loss smoothed, and the rates that two rules read off it. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ddpm_exp.training.range_test import DIVERGENCE, FEWEST_STEPS, RangeTest, memory

_CLEAR = 6.0
"""A fall counts when it is this many standard errors of the smoothed loss: of 10 to 1,000 losses without a trend, fewer than one in
a hundred falls as far."""


@dataclass(frozen=True)
class Reading:
    """The smoothed losses and the suggestions; these are None where the loss did not clearly fall."""

    smoothed: tuple[float, ...]
    steepest: float | None = None
    """Rate at which the smoothed loss falls fastest over the logarithm of the rate."""

    lowest: float | None = None
    """Rate at which the smoothed loss is lowest."""

    still_falling: bool = False
    """The lowest is at the end of a test that was not ended by divergence: beyond it the loss may fall further."""

    @property
    def tenth(self) -> float | None:
        """A tenth of the rate with the lowest loss (guide 003)."""
        return None if self.lowest is None else self.lowest / 10

    @property
    def recommended(self) -> float | None:
        """The tenth, in two digits: where the loss is lowest is better known than where a noisy curve is steepest."""
        return None if self.tenth is None else float(f"{self.tenth:.1e}")


def read(test: RangeTest) -> Reading:
    """Smooth the losses and look for the steepest and the lowest place."""
    count = len(test.losses)
    if count == 0:
        return Reading(())
    keep = memory(test.planned)
    smoothed = smooth(_without_explosion(test.losses, keep), keep)
    place = min(range(count), key=smoothed.__getitem__)
    if count < FEWEST_STEPS or place < 1 or smoothed[0] - smoothed[place] < _CLEAR * _error(test.losses[: place + 1], keep):
        return Reading(smoothed)
    # Rates are equally far apart in their logarithm, so that differences are slopes.
    slopes = {at: smoothed[at + 1] - smoothed[at - 1] for at in range(1, min(place + 1, count - 1))}
    steepest = min(slopes, key=slopes.__getitem__, default=place)
    at_the_end = count - place <= round(1 / (1 - keep)) and test.end in ("complete", "stopped")
    return Reading(smoothed, test.rates[steepest], test.rates[place], at_the_end)


def smooth(losses: Sequence[float], keep: float) -> tuple[float, ...]:
    """The bias-corrected exponential mean in both directions: each loss counts `keep` to the power of its distance in steps.

    A mean over the past alone would lag, and its steepest and lowest places lie at too large rates.
    """
    weights = _both_ways([1.0] * len(losses), keep)
    return tuple(total / weight for total, weight in zip(_both_ways(losses, keep), weights, strict=True))


def _both_ways(values: Sequence[float], keep: float) -> list[float]:
    def past(ordered: Sequence[float]) -> list[float]:
        sums, total = [], 0.0
        for value in ordered:
            total = keep * total + value
            sums.append(total)
        return sums

    forward, backward = past(values), past(values[::-1])[::-1]
    return [before + after - value for before, after, value in zip(forward, backward, values, strict=True)]


def _without_explosion(losses: Sequence[float], keep: float) -> list[float]:
    """Losses cut at what counts as divergence, or one step a thousand times too high would hide the fall before it."""
    smoothed = smooth(losses, keep)
    ceiling = max(smoothed[0], DIVERGENCE * min(smoothed))
    return [min(loss, ceiling) for loss in losses]


def _error(losses: Sequence[float], keep: float) -> float:
    """Standard error of the smoothed loss at the first step, which has neighbours on one side alone.

    From differences between steps, in which the trend is small.
    """
    squares = [(after - before) ** 2 for before, after in pairwise(losses)]
    return math.sqrt(sum(squares) / (2 * len(squares)) * (1 - keep) / (1 + keep))
