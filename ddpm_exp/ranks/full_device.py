"""What tells that a device has no memory left, and gives back to it what nobody holds. Counts no bytes, tries nothing again."""

from __future__ import annotations

import gc

import torch


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error` says so, or an error during whose handling it came up: an interrupted capture has its own words."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and "out of memory" in str(error).lower()):
            return True
        error = error.__cause__ or error.__context__
    return False


def said_by(error: BaseException) -> str:
    """The first line of what the device said."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def release(device: torch.device, *, workspaces: bool = True) -> None:
    """Give back to the device what no tensor holds any more. `workspaces`: also what matrix products keep to work in, which a graph
    that was captured goes on using: False as long as there is one."""
    gc.collect()
    if device.type == "cuda":
        if workspaces:
            # One per stream (32 MiB on Hopper), and each captured step has a stream of its own.
            torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
