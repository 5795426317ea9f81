"""When a training ends before its time: a measure on held-out examples that no longer gets better. Measures nothing."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Lt
from pydantic import model_validator

from ddpm_exp.spec.base import Spec, broken
from ddpm_exp.spec.metrics import AT_THE_END, METRICS
from ddpm_exp.spec.progress import PositiveAmount

WATCHED: tuple[str, ...] = tuple(
    one.name
    for one in METRICS
    if one.name.startswith(("val/", "samples/")) and one.better != "neither" and one.name not in AT_THE_END
)
"""Measures of every evaluation that have a better direction."""


class EarlyStopping(Spec):
    """Ends the run at the first evaluation at which the best value is `patience` old (guide 000). Decided from the record alone,
    so an interrupted run ends where an undisturbed one does. The weights are those at the end, not those of the best value."""

    patience: PositiveAmount = "20 epochs"
    """How long the best value may stay the best."""

    metric: str = "val/denoising"
    """What is watched: a measure of every evaluation."""

    improvement: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the best value by which a new one must be better to count: 0.01 for one per cent."""

    @model_validator(mode="after")
    def _is_watched(self) -> EarlyStopping:
        if self.metric not in WATCHED:
            raise broken(
                f"a training is ended by what every evaluation measures and what has a better direction: {', '.join(WATCHED)}",
                field="metric",
                value=self.metric,
                fix="take one of these; val/denoising compares across schedules",
            )
        return self
