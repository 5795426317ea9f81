"""One criterion, judged on numbers: what is claimed, what was measured, and whether it holds, fails or is open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ddpm_exp.decisions import statistics
from ddpm_exp.decisions.arm import seeds_in_words
from ddpm_exp.decisions.contrasts import Sample, against_bound, between, beyond
from ddpm_exp.decisions.statistics import Estimate
from ddpm_exp.decisions.tallies import Stepped
from ddpm_exp.decisions.wording import with_deviation, with_interval
from ddpm_exp.spec.decision import Criterion
from ddpm_exp.spec.metrics import find_metric

Mark = Literal["holds", "fails", "open"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Judged:
    """A criterion's outcome. All numbers but n have the metric's unit; None where there is nothing to say."""

    criterion: Criterion
    status: Mark
    reason: str
    """Why it is what it is, as a sentence."""

    n: int = 0
    mean: float | None = None
    deviation: float | None = None
    reference_n: int = 0
    reference_mean: float | None = None
    reference_deviation: float | None = None
    difference: float | None = None
    """Mean minus the reference's mean (minus the bound for `at_most` and `at_least`)."""

    interval: Interval | None = None
    """Of the difference; each end is a one-sided bound at the criterion's confidence."""

    slack: float | None = None
    """By how much the claim is exceeded: negative where it is missed. With a relative margin its uncertainty is included."""

    slack_interval: Interval | None = None
    """The criterion holds where it lies above zero and fails where it lies below."""

    method: str | None = None
    confidence: float | None = None
    """One-sided, at which it was judged: the criterion's own, or more where its error is shared with other looks or claims."""

    @property
    def sentence(self) -> str:
        """The criterion and its outcome in words."""
        return f"{self.criterion}: {self.status}; {self.reason}"

    @property
    def numbers(self) -> str:
        """What was found, `0.065 ± 0.001 against 1.145 ± 0 (untrained), difference -1.08 [-1.09, -1.07], n = 2`; empty if none."""
        if self.mean is None:
            return ""
        found = with_deviation(self.mean, self.deviation)
        if self.reference_mean is not None:
            found += f" against {with_deviation(self.reference_mean, self.reference_deviation)} ({self.criterion.against})"
        return f"{found}, difference {with_interval(self.difference, self.interval)}, n = {self.n}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "criterion": self.criterion.model_dump(mode="json"),
            "words": str(self.criterion),
            **{name: getattr(self, name) for name in ("status", "reason", "confidence", "n", "mean", "deviation", "reference_n")},
            **{name: getattr(self, name) for name in ("reference_mean", "reference_deviation", "difference", "slack", "method")},
            "interval": list(self.interval) if self.interval else None,
            "slack_interval": list(self.slack_interval) if self.slack_interval else None,
        }


def judge_criterion(
    criterion: Criterion,
    values: Mapping[int, float | None],
    reference: Mapping[int, float | None] | None,
    withheld: str | None = None,
    *,
    out_of: Mapping[int, float | None] | None = None,
    reference_out_of: Mapping[int, float | None] | None = None,
    share: float = 1.0,
) -> Judged:
    """Judge one criterion on values by seed; `reference` is None for `at_most` and `at_least`.

    `out_of`: of how many each value is a share, for metrics that are shares. `share`: how much of the criterion's error (1 -
    confidence) may be spent here. Any missing value leaves it open. So does `withheld`, a sentence on why nothing may be concluded
    yet; the numbers are then still given.
    """
    direction, metric = _direction(criterion), find_metric(criterion.metric)
    confidence = criterion.confidence if share == 1 else 1 - share * (1 - criterion.confidence)
    lacking = _lacking("", criterion, values) or (
        reference is not None and _lacking(f"{criterion.against}'s ", criterion, reference)
    )
    if metric.values == "share" and not lacking:
        lacking = _lacking_size("", criterion, values, out_of) or (
            reference is not None and _lacking_size(f"{criterion.against}'s ", criterion, reference, reference_out_of)
        )
    a, b = _known(values), _known(reference or {})
    judged = Judged(
        criterion,
        "open",
        withheld or lacking or "",
        n=len(a),
        mean=statistics.mean(a) if a else None,
        deviation=statistics.deviation(a),
        reference_n=len(b),
        reference_mean=statistics.mean(b) if b else None,
        reference_deviation=statistics.deviation(b),
        confidence=confidence,
    )
    if lacking or not a or (reference is not None and not b):
        return judged
    pairs = reference is not None and sorted(values) == sorted(reference)
    if reference is not None and criterion.relative and min(b) <= 0:
        return replace(judged, reason=withheld or "a margin in per cent needs a reference above zero; write it as a number")
    ours, theirs = Sample(a, _sizes(values, out_of)), Sample(b, _sizes(reference or {}, reference_out_of))
    towards = -direction if criterion.kind == "no_worse" else direction
    factor = 1.0 + towards * criterion.by if criterion.relative else 1.0
    shift = 0.0 if criterion.relative else towards * criterion.by
    if criterion.value is not None:
        plain = contrast = against_bound(metric, ours, criterion.value)
    else:
        plain = between(metric, ours, theirs, pairs=pairs)
        contrast = plain if factor == 1 else between(metric, ours, theirs, factor=factor, pairs=pairs)
    size = max(abs(value) for value in (*a, *b, shift))
    return _conclude(judged, plain, beyond(contrast, shift, direction, size), confidence, withheld)


def _direction(criterion: Criterion) -> int:
    """+1 where the criterion asks for high values, -1 for low ones."""
    if criterion.kind == "no_worse":
        # A decision refuses no_worse for metrics without a better direction.
        return 1 if find_metric(criterion.metric).better == "higher" else -1
    return 1 if criterion.kind in ("rises", "at_least") else -1


def _lacking(whose: str, criterion: Criterion, values: Mapping[int, float | None]) -> str | None:
    gone = [seed for seed in sorted(values) if values[seed] is None]
    if not gone:
        return None
    return (
        f"{whose}{criterion.metric} is not recorded, or not finite, {criterion.at_point or 'at the end'} for {seeds_in_words(gone)}"
    )


def _lacking_size(
    whose: str, criterion: Criterion, values: Mapping[int, float | None], sizes: Mapping[int, float | None] | None
) -> str | None:
    gone = [seed for seed in sorted(values) if not (sizes or {}).get(seed)]
    if not gone:
        return None
    return f"of how many {whose}{criterion.metric} is a share is not recorded for {seeds_in_words(gone)}"


def _known(values: Mapping[int, float | None]) -> list[float]:
    """In the order of seeds."""
    return [value for seed in sorted(values) if (value := values[seed]) is not None]


def _sizes(values: Mapping[int, float | None], sizes: Mapping[int, float | None] | None) -> list[float]:
    """Of how many each of `values` is a share, in the order of seeds."""
    return [sizes[seed] or 0.0 for seed in sorted(values)] if sizes else []


def _conclude(judged: Judged, plain: Estimate, slack: Estimate, confidence: float, withheld: str | None) -> Judged:
    criterion = judged.criterion
    low, high = slack.bounds(confidence)
    # "Falls" and "rises" claim a difference, however small the margin: none at all is not one.
    strict = criterion.kind in ("falls", "rises") and plain.mean == 0
    status: Mark = "holds" if low > 0 or (low == 0 and not strict) else "fails" if high < 0 or slack.exact else "open"
    if status == "holds":
        reason = f"supported at {confidence * 100:.4g} % confidence"
    elif status == "fails":
        reason = f"its opposite is supported at {confidence * 100:.4g} % confidence"
    elif math.isinf(slack.standard_error):
        reason = "one value per arm says nothing about the spread between seeds; at least two seeds are needed"
    else:
        reason = f"{_too_wide(slack)} to say so or the opposite at {confidence * 100:.4g} % confidence"
    if slack.exact:
        which = "values" if criterion.value is not None else "differences between the arms"
        reason += f" (all {judged.n} {which} are identical, so the interval is a point)"
        if judged.reference_n and plain.mean == 0:
            reason += "; the difference is exactly zero"
    return replace(
        judged,
        reason=withheld or reason,
        status="open" if withheld else status,
        difference=plain.mean,
        interval=_finite(plain.bounds(confidence)),
        slack=slack.mean,
        slack_interval=_finite((low, high)),
        method=slack.method,
    )


def _too_wide(slack: Estimate) -> str:
    if isinstance(slack, Stepped):
        return "values in such steps, over so few seeds, allow one neither"
    return "the seeds differ too much"


def _finite(interval: Interval) -> Interval | None:
    return interval if all(map(math.isfinite, interval)) else None
