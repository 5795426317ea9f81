"""The contrast that a claim is about: a mean against a bound or against another arm's mean, by what the metric's values are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ddpm_exp.decisions import statistics
from ddpm_exp.decisions.statistics import Estimate
from ddpm_exp.decisions.tallies import Stepped, Tally
from ddpm_exp.spec.metrics import Metric


@dataclass(frozen=True)
class Sample:
    """One arm's values of a metric in the order of its seeds, all finite."""

    values: Sequence[float]
    out_of: Sequence[float] = ()
    """Of how many each is a share, where the metric is one."""


def against_bound(metric: Metric, sample: Sample, bound: float) -> Estimate:
    """mean - bound."""
    values = sample.values
    scale = max(abs(bound), *map(abs, values))
    plain = statistics.one_sample([value - bound for value in values], scale=scale)
    if metric.values == "measured":
        return plain
    method: statistics.Method = "binomial, t of log-odds" if metric.values == "share" else "Poisson, t of logarithms"
    return Stepped(plain.mean, plain.standard_error, plain.degrees, method, _tally(metric, sample), offset=bound)


def between(metric: Metric, sample: Sample, reference: Sample, *, factor: float = 1.0, pairs: bool) -> Estimate:
    """mean - factor x the reference's mean; `pairs`: the values belong together one by one."""
    a, b = sample.values, reference.values
    plain = statistics.paired(a, b, factor=factor) if pairs else statistics.welch(a, b, factor=factor)
    if metric.values == "measured":
        return plain
    method: statistics.Method = "paired t, arms' own bounds" if pairs else "Welch t, arms' own bounds"
    ours, theirs = _tally(metric, sample), _tally(metric, reference)
    return Stepped(plain.mean, plain.standard_error, plain.degrees, method, ours, theirs, factor)


def beyond(contrast: Estimate, shift: float, direction: int, size: float) -> Estimate:
    """direction x (contrast - shift): what exceeds a claim. `size` is that of the numbers it was computed from, for rounding."""
    centre = contrast.mean - shift
    centre = 0.0 if abs(centre) <= statistics.ROUNDING * size else direction * centre
    if isinstance(contrast, Stepped):
        offset = contrast.offset + shift
        return Stepped(
            centre,
            contrast.standard_error,
            contrast.degrees,
            contrast.method,
            contrast.first,
            contrast.second,
            contrast.factor,
            offset,
            direction,
        )
    return Estimate(centre, contrast.standard_error, contrast.degrees, contrast.method)


def _tally(metric: Metric, sample: Sample) -> Tally:
    return Tally(tuple(sample.values), tuple(sample.out_of) if metric.values == "share" else None)
