"""What a training says when memory runs out within it; not how much it needs."""

from __future__ import annotations

from dataclasses import dataclass

from ddpm_exp.spec.errors import RunError


@dataclass(frozen=True)
class Halved:
    """A step had no room, and is taken again with half as many images at once, as all after it."""

    images: int
    """Images seen before the step."""

    micro_batch: int
    """Images at once from now on."""

    accumulation: int
    """Micro-batches of one process in a step from now on."""

    gpu: str
    """The plan's."""

    devices: int
    said: str
    """The first line of what the device said."""


class NoRoomError(RunError):
    """There is no room for a single image, or for the optimizer beside the weights."""
