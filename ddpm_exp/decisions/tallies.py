"""Values that come in steps, over seeds: shares (k of n in each run) and counts (events in a run), and bounds on their means.

A t of such values takes equal ones for certain: two runs with 200 of 200 have no spread. Two bounds are laid here instead, and the
wider one counts at each end. One holds where runs do not differ in truth: the exact binomial (Clopper and Pearson 1934) or Poisson
bound (Garwood 1936) of all runs together, at half the error. The other one holds where they do: Student's t over runs of the
log-odds (or logarithm), from which the mean's own lie away by half their variance (Cox, in Zhou and Gao 1997, of log-normals).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ddpm_exp.decisions.statistics import Estimate, deviation, mean

Bounds = tuple[float, float]

ADDED = 2.0
"""Hits, and misses, that are added to each run's before its log-odds are taken (Agresti and Coull 1998 add as many): else a miss
more or less, where there are next to none, would look like a spread between runs. The exact bound is there for those."""

NOWHERE: Bounds = (-math.inf, math.inf)


@dataclass(frozen=True)
class Tally:
    """One arm's values by run, at least one."""

    values: Sequence[float]
    """Shares in [0, 1], or counts."""

    out_of: Sequence[float] | None
    """Of how many each is a share; None: the values are counts."""

    def bounds(self, confidence: float) -> Bounds:
        """The lower and the upper bound of the mean over runs, each one-sided at `confidence`; infinite with one run."""
        if len(self.values) < 2:
            return NOWHERE
        if self.out_of is None:
            return _wider(_poisson(self.values, (1 + confidence) / 2), _logarithms(self.values, confidence))
        return _wider(_binomial(self.values, self.out_of, (1 + confidence) / 2), _log_odds(self.values, self.out_of, confidence))


@dataclass(frozen=True)
class Stepped(Estimate):
    """An estimate from tallies: sign (mean of `first` - factor x mean of `second` - offset). Never exact.

    Of two arms it is no narrower than t of the values, and than both arms' own bounds together, by the sum of squares of what each
    allows (MOVER, Zou and Donner 2008).
    """

    first: Tally
    second: Tally | None = None
    factor: float = 1.0
    offset: float = 0.0
    sign: int = 1

    def bounds(self, confidence: float) -> Bounds:
        """As `Estimate.bounds`."""
        ours = self.first.bounds(confidence)
        if self.second is None or ours == NOWHERE:
            low, high = ours[0] - self.offset, ours[1] - self.offset
            return (low, high) if self.sign > 0 else (-high, -low)
        theirs = self.second.bounds(confidence)
        if theirs == NOWHERE:
            return NOWHERE
        a, b = mean(self.first.values), mean(self.second.values)
        centre = a - self.factor * b - self.offset
        below = math.hypot(a - ours[0], self.factor * (theirs[1] - b))
        above = math.hypot(ours[1] - a, self.factor * (b - theirs[0]))
        together = (centre - below, centre + above) if self.sign > 0 else (-centre - above, -centre + below)
        return _wider(together, super().bounds(confidence))

    @property
    def exact(self) -> bool:
        """Equal values in steps are no certainty."""
        return False


def _binomial(shares: Sequence[float], out_of: Sequence[float], confidence: float) -> Bounds:
    """Of one share that all runs have in truth (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    trials = math.fsum(out_of)
    hits = mean(shares) * trials
    misses = trials - hits
    low = 0.0 if hits <= 0 else float(betaincinv(hits, misses + 1, 1 - confidence))
    high = 1.0 if misses <= 0 else float(betaincinv(hits + 1, misses, confidence))
    return low, high


def _poisson(counts: Sequence[float], confidence: float) -> Bounds:
    """Of one rate that all runs have in truth (Garwood 1936)."""
    from scipy.special import gammaincinv

    runs, events = len(counts), math.fsum(counts)
    low = 0.0 if events <= 0 else float(gammaincinv(events, 1 - confidence)) / runs
    return low, float(gammaincinv(events + 1, confidence)) / runs


def _log_odds(shares: Sequence[float], out_of: Sequence[float], confidence: float) -> Bounds:
    """Of the mean of shares that differ."""
    odds = [math.log((share * n + ADDED) / (n - share * n + ADDED)) for share, n in zip(shares, out_of, strict=True)]
    pull, size = math.tanh(mean(odds) / 2), mean(out_of)

    def share_of(end: float) -> float:
        shrunk = 1 / (1 + math.exp(max(-700.0, min(-end, 700.0))))
        return min(max((shrunk * (size + 2 * ADDED) - ADDED) / size, 0.0), 1.0)

    low, high = _reach(odds, confidence, max(pull, 0.0), max(-pull, 0.0))
    return share_of(low), share_of(high)


def _logarithms(counts: Sequence[float], confidence: float) -> Bounds:
    """Of the mean of counts that differ: rates far below one half, as it were."""
    low, high = _reach([math.log(count + ADDED) for count in counts], confidence, 0.0, 1.0)
    return max(0.0, math.exp(max(low, -700.0)) - ADDED), math.exp(min(high, 700.0)) - ADDED


def _reach(logs: Sequence[float], confidence: float, pull_down: float, pull_up: float) -> Bounds:
    """t bounds of the logs; each end pulled by its part of half their variance, whose own uncertainty is added."""
    from scipy.special import stdtrit

    centre, n = mean(logs), len(logs)
    variance = (deviation(logs) or 0.0) ** 2
    t = float(stdtrit(n - 1, confidence))

    def end(side: int, pull: float) -> float:
        error = math.sqrt(variance / n + (pull * variance) ** 2 / (2 * (n - 1)))
        return centre + side * (pull * variance / 2 + t * error)

    return end(-1, pull_down), end(1, pull_up)


def _wider(a: Bounds, b: Bounds) -> Bounds:
    return min(a[0], b[0]), max(a[1], b[1])
