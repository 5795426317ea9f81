"""How long an experiment takes on a GPU that nobody has to have: counted work against the catalogue's rates. Starts no clock."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch

from ddpm_exp.memory.counting import Updated, Work, updated_by, work_of
from ddpm_exp.memory.estimate import sampling_batch
from ddpm_exp.memory.evaluating import Asked, asked_by
from ddpm_exp.memory.kernels import Kernels, is_cuda, kernels_of
from ddpm_exp.memory.rows import MEASURED_FACTOR, Source, Timing
from ddpm_exp.spec.data import training_images
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.training import Precision


class Rates(NamedTuple):
    """What kernels reach of a data sheet, and what launching them costs: fitted by `benchmarks/time_estimates.py` to trainings and
    samplings of this package on an H100 and an H200."""

    products: float = 0.75
    """Share of the peak rate of matrix products. At the upper bound that the fit allows: most steps are bound by memory."""
    memory: float = 0.449
    """Share of an H100's bandwidth. Slower memory is used better: the share grows as (3350 / GB/s) ** `memory_exponent`."""
    memory_exponent: float = 0.73
    memory_most: float = 0.85
    kernel_seconds: float = 1.5e-6
    """Shortest time of a kernel in a captured graph."""
    launch_seconds: float = 43.8e-6
    """Host time of an operation where nothing is captured."""
    step_seconds: float = 1.76e-3
    """Host time of an optimizer step beside its micro-batches."""
    tensor_seconds: float = 12.2e-6
    """The same, for each tensor of weights."""


RATES = Rates()

UPDATE_BYTES = 62
"""Read and written per weight by clipping, AdamW, one average and the 16-bit copy."""

LINK_GBS = {"NVLink": 136.0, "PCIe": 10.0}
"""Rate at which gradients are summed over devices. NVLink: measured on two H100s; PCIe: assumed."""

_LINKED = ("V100-16", "V100-32", "A100-40", "A100-80", "H100", "H200", "MI300X")

STARTING_SECONDS = 20.0
"""Imports, data, capture and the end of a run."""

EVALUATION_SECONDS = 1.5
"""Measures, pictures and files of one evaluation, on the host."""

FACTORS: dict[Source, float] = {"counted": 1.5, "predicted, not measured": 2.0, "measured": MEASURED_FACTOR}
"""The true time is expected within the estimate divided and multiplied by this. `counted`: on GPUs whose measurements the rates
were fitted to, in 16 bits; the worst of them is off by 28 %, a U-Net that is left out of the fit by up to 52 %. `predicted, not
measured`: all others. `measured`: the device's own rate was given; what is no training
keeps its factor, in proportion."""

_FITTED = ("H100", "H200")
_UNTRIED = 3.0
"""The factor where not even the kernels were tried: on AMD's GPUs."""


def timing(
    experiment: Experiment, gpu: Gpu, plan: Plan, *, images_per_second: float | None = None, as_run: bool = True
) -> Timing | None:
    """Times of a run of `experiment` on `gpu` as `plan` slices it; None on a CPU and on a GPU whose rates are unknown.

    `images_per_second`: training speed that was measured on all its devices together, which then replaces the estimate;
    `as_run`: see `Timing.at_speed`.
    """
    if not is_cuda(gpu) or not (gpu.bandwidth_gbs and gpu.half_tflops and gpu.fp32_tflops):
        return None
    kernels = _alike(kernels_of(gpu, plan.precision, fused_norms=experiment.hardware.fused_kernels))
    tf32 = experiment.training.tf32 and gpu.capability >= (8, 0)
    captured = experiment.hardware.cuda_graph and not experiment.hardware.shard
    source: Source = "counted" if gpu.name in _FITTED and plan.precision != "fp32" else "predicted, not measured"
    factor = FACTORS[source] if gpu.maker == "NVIDIA" else _UNTRIED
    if images_per_second is not None:
        step = plan.images_per_step / images_per_second
    else:
        work = work_of(experiment, kernels, "training")
        step = plan.accumulation * pass_seconds(work, gpu, plan.micro_batch, captured=captured, tf32=tf32)
        updated = updated_by(experiment)
        step += update_seconds(updated, gpu, half=plan.precision == "bf16") + _sum_seconds(experiment, updated, gpu)
    per_epoch = training_images(experiment.data)
    total = _images(experiment, experiment.training.duration, per_epoch)
    training = None if total is None else step * total / plan.images_per_step
    evaluation = None
    every = _images(experiment, experiment.evaluation.every, per_epoch)
    if total is not None and every is not None:
        together = sampling_batch(experiment, gpu, plan.precision, plan.micro_batch)
        forward = work_of(experiment, kernels, "sampling")
        asked = asked_by(experiment, 1 + math.ceil(total / every))
        evaluation = _evaluation_seconds(asked, forward, gpu, together, plan.devices, captured=captured, tf32=tf32)
    run = None if training is None or evaluation is None else training + evaluation + STARTING_SECONDS
    speed = plan.images_per_step / step
    epoch = None if per_epoch is None else per_epoch / speed
    found = Timing(step, speed, epoch, training, evaluation, run, factor, source)
    return found if images_per_second is None else found.at_speed(images_per_second, as_run=as_run)


def drawing_seconds(
    experiment: Experiment, gpu: Gpu, precision: Precision, *, calls: int, together: int
) -> tuple[float, float] | None:
    """Seconds in which the network of `experiment` is asked about one image `calls` times, `together` at once, and the factor
    within which that is expected; None on a CPU and on a GPU whose rates are unknown."""
    if not is_cuda(gpu) or not (gpu.bandwidth_gbs and gpu.half_tflops and gpu.fp32_tflops):
        return None
    kernels = _alike(kernels_of(gpu, precision, fused_norms=experiment.hardware.fused_kernels))
    tf32 = experiment.training.tf32 and gpu.capability >= (8, 0)
    captured = experiment.hardware.cuda_graph
    once = pass_seconds(work_of(experiment, kernels, "sampling"), gpu, together, captured=captured, tf32=tf32)
    source: Source = "counted" if gpu.name in _FITTED and precision != "fp32" else "predicted, not measured"
    return calls / together * once, FACTORS[source] if gpu.maker == "NVIDIA" else _UNTRIED


def pass_seconds(work: Work, gpu: Gpu, images: int, *, captured: bool, tf32: bool = False, rates: Rates = RATES) -> float:
    """One pass of `images` through the network on `gpu`: each kernel by what binds it, arithmetic, memory or its launch
    (the roofline of Williams et al. 2009)."""
    single = gpu.half_tflops / 2 if tf32 else gpu.fp32_tflops
    seconds = sum(
        count
        * max(
            rates.kernel_seconds,
            kernel.flops * images / (rates.products * (gpu.half_tflops if kernel.half else single) * 1e12),
            (kernel.moved * images + kernel.moved_once) / _bandwidth(gpu, rates),
        )
        for kernel, count in work.kernels
    )
    return seconds if captured else max(seconds, work.launches * rates.launch_seconds)


def update_seconds(updated: Updated, gpu: Gpu, *, half: bool, rates: Rates = RATES) -> float:
    """Clipping, the optimizer and the average."""
    products = updated.matrix_flops / (rates.products * (gpu.half_tflops if half else gpu.fp32_tflops) * 1e12)
    moved = UPDATE_BYTES * updated.parameters / _bandwidth(gpu, rates)
    return products + moved + rates.step_seconds + rates.tensor_seconds * updated.tensors


def _bandwidth(gpu: Gpu, rates: Rates) -> float:
    share: float = rates.memory * (3350.0 / gpu.bandwidth_gbs) ** rates.memory_exponent
    return min(rates.memory_most, share) * gpu.bandwidth_gbs * 1e9


def _sum_seconds(experiment: Experiment, updated: Updated, gpu: Gpu) -> float:
    """Gradients summed over the devices; where weights are spread, these are gathered twice and the sums not handed out again."""
    devices = experiment.hardware.devices
    passes = 3 if experiment.hardware.shard else 2
    link = LINK_GBS["NVLink" if gpu.name in _LINKED else "PCIe"]
    return 4.0 * updated.parameters * passes * (devices - 1) / devices / (link * 1e9)


def _evaluation_seconds(asked: Asked, forward: Work, gpu: Gpu, together: int, devices: int, *, captured: bool, tf32: bool) -> float:
    def of(images: int, times: int, *, captured: bool) -> float:
        share = math.ceil(images / devices)
        sizes = [together] * (share // together) + ([share % together] if share % together else [])
        return times * sum(pass_seconds(forward, gpu, n * asked.copies, captured=captured, tf32=tf32) for n in sizes)

    drawn = of(asked.samples, asked.asks, captured=captured)
    validated = of(asked.held_out, asked.levels, captured=False) + of(asked.likelihood, asked.terms, captured=False)
    features = asked.feature_flops / devices / (RATES.products * gpu.fp32_tflops * 1e12)
    return asked.times * (drawn + validated + EVALUATION_SECONDS) + of(asked.at_end, asked.asks, captured=captured) + features


def _images(experiment: Experiment, amount: str, per_epoch: int | None) -> int | None:
    if per_epoch is None and amount.endswith("epochs"):
        return None
    return experiment.training.images(amount, per_epoch or 1)


def _alike(kernels: Kernels) -> Kernels:
    """The same for counting: both 16-bit types are two bytes, and attention is counted as one kernel on every GPU."""
    return replace(kernels, half=None if kernels.half is None else torch.bfloat16, fused_heads=1, byte_masks=True)
