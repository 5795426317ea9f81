"""Tries a plan on the real device before training: real steps at its micro-batch, and what they really took."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ddpm_exp.memory.estimate import budget
from ddpm_exp.memory.plan import micro_batches
from ddpm_exp.memory.terms import MIB, in_words
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu
from ddpm_exp.spec.plan import Plan
from ddpm_exp.training.out_of_memory import is_out_of_memory, release

StepFactory = Callable[[int], Callable[[], None]]
"""Micro-batch to a function that does one whole step (all its micro-batches, optimizer, EMA) and one batch of sampling."""

MEASURED_UNCERTAINTY = 0.05
"""Relative, of a measured peak: fragmentation of a long run beyond that of the steps tried."""

STEPS = 2
"""Whole steps per attempt: the first creates the optimizer's state, the second is what every later one is like."""

_LEFT_BEHIND = 256 * MIB
"""Allocated bytes that an attempt may leave: library workspaces, which stay for the life of the process."""


def probe(experiment: Experiment, plan: Plan, device: torch.device, step_factory: StepFactory) -> Plan:
    """The plan with its peak measured, at a smaller micro-batch if the estimate was too hopeful; images per step stay.

    `step_factory(micro_batch)` builds a trainer of its own. On a CPU the plan comes back as it is: nothing is tried.
    Raises UserError if a micro-batch written in the experiment, or a single image, does not fit, and RunError if an
    attempt leaves memory behind.
    """
    if device.type != "cuda":
        return plan
    limit = budget(experiment, Gpu(plan.gpu, plan.usable_bytes, (0, 0), 0, 0, 0))
    return descend(experiment, plan, limit, lambda micro: _attempt(device, step_factory, micro))


def descend(experiment: Experiment, plan: Plan, limit: int, attempt: Callable[[int], int | None]) -> Plan:
    """The first of the plan's micro-batch and its halves, as far as they divide the step, whose attempt stays within `limit`.

    `attempt(micro_batch)` gives the bytes that it took of the device, or None if they were not to be had.
    """
    below = [micro for micro in micro_batches(experiment) if micro <= plan.micro_batch]
    while below:
        micro = below[0]
        peak = attempt(micro)
        if peak is not None and peak <= limit:
            return plan.but(
                micro_batch=micro,
                accumulation=plan.images_per_step // plan.devices // micro,
                peak_bytes=peak,
                uncertainty=MEASURED_UNCERTAINTY,
                source="measured",
            )
        if experiment.hardware.micro_batch is not None or micro == 1:
            raise _does_not_fit(experiment, micro, peak, limit, plan.gpu)
        below = [smaller for smaller in below if smaller <= max(1, micro // 2)]
    raise AssertionError("1 divides every step")


def _does_not_fit(experiment: Experiment, micro: int, peak: int | None, limit: int, gpu: str) -> UserError:
    took = "ran out of memory" if peak is None else f"took {in_words(peak)}"
    written = experiment.hardware.micro_batch is not None
    return UserError(
        f"a real step with {micro} image{'s' if micro > 1 else ''} at once {took} on {gpu}, of which {in_words(limit)} may be used",
        field="hardware.micro_batch" if written else "hardware.gpu",
        value=micro if written else gpu,
        fix="take a smaller hardware.micro_batch, or None to have it chosen"
        if written and micro > 1
        else "set model.checkpointing to True, or take a smaller model or a larger GPU",
    )


def _attempt(device: torch.device, step_factory: StepFactory, micro: int) -> int | None:
    """Bytes of the device in use at the busiest moment of `STEPS` steps, or None if memory ran out. Leaves nothing behind."""
    release(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    peak = _run(device, step_factory, micro)
    release(device)
    left = torch.cuda.memory_allocated(device) - before
    if left > _LEFT_BEHIND:
        raise RunError(
            f"trying a micro-batch of {micro} left {in_words(left)} on the device",
            field="hardware.micro_batch",
            value=micro,
            fix="start again with hardware.micro_batch set to a smaller number, and report this",
        )
    return peak


def _run(device: torch.device, step_factory: StepFactory, micro: int) -> int | None:
    """In a function of its own, so that nothing of the step outlives it: a caught exception would keep its frames."""
    try:
        step = step_factory(micro)
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise
    free, total = torch.cuda.mem_get_info(device)
    outside_allocator = total - free - torch.cuda.memory_reserved(device)
    return torch.cuda.max_memory_reserved(device) + outside_allocator
