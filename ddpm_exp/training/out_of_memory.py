"""What tells that a device has no memory left, and what a training does then; not how much it needs."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch

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

    said: str
    """The first line of what the device said."""


class NoRoomError(RunError):
    """There is no room for a single image, or for the optimizer beside the weights."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error` says so, or an error during whose handling it came up: an interrupted capture has its own words."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and "out of memory" in str(error).lower()):
            return True
        error = error.__cause__ or error.__context__
    return False


def release(device: torch.device) -> None:
    """Give back to the device what no tensor holds any more."""
    gc.collect()
    if device.type == "cuda":
        # Matrix products keep a workspace per stream (32 MiB on Hopper), and each captured step has a stream of its own.
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
