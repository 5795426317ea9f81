"""From an experiment and a GPU to the plan: precision, micro-batch and accumulation. Images per step are never touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ddpm_exp.memory.estimate import budget, estimate
from ddpm_exp.memory.fitting import Fitting, largest_fitting
from ddpm_exp.memory.kernels import is_cuda
from ddpm_exp.memory.remedies import remedies
from ddpm_exp.memory.rows import PlanRow
from ddpm_exp.memory.terms import Estimate, in_words
from ddpm_exp.memory.trace import without_collector
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, find_gpu
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.training import Precision

Device = Literal["cpu", "cuda"]


def plan(experiment: Experiment, gpu: Gpu, *, device: Device) -> Plan:
    """The plan with the largest micro-batch that divides the step and fits `gpu` with the headroom asked for.

    On "cpu" the processor's own row of the catalogue is meant. Raises UserError if the precision is not in the hardware,
    if `hardware.micro_batch` does not fit, or if not even one image fits: then with what would help, each tried out.
    """
    gpu = gpu if device == "cuda" or not is_cuda(gpu) else find_gpu("cpu")
    precision = resolve_precision(experiment, gpu)
    asked = experiment.hardware.micro_batch
    if asked is None:
        fitting = largest_fitting(experiment, gpu, precision)
        if fitting is None:
            raise _too_small(experiment, gpu, precision)
        return _plan(experiment, gpu, device, precision, fitting)
    expected = estimate(experiment, gpu, precision, asked)
    if expected.peak_bytes > budget(experiment, gpu):
        raise _too_many(experiment, gpu, precision, asked, expected)
    return _plan(experiment, gpu, device, precision, Fitting(asked, expected))


def resolve_precision(experiment: Experiment, gpu: Gpu) -> Precision:
    """What `training.precision` means on `gpu`: `auto` is the best that the hardware has, on a CPU fp32.

    A CPU also computes in bf16, if asked for by name. Raises UserError for what the hardware does not have.
    """
    asked = experiment.training.precision
    if asked == "auto":
        return gpu.best_precision if is_cuda(gpu) else "fp32"
    available: tuple[Precision, ...] = gpu.precisions if is_cuda(gpu) else ("fp32", "bf16")
    if asked not in available:
        raise UserError(
            f"{gpu.name} has no {asked} in hardware (it has {', '.join(available)})",
            field="training.precision",
            value=asked,
            fix=f"set training.precision to 'auto' or '{gpu.best_precision}'",
        )
    return asked


def _plan(experiment: Experiment, gpu: Gpu, device: Device, precision: Precision, fitting: Fitting) -> Plan:
    step, devices = experiment.training.images_per_step, experiment.hardware.devices
    micro, expected = fitting
    return Plan(
        gpu=gpu.name,
        device=device,
        precision=precision,
        images_per_step=step,
        micro_batch=micro,
        accumulation=step // devices // micro,
        devices=devices,
        usable_bytes=gpu.usable_bytes,
        peak_bytes=expected.peak_bytes,
        uncertainty=expected.uncertainty,
        source="estimated",
        compile=experiment.hardware.compile is True,
        largest_term=expected.largest_term,
    )


def _too_many(experiment: Experiment, gpu: Gpu, precision: Precision, asked: int, expected: Estimate) -> UserError:
    """Why the micro-batch that was written is refused: with the one that fits, or as the GPU's fault if none does."""
    fitting = largest_fitting(experiment, gpu, precision)
    if fitting is None:
        return _too_small(experiment, gpu, precision)
    return UserError(
        f"{asked} images at once need {in_words(expected.peak_bytes)} in {precision}, but {_room(experiment, gpu)}",
        field="hardware.micro_batch",
        value=asked,
        fix=f"take hardware.micro_batch = {fitting.micro_batch}, or None to have it chosen; images per step stay the same",
    )


def _room(experiment: Experiment, gpu: Gpu) -> str:
    return f"{in_words(budget(experiment, gpu))} of {gpu.name} may be used ({experiment.hardware.headroom:.0%} stays free)"


def _too_small(experiment: Experiment, gpu: Gpu, precision: Precision) -> UserError:
    smallest = estimate(experiment, gpu, precision, 1)
    helping = [
        f"{remedy.override}: micro-batch {remedy.micro_batch} then needs {in_words(remedy.peak_bytes)} ({remedy.note})"
        for remedy in remedies(experiment, gpu, precision)
    ]
    return UserError(
        f"one image at a time needs {in_words(smallest.peak_bytes)} in {precision} "
        f"(largest part: {smallest.largest_term}), but {_room(experiment, gpu)}",
        field="hardware.gpu",
        value=gpu.name,
        fix="any one of these fits:\n    " + "\n    ".join(helping)
        if helping
        else "no change known here makes it fit: take a larger GPU",
    )


def plan_table(experiment: Experiment, gpus: Sequence[Gpu]) -> list[PlanRow]:
    """A plan or the reason against it for each of `gpus`, in their order. Needs none of them."""
    with without_collector():  # which finds little and looks at all that torch has loaded: a tenth of the time
        return [_row(experiment, gpu) for gpu in gpus]


def _row(experiment: Experiment, gpu: Gpu) -> PlanRow:
    try:
        return PlanRow(gpu, plan(experiment, gpu, device="cuda" if is_cuda(gpu) else "cpu"), None)
    except UserError as error:
        return PlanRow(gpu, None, error)
