"""What torch's CPU allocator reports, and a process on CUDA that allocates nothing of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ddpm_exp.memory.allocator import MIB
from ddpm_exp.memory.replay import Process

NOTHING = Process(
    weights=(), relaid=(), half=(), averages=0, moments=(), update=(), data=0, workspace_bytes=32 * MIB, captured=True,
    accumulates=False, shape_bytes=512,
)  # fmt: skip


def real_peak(work: Callable[[], object]) -> int:
    """Bytes that `work` really allocates on this CPU above what was there, the second time that it is done."""
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        highest = max(highest, alive)
    return highest
