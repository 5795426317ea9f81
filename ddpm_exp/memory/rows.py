"""One GPU's line in the table of `check`, in a form that JSON can keep. Takes no torch and computes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
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


@dataclass(frozen=True)
class PlanRow:
    """One GPU's line in the table of `check`: a plan, or why there is none."""

    gpu: Gpu
    plan: Plan | None
    reason: Reason
    timing: Timing | None = None
    """None without a plan, on a CPU, and on a GPU whose rates are unknown."""
