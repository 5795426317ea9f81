"""Whether the GPU holds its clock down for heat or power, asked of NVIDIA's library where Python has a binding to it (pynvml)."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch

_SLOWED = 0x8 | 0x20 | 0x40 | 0x80
"""NVML's reasons: hardware slowdown, software thermal, hardware thermal, power brake. Its power cap (0x4) is usual under load."""


def throttling(device: torch.device) -> Callable[[], float | None]:
    """Asks `device`: 1.0 where it is slowed down now, 0.0 where not, None where nobody can tell. Never raises."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # no binding, no driver, no CUDA, or a device that is part of another
        return lambda: None

    def ask() -> float | None:
        try:
            return float(bool(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & _SLOWED))
        except Exception:
            return None

    return ask
