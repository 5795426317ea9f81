"""One GPU's line in the table of `check`, in a form that JSON can keep, and what a measured speed changes in it. Takes no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator

from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.hardware import Gpu
from ddpm_exp.spec.plan import Plan


def _written(error: UserError | None) -> dict[str, Any] | None:
    """Raises ValueError for an error that would not come back with the same words."""
    if error is None:
        return None
    if type(error) is not UserError or repr(json.loads(json.dumps(error.value))) != repr(error.value):
        raise ValueError("this error cannot be written and read back unchanged")
    return {"rule": error.rule, "field": error.field, "value": error.value, "fix": error.fix, "origin": error.origin}


def _read(facts: dict[str, Any] | UserError | None) -> UserError | None:
    return UserError(facts.pop("rule"), **facts) if isinstance(facts, dict) else facts


Reason = Annotated[UserError | None, PlainValidator(_read), PlainSerializer(_written)]
"""An error as pydantic writes and reads it."""


Source = Literal["counted", "predicted, not measured", "measured"]
"""Where times come from: counted work at rates that were fitted to this GPU, or only to others; or a speed that was given."""

MEASURED_FACTOR = 1.1
"""The true time of training is expected within that at a measured speed, divided and multiplied by this."""


@dataclass(frozen=True)
class Timing:
    """Expected times of one run on one GPU, in seconds. What depends on data that only its files can tell is None."""

    step_seconds: float
    images_per_second: float
    """Of all devices together, in training."""
    epoch_seconds: float | None
    """Training alone."""
    training_seconds: float | None
    evaluation_seconds: float | None
    """All evaluations of the run, FID included."""
    run_seconds: float | None
    """Training, evaluations and starting. Early stopping and easier phases may make it less."""
    factor: float
    """The truth is expected within these times divided and multiplied by it."""
    source: Source

    def at_speed(self, images_per_second: float, *, as_run: bool = True) -> Timing:
        """These estimated times with a training speed that was measured, of all devices together. What is no training keeps its
        time, and its factor in proportion. Not `as_run`: the run's steps do more or less than those measured, so that training
        keeps its factor too."""
        ratio = self.images_per_second / images_per_second
        training = None if self.training_seconds is None else self.training_seconds * ratio
        run, factor = None, MEASURED_FACTOR if as_run else self.factor
        if self.run_seconds is not None and self.training_seconds is not None and training is not None:
            rest = self.run_seconds - self.training_seconds
            run = training + rest
            factor = (factor * training + self.factor * rest) / run
        return Timing(
            step_seconds=self.step_seconds * ratio,
            images_per_second=images_per_second,
            epoch_seconds=None if self.epoch_seconds is None else self.epoch_seconds * ratio,
            training_seconds=training,
            evaluation_seconds=self.evaluation_seconds,
            run_seconds=run,
            factor=factor,
            source="measured",
        )


@dataclass(frozen=True)
class Speed:
    """How a probe's real steps went on such a GPU, at the micro-batch that it chose."""

    micro_batch: int
    images_per_second: float
    """Of one device."""
    peak_bytes: int
    unlike: str = ""
    """In what the steps of a run differ from these, in words; empty: in nothing."""


@dataclass(frozen=True)
class PlanRow:
    """One GPU's line in the table of `check`: a plan, or why there is none."""

    gpu: Gpu
    plan: Plan | None
    reason: Reason
    timing: Timing | None = None
    """None without a plan, on a CPU, and on a GPU whose rates are unknown."""
    speed: Speed | None = None
    """What a probe measured, where `timing` stands on it; `plan` stays the estimate's."""

    def measured(self, speed: Speed) -> PlanRow:
        """The same with its times at `speed`. Unchanged without any."""
        if self.plan is None or self.timing is None:
            return self
        together = speed.images_per_second * self.plan.devices
        return replace(self, timing=self.timing.at_speed(together, as_run=not speed.unlike), speed=speed)
