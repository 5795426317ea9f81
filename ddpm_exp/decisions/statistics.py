"""Means over seeds and what they allow one to say: Student's t for one arm or pairs, Welch's for two. Not verdicts.

For measured numbers; those that come in steps have `tallies`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ROUNDING = 1e-12
"""Spreads and means below this share of the values are float64 rounding and count as exactly zero."""

Method = Literal[
    "one-sample t",
    "paired t",
    "Welch t",
    "binomial, t of log-odds",
    "Poisson, t of logarithms",
    "paired t, arms' own bounds",
    "Welch t, arms' own bounds",
]


@dataclass(frozen=True)
class Estimate:
    """An estimated mean (or difference of means) and how sure it is. Has the unit of the values."""

    mean: float
    standard_error: float
    """Infinite where an arm has fewer than two values: nothing is known about the spread."""

    degrees: float
    """Degrees of freedom of Student's t."""

    method: Method

    def bounds(self, confidence: float) -> tuple[float, float]:
        """The lower and the upper bound, each one-sided at `confidence`; together an interval at 2 x confidence - 1."""
        if math.isinf(self.standard_error):
            return -math.inf, math.inf
        if self.standard_error == 0:
            return self.mean, self.mean
        from scipy.special import stdtrit

        reach = float(stdtrit(self.degrees, confidence)) * self.standard_error
        return self.mean - reach, self.mean + reach

    def interval(self, level: float) -> tuple[float, float]:
        """The two-sided interval at `level`."""
        return self.bounds((1 + level) / 2)

    @property
    def exact(self) -> bool:
        """Whether all values (or paired differences) are identical, so that the interval is a point."""
        return self.standard_error == 0


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, rounded once: the order of `values` does not matter."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1); None for fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def one_sample(values: Sequence[float], *, scale: float | None = None) -> Estimate:
    """The mean of `values` (Student 1908). `scale` is the size of the numbers that they were computed from, for rounding.

    Raises ValueError without values and for values that are not finite.
    """
    return _one_sample(values, scale, "one-sample t")


def paired(values: Sequence[float], reference: Sequence[float], *, factor: float = 1.0) -> Estimate:
    """The mean of `values[i] - factor * reference[i]`, pair by pair.

    A claim with a relative margin, such as mean(v) <= (1 - by) mean(r), is the linear contrast with `factor = 1 - by`;
    its t-test is exact for normal pairs, unlike one that takes the reference's sample mean for its true mean.
    """
    differences = [value - factor * other for value, other in zip(values, reference, strict=True)]
    return _one_sample(differences, _size([*values, *reference]), "paired t")


def welch(values: Sequence[float], reference: Sequence[float], *, factor: float = 1.0) -> Estimate:
    """mean(values) - factor * mean(reference) of independent arms with their own variances (Welch 1947)."""
    scaled = [factor * other for other in reference]
    first, second = one_sample(values, scale=_size(values)), one_sample(scaled, scale=_size(reference))
    difference = _snap(first.mean - second.mean, _size([*values, *reference]))
    a, b = first.standard_error**2, second.standard_error**2
    if math.isinf(a + b):
        return Estimate(difference, math.inf, 0.0, "Welch t")
    if a + b == 0:
        return Estimate(difference, 0.0, first.degrees + second.degrees, "Welch t")
    # Shares first: the squares of tiny variances would underflow to 0 / 0.
    share = a / (a + b)
    degrees = 1 / (share**2 / first.degrees + (1 - share) ** 2 / second.degrees)
    return Estimate(difference, math.sqrt(a + b), degrees, "Welch t")


def _one_sample(values: Sequence[float], scale: float | None, method: Method) -> Estimate:
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError("a mean needs at least one value, and finite ones")
    size = _size(values) if scale is None else scale
    centre, spread = _snap(mean(values), size), deviation(values)
    if spread is None:
        return Estimate(centre, math.inf, 0.0, method)
    return Estimate(centre, _snap(spread, size) / math.sqrt(len(values)), len(values) - 1.0, method)


def _size(values: Sequence[float]) -> float:
    return max(abs(value) for value in values) if values else 0.0


def _snap(value: float, size: float) -> float:
    return 0.0 if abs(value) <= ROUNDING * size else value
