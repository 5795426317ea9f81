"""How a step is sliced on one machine: derived from an experiment by `memory`, consumed by `training`."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from ddpm_exp.spec.base import Spec, broken
from ddpm_exp.spec.training import Precision


class Plan(Spec):
    """micro_batch x accumulation x devices = images_per_step, always."""

    gpu: str
    """Catalogue name, or the device's own name where it is not in the catalogue."""

    device: Literal["cpu", "cuda"]
    precision: Precision
    """Resolved: never `auto`."""

    images_per_step: int
    micro_batch: int
    """Images per forward pass on each device."""

    accumulation: int
    """Forward and backward passes per optimizer step."""

    devices: int = 1
    usable_bytes: int
    """Memory of the device, of which `headroom` stays free."""

    peak_bytes: int
    """Expected peak of training at `micro_batch`, in bytes."""

    uncertainty: float
    """Relative: the true peak is expected within `peak_bytes` x (1 +- uncertainty)."""

    source: Literal["estimated", "measured"]
    """`estimated` without the GPU; `measured` by a real step on it."""

    compile: bool = False
    """Whether the network is compiled."""

    largest_term: str = ""
    """The part of the peak that weighs most, in words."""

    @model_validator(mode="after")
    def _exact(self) -> Plan:
        if self.micro_batch * self.accumulation * self.devices != self.images_per_step:
            raise broken(
                "micro_batch x accumulation x devices must equal images_per_step",
                field="micro_batch",
                value=self.micro_batch,
                fix="choose a micro-batch that divides images_per_step",
            )
        return self
