"""Tries micro-batches on the real device before training: real steps, what they took and how fast they were."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ddpm_exp.memory.estimate import budget
from ddpm_exp.memory.fitting import micro_batches
from ddpm_exp.memory.limit import outside_allocator
from ddpm_exp.memory.search import Attempt, Caps, Found, search
from ddpm_exp.memory.terms import MIB, in_words
from ddpm_exp.ranks.full_device import is_out_of_memory, release
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.plan import Plan


class Trial(NamedTuple):
    """A training of its own, to be tried."""

    step: Callable[[], None]
    """One whole step: all its micro-batches, optimizer, average."""

    draw: Callable[[], None]
    """One batch of sampling, as evaluation draws it."""


TrialFactory = Callable[[int], Trial]
"""Micro-batch to a trial of it."""

MEASURED_UNCERTAINTY = 0.05
"""Relative, of a measured peak: fragmentation of a long run beyond that of the steps tried."""

WARM_UPS = 2
"""Whole steps before any is timed: the first creates the optimizer's state, a graph is captured by the second at the latest."""

_TIMED_SECONDS, _FEWEST, _MOST = 0.8, 3, 200
"""About so long is timed, in so many steps."""

_LEFT_BEHIND = 256 * MIB
"""Bytes that an attempt may leave: library workspaces, which stay for the life of the process."""


@dataclass(frozen=True)
class Probed:
    """A plan with what it was measured by."""

    plan: Plan
    found: Found
    limit_bytes: int
    """What was allowed: the memory less `hardware.headroom`."""


def probe(
    experiment: Experiment,
    plan: Plan,
    device: torch.device,
    factory: TrialFactory,
    *,
    emulated: int | None = None,
    given: int | None = None,
    caps: Caps | None = None,
) -> Probed | None:
    """The plan with its micro-batch searched for and its peak measured; images per step stay. None on a CPU: nothing is tried.

    `emulated`: bytes that the process is held to (`limit.held_to`). `given`: a micro-batch to keep to if it fits.
    Raises UserError if a micro-batch written in the experiment, or a single image, does not fit, and RunError if an
    attempt leaves memory behind.
    """
    if device.type != "cuda":
        return None
    limit = allowed(experiment, plan)
    return settle(experiment, plan, limit, lambda micro: _attempt(device, factory, plan, micro, emulated), given=given, caps=caps)


def allowed(experiment: Experiment, plan: Plan) -> int:
    """Bytes that the experiment may use of the plan's device."""
    return budget(experiment, find_gpu("cpu")._replace(name=plan.gpu, usable_bytes=plan.usable_bytes))


def settle(
    experiment: Experiment,
    plan: Plan,
    limit: int,
    attempt: Callable[[int], Attempt],
    *,
    given: int | None = None,
    caps: Caps | None = None,
) -> Probed:
    """`plan` with the micro-batch that a search with `attempt` ends with. Raises UserError where it finds none.

    One that the experiment writes is tried alone, as is a `given` one that fits. With `hardware.deterministic` no clock decides.
    """
    written = experiment.hardware.micro_batch
    candidates, start = micro_batches(experiment), plan.micro_batch
    if written is not None:
        candidates, start = [written], written
    elif given in candidates:
        start, caps = given, Caps(attempts=1)
    found = search(candidates, start, limit, attempt, caps, by_speed=not experiment.hardware.deterministic)
    if found.chosen is None:
        raise _does_not_fit(experiment, found.attempts[-1], limit, plan.gpu)
    return Probed(sliced(plan, found.chosen.micro_batch, found.chosen.peak_bytes or 0), found, limit)


def sliced(plan: Plan, micro_batch: int, peak_bytes: int) -> Plan:
    """`plan` with a micro-batch of which the peak was measured."""
    return plan.but(
        micro_batch=micro_batch,
        accumulation=plan.images_per_step // plan.devices // micro_batch,
        peak_bytes=peak_bytes,
        uncertainty=MEASURED_UNCERTAINTY,
        source="measured",
    )


def _does_not_fit(experiment: Experiment, last: Attempt, limit: int, gpu: str) -> UserError:
    micro = last.micro_batch
    took = "ran out of memory" if last.peak_bytes is None else f"took {in_words(last.peak_bytes)}"
    written = experiment.hardware.micro_batch is not None
    return UserError(
        f"a real step with {micro} image{'s' if micro > 1 else ''} at once {took} on {gpu}, of which {in_words(limit)} may be used",
        field="hardware.micro_batch" if written else "hardware.gpu",
        value=micro if written else gpu,
        fix="take a smaller hardware.micro_batch, or None to have it chosen"
        if written and micro > 1
        else "set model.checkpointing to True, or take a smaller model or a larger GPU",
    )


def _attempt(device: torch.device, factory: TrialFactory, plan: Plan, micro: int, emulated: int | None) -> Attempt:
    """What steps and a batch of sampling with `micro` images at once took. Leaves nothing behind, or raises RunError."""
    began = time.perf_counter()
    stream, before = torch.cuda.current_stream(device), _held(device, plan.compile)
    torch.cuda.reset_peak_memory_stats(device)
    ran = _run(device, factory, plan, micro, emulated)
    torch.cuda.set_stream(stream)  # a capture that memory ran out in leaves its own
    after = _held(device, plan.compile)
    left = max(after[0] - before[0], after[1] - before[1])
    if left > _LEFT_BEHIND:
        raise RunError(
            f"trying a micro-batch of {micro} left {in_words(left)} on the device",
            field="hardware.micro_batch",
            value=micro,
            fix="start again with hardware.micro_batch set to a smaller number, and report this",
        )
    peak, rate, first = ran or (None, None, 0.0)
    compiling = first if plan.compile else 0.0
    return Attempt(micro, peak, rate, time.perf_counter() - began, compiling, first, *zip(before, after, strict=True))


def _held(device: torch.device, compiled: bool) -> tuple[int, int]:
    """Bytes of tensors and of torch, once what nobody holds has been given back."""
    if compiled:
        # Forgotten too: code that meets another size of batch is compiled once more for sizes that vary, which no run does.
        torch.compiler.reset()
    release(device)
    return torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)


def _run(
    device: torch.device, factory: TrialFactory, plan: Plan, micro: int, emulated: int | None
) -> tuple[int, float, float] | None:
    """Peak bytes, images per second, seconds of the first step; None if memory ran out.

    In a function of its own, so that nothing of the steps outlives it: a caught exception would keep its frames.
    """
    try:
        trial = factory(micro)
        began = time.perf_counter()
        trial.step()
        torch.cuda.synchronize(device)
        first = time.perf_counter() - began
        for _ in range(WARM_UPS - 1):
            trial.step()
        seconds = seconds_of(trial.step, lambda: torch.cuda.synchronize(device))
        trial.draw()  # while the captured step holds what it holds, as in a run
        trial.step()
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise
    peak = torch.cuda.max_memory_reserved(device) + outside_allocator(device, emulated)
    return peak, plan.images_per_step / plan.devices / seconds, first


def seconds_of(step: Callable[[], None], wait: Callable[[], None]) -> float:
    """Seconds of one step: a first one tells how many to time, which then follow each other without waiting, as in a run."""
    wait()
    began = time.perf_counter()
    step()
    wait()
    count = min(_MOST, max(_FEWEST, math.ceil(_TIMED_SECONDS / max(1e-9, time.perf_counter() - began))))
    gc.collect()  # not within what is timed
    began = time.perf_counter()
    for _ in range(count):
        step()
    wait()
    return (time.perf_counter() - began) / count
