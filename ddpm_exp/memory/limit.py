"""A smaller card on a larger one: a process that really gets no more memory than that has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ddpm_exp.memory.terms import MIB
from ddpm_exp.spec.hardware import Gpu

CONTEXT_BYTES = 848 * MIB
"""CUDA context, libraries and loaded kernels, which the allocator knows nothing of: 839 to 849 MiB measured on an H100 with all
of them loaded. It is taken as a constant where a card is emulated: right after the start little of it is loaded, and what the
driver says of the device counts other processes too."""


def share_of(limit: int, total: int) -> float:
    """The share of `total` bytes that torch may hold, so that the whole process stays within `limit`, context included."""
    return min(1.0, max(0, limit - CONTEXT_BYTES) / total)


def outside_allocator(device: torch.device, limit: int | None) -> int:
    """Bytes of `device` in use that torch's allocator does not hold; under an emulated `limit` the constant it was set with."""
    if limit is not None:
        return CONTEXT_BYTES
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free - torch.cuda.memory_reserved(device))


@contextmanager
def held_to(limit: int | None, gpu: Gpu, device: torch.device) -> Iterator[None]:
    """Meanwhile this process gets no more than `limit` bytes of `device`, as if that were `gpu`; None: all of it, as it is.

    `set_per_process_memory_fraction` bounds what torch *reserves*, private pools of captured graphs included: beyond it an
    allocation fails as on a full card. What lies outside of the allocator is not bounded by it and so taken off beforehand.
    Only memory is emulated, and that attention before capability 8.0 knows no flash and no cuDNN kernels, as those keep
    less; other kernels and all rates are those of the device that is there.
    """
    if limit is None or device.type != "cuda":
        yield
        return
    index = torch.cuda.current_device() if device.index is None else device.index
    before = torch.cuda.get_per_process_memory_fraction(index)
    flash: bool = torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    cudnn: bool = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.cuda.empty_cache()  # what is cached from before counts too
    torch.cuda.set_per_process_memory_fraction(share_of(limit, torch.cuda.get_device_properties(index).total_memory), index)
    if gpu.capability < (8, 0):
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_flash_sdp(flash)
        torch.backends.cuda.enable_cudnn_sdp(cudnn)
        torch.cuda.set_per_process_memory_fraction(before, index)
