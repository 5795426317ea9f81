"""One arm of a comparison: the recorded runs of one experiment, seed by seed, and its metrics at a point of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ddpm_exp.records.amendments import Amendment
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.metrics import METRIC_NAMES, find_metric
from ddpm_exp.spec.progress import to_images

Series = Mapping[str, tuple[tuple[int, float], ...]]
"""Metric name to (images seen, value), in the order of recording."""

EVALUATED = ("val/", "samples/", "noise/")
"""Metrics that exist only where an evaluation took place; the others are recorded throughout, as means since the last record."""


@dataclass(frozen=True)
class Run:
    """What a verdict needs to know about one run directory."""

    path: Path
    seed: int
    state: str
    """`finished` counts; `running`, `interrupted`, `failed` and `damaged` do not."""

    message: str = ""
    images_seen: int = 0
    stopped_early: bool = False
    """Finished before its planned end, at `images_seen`, because a measure no longer got better."""

    hours: float | None = None
    """Time spent in training and evaluation; None where the run does not say."""

    gpu: str = "not recorded"
    torch: str = "not recorded"
    created: str = ""
    """ISO 8601; orders repeats of a seed."""

    science_hash: str = ""
    criteria_hash: str | None = None
    planned_seeds: tuple[int, ...] = ()
    """The seeds that its own decision planned when it began; none where it had no decision."""

    amendable: bool = True
    """Whether that decision left room for more seeds."""

    evaluation_noise: Literal["shared", "per-seed"] = "per-seed"
    """`shared`: evaluated with the noise that runs of every seed had, once."""

    data_fingerprint: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Flat dotted keys, as in the manifest."""

    units: Mapping[str, int] = field(default_factory=dict)
    """`images_per_step`, `images_per_epoch`, `total_images`."""

    series: Series = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the run reached its planned end."""
        return self.state == "finished"

    @property
    def place(self) -> str:
        """The directory as `runs/<name>/<hash>/<seed>-<id>`, the same on every machine."""
        return "/".join(self.path.parts[-4:])

    def images_at(self, amount: str | None) -> int:
        """`amount` (None: the end) in images seen of this run."""
        if amount is None:
            return self.images_seen if self.stopped_early else self.units["total_images"]
        return to_images(amount, images_per_step=self.units["images_per_step"], images_per_epoch=self.units["images_per_epoch"])

    def value(self, metric: str, images: int) -> float | None:
        """`metric` after `images` images: recorded exactly there for what is evaluated, last recorded by then for the rest.

        Never a later record. None where there is none, or where it is not finite.
        """
        evaluated = metric.startswith(EVALUATED)
        found: float | None = None
        for seen, value in self.series.get(metric, ()):
            if seen == images or (not evaluated and 0 < seen <= images):
                found = value
        return found if found is not None and math.isfinite(found) else None

    def out_of(self, metric: str, images: int) -> float | None:
        """Of how many the share `metric` is one after `images` images: as recorded beside it, else (runs from before that was) as
        many as evaluation was asked to draw. None where neither is known, or the metric is no share."""
        known = metric.removeprefix("noise/")
        found = find_metric(known) if known in METRIC_NAMES else None
        if found is None or found.values != "share":
            return None
        if found.out_of is None:
            return 1.0
        recorded = self.value(metric.removesuffix(known) + found.out_of, images)
        return recorded if recorded is not None else self.config.get("evaluation.samples")


@dataclass(frozen=True)
class Arm:
    """The runs of one experiment. Only finished runs of planned seeds count, and of each seed only the first."""

    experiment_id: str
    """`ADR-0002`, or the file's stem."""

    name: str
    science_hash: str
    planned: tuple[int, ...]
    """Seeds fixed before the first run."""

    runs: tuple[Run, ...] = ()
    """Everything found, finished or not, planned or not."""

    amendments: tuple[Amendment, ...] = ()
    """How the planned seeds grew after runs were made, oldest first."""

    def __post_init__(self) -> None:
        other = sorted({run.science_hash for run in self.runs} - {self.science_hash})
        if other:
            raise UserError(
                f"an arm holds runs of one experiment only; found the science hashes {self.science_hash} and {', '.join(other)}",
                field=self.name,
                fix="compare them as two arms",
            )

    @cached_property
    def counted(self) -> dict[int, Run]:
        """Seed to the run that counts, for planned seeds, in ascending order.

        Of several finished runs of a seed the first one made counts: repeating a seed until it suits is no evidence. But one that
        was evaluated with its own seed's noise goes before all that were not.
        """
        chosen: dict[int, Run] = {}
        for run in sorted(self.runs, key=lambda run: (run.seed, run.evaluation_noise == "shared", run.created, run.place)):
            if run.finished and run.seed in self.planned:
                chosen.setdefault(run.seed, run)
        return chosen

    @property
    def missing(self) -> tuple[int, ...]:
        """Planned seeds without a finished run."""
        return tuple(seed for seed in sorted(self.planned) if seed not in self.counted)

    @property
    def extra(self) -> tuple[Run, ...]:
        """Runs that are listed but not used: other seeds, repeats, unfinished ones."""
        used = {id(run) for run in self.counted.values()}
        return tuple(run for run in sorted(self.runs, key=lambda run: (run.seed, run.created, run.place)) if id(run) not in used)

    @property
    def complete(self) -> bool:
        """Whether every planned seed is finished."""
        return not self.missing

    def values(self, metric: str, at: str | None = None) -> dict[int, float | None]:
        """Seed to value of `metric` at an amount of training (None: the end), for the runs that count."""
        return {seed: run.value(metric, run.images_at(at)) for seed, run in self.counted.items()}

    def values_before_training(self, metric: str) -> dict[int, float | None]:
        """Seed to value of `metric` before the first step."""
        return {seed: run.value(metric, 0) for seed, run in self.counted.items()}

    def out_of(self, metric: str, at: str | None = None) -> dict[int, float | None]:
        """Seed to that of which `metric`, a share, is one; as `values`."""
        return {seed: run.out_of(metric, run.images_at(at)) for seed, run in self.counted.items()}

    def out_of_before_training(self, metric: str) -> dict[int, float | None]:
        """Seed to that of which `metric`, a share, is one; as `values_before_training`."""
        return {seed: run.out_of(metric, 0) for seed, run in self.counted.items()}

    @property
    def images(self) -> int:
        """Images seen in all runs of this arm, counted or not: what it cost."""
        return sum(run.images_seen for run in self.runs)

    @property
    def hours(self) -> float:
        """Hours spent in all runs of this arm that say so."""
        return math.fsum(run.hours for run in self.runs if run.hours is not None)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names recorded by any run that counts, sorted."""
        return tuple(sorted({name for run in self.counted.values() for name in run.series}))

    @property
    def config(self) -> Mapping[str, Any]:
        """The flat configuration of this arm's runs; empty without runs."""
        return self.runs[0].config if self.runs else {}


def seeds_in_words(seeds: Sequence[int]) -> str:
    """`seed 2` or `seeds 0, 1 and 2`."""
    words = [str(seed) for seed in seeds]
    if len(words) == 1:
        return f"seed {words[0]}"
    return f"seeds {', '.join(words[:-1])} and {words[-1]}" if words else "no seeds"
