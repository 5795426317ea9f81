"""The final metrics of one or two arms side by side, with differences and 95 % intervals. Describes; decides nothing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ddpm_exp.decisions import statistics
from ddpm_exp.decisions.arm import Arm, seeds_in_words
from ddpm_exp.decisions.comparable import early_ends, refuse_losses, require_comparable
from ddpm_exp.decisions.contrasts import Sample, between
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.metrics import METRICS, Metric

LEVEL = 0.95
"""Of the two-sided intervals. They are not corrected for the number of metrics: among 20, one excludes zero by chance."""


@dataclass(frozen=True)
class Side:
    """One arm's values of one metric at the end of training, over seeds."""

    n: int
    mean: float | None = None
    deviation: float | None = None


@dataclass(frozen=True)
class Row:
    """One metric in both arms."""

    metric: str
    better: Literal["lower", "higher", "neither"]
    unit: str
    a: Side
    b: Side
    difference: float | None = None
    """Mean of A minus mean of B; None where an arm lacks the metric or the two do not compare."""

    interval: tuple[float, float] | None = None
    method: str | None = None
    favours: Literal["a", "b"] | None = None
    """The better arm where the metric has a direction and the interval excludes zero."""

    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Arm A beside arm B (usually its baseline), or alone."""

    a: str
    b: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    """What limits the comparison, as sentences."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, without infinities or NaN."""
        return {"a": self.a, "b": self.b, "level": LEVEL, "rows": [asdict(row) for row in self.rows], "notes": list(self.notes)}


def compare(a: Arm, b: Arm | None = None) -> Comparison:
    """Every metric of the catalogue that an arm has at its end.

    Pairs by seed where both arms have the same seeds, else independent arms (Welch). Raises UserError where data or
    evaluation settings differ.
    """
    if b is not None:
        require_comparable(a, b)
    rows = [row for metric in METRICS if (row := _row(metric, a, b)) is not None]
    notes = [note for arm in (a, *([b] if b else [])) if (note := _seeds_note(arm))]
    notes += [sentence for arm in (a, *([b] if b else [])) for sentence in early_ends(arm)]
    return Comparison(a.experiment_id, b.experiment_id if b else None, tuple(rows), tuple(notes))


def _row(metric: Metric, a: Arm, b: Arm | None) -> Row | None:
    ours, theirs = _finite(a, metric.name), _finite(b, metric.name) if b else {}
    if not ours and not theirs:
        return None
    row = Row(metric.name, metric.better, metric.unit, _side(ours), _side(theirs))
    if b is None:
        return row
    if not ours or not theirs:
        lacking = a if not ours else b
        return replace(row, note=f"not recorded for {lacking.experiment_id}")
    try:
        refuse_losses(metric.name, a, b)
    except UserError as error:
        return replace(row, note=error.rule)
    values, reference = _sample(metric, a, ours), _sample(metric, b, theirs)
    if values is None or reference is None:
        return replace(row, note="of how many these are shares is not recorded")
    estimate = between(metric, values, reference, pairs=sorted(ours) == sorted(theirs))
    low, high = estimate.interval(LEVEL)
    if math.isinf(low):
        return replace(row, difference=estimate.mean, note="one seed: no interval")
    favours = _favours(metric, low, high)
    return replace(row, difference=estimate.mean, interval=(low, high), method=estimate.method, favours=favours)


def _favours(metric: Metric, low: float, high: float) -> Literal["a", "b"] | None:
    if metric.better == "neither" or low <= 0 <= high:
        return None
    return "a" if (low > 0) == (metric.better == "higher") else "b"


def _finite(arm: Arm, metric: str) -> dict[int, float]:
    return {seed: value for seed, value in arm.values(metric).items() if value is not None}


def _sample(metric: Metric, arm: Arm, values: dict[int, float]) -> Sample | None:
    """The values in the order of seeds; None for shares of nobody knows how many."""
    numbers = [values[seed] for seed in sorted(values)]
    if metric.values != "share":
        return Sample(numbers)
    known = arm.out_of(metric.name)
    sizes = [size for seed in sorted(values) if (size := known.get(seed))]
    return Sample(numbers, sizes) if len(sizes) == len(numbers) else None


def _side(values: dict[int, float]) -> Side:
    numbers = list(values.values())
    return Side(len(numbers), statistics.mean(numbers), statistics.deviation(numbers)) if numbers else Side(0)


def _seeds_note(arm: Arm) -> str | None:
    if arm.complete:
        return None
    done = f"{len(arm.counted)} of {len(arm.planned)} planned runs are finished"
    return f"{arm.experiment_id}: {done}; {seeds_in_words(arm.missing)} missing"
