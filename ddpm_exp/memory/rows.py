"""One GPU's line in the table of `check`, in a form that JSON can keep. Takes no torch and computes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

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


Reason = Annotated[UserError | None, PlainSerializer(_written), PlainValidator(_read)]
"""An error as pydantic writes and reads it."""


@dataclass(frozen=True)
class PlanRow:
    """One GPU's line in the table of `check`: a plan, or why there is none."""

    gpu: Gpu
    plan: Plan | None
    reason: Reason
