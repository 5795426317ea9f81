"""Peak memory of an experiment on a GPU that nobody has to have: from its real network on meta tensors, never from a device."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from torch import nn

from ddpm_exp.data.conditions import build_conditions
from ddpm_exp.data.examples import Facts
from ddpm_exp.data.place import room_for, stays_in_files
from ddpm_exp.data.shapes import shape_of, value_names
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.evaluation.image_features import TOGETHER
from ddpm_exp.memory.context import CPU, context_bytes
from ddpm_exp.memory.evaluating import FEWEST_FOR_FID, FEWEST_SAMPLED, SAMPLING_BATCH, measured_examples
from ddpm_exp.memory.kernels import is_cuda, kernels_of, library_bytes
from ddpm_exp.memory.moments import Bytes
from ddpm_exp.memory.replayed import Evaluating, alive, peaks, process_of
from ddpm_exp.memory.spread import spread_out
from ddpm_exp.memory.step import Setting, Sizes, sizes, weights_of
from ddpm_exp.memory.summed import Summed
from ddpm_exp.memory.terms import MIB, TERMS, Estimate
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import ImageFolder, Shards, class_count, family_of, training_images
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, find_gpu
from ddpm_exp.spec.training import Precision
from ddpm_exp.training.optimizer import state_bytes, step_bytes
from ddpm_exp.training.posthoc import TRACKED

UNCERTAINTY = {"cpu": 0.15, "cuda, 16 bits": 0.1, "other GPUs, 16 bits": 0.2, "cuda, fp32": 0.35, "spread": 0.25}
"""Relative; `docs/memory.md` shows what it comes from. What cuDNN takes for fp32 convolutions was measured on an H100 only."""

CUBLAS_WORKSPACE = 32 * MIB
"""What cuBLAS takes once on Hopper (8 MiB before), per stream."""

_UNKNOWN_CLASSES = 100
"""Classes assumed for a folder, which only its files can tell; a class embedding is small."""


def estimate(experiment: Experiment, gpu: Gpu, precision: Precision, micro_batch: int) -> Estimate:
    """Peak bytes on `gpu` when `micro_batch` images go through the network at once.

    Deterministic, no device is asked, no network is given memory. Steps of compiled networks (`hardware.compile`) are counted as
    ones with fused kernels, which keep what a compiler's do. Images of a folder without `subset` are not counted: only its files
    tell how many.
    """
    setting = setting_of(experiment, gpu, precision)
    if is_cuda(gpu) and not experiment.hardware.shard:
        return _replayed(experiment, gpu, precision, setting, micro_batch)
    context = context_bytes(experiment, setting.kernels) if is_cuda(gpu) else CPU
    resident = _resident(experiment, setting, _sizes(setting), gpu)
    if experiment.hardware.shard:
        devices = experiment.hardware.devices
        accumulates = micro_batch * devices < experiment.training.images_per_step
        resident = spread_out(resident, weights_of(setting), devices, accumulates=accumulates)
    uncertainty = _uncertainty(gpu, precision, spread=experiment.hardware.shard)
    found = Summed(experiment, setting, resident, context, cuda=is_cuda(gpu))
    return found.estimate(micro_batch, budget(experiment, gpu), uncertainty)


def _uncertainty(gpu: Gpu, precision: Precision, *, spread: bool) -> float:
    if not is_cuda(gpu):
        return UNCERTAINTY["cpu"]
    if spread:
        return UNCERTAINTY["spread"]
    measured = gpu.name.startswith(("H100", "H200"))
    return UNCERTAINTY["cuda, fp32" if precision == "fp32" else "cuda, 16 bits" if measured else "other GPUs, 16 bits"]


def _replayed(experiment: Experiment, gpu: Gpu, precision: Precision, setting: Setting, micro_batch: int) -> Estimate:
    """On CUDA: what torch's allocator would reserve, and CUDA's own."""
    resident = _resident(experiment, setting, _sizes(setting), gpu)
    once = setting.kernels.half is not None and not experiment.model.checkpointing and experiment.hardware.compile is not True
    setting = replace(setting, weights_once=once)
    process = process_of(
        setting,
        optimizer=experiment.training.optimizer,
        averages=_averages(experiment),
        data=resident["data"],
        library=library_bytes(gpu),
        captured=experiment.hardware.cuda_graph,
        accumulates=micro_batch * experiment.hardware.devices < experiment.training.images_per_step,
        guides=_guides(experiment),
    )
    drawing = replace(setting, weights_once=once and experiment.hardware.cuda_graph)
    if experiment.hardware.compile is True:  # which drawing is not
        setting = replace(setting, kernels=kernels_of(gpu, precision, fused_norms=True))
    context = context_bytes(experiment, drawing.kernels)
    limit, spec = budget(experiment, gpu) - context, experiment.evaluation
    after = Evaluating(
        drawing,
        drawn=SAMPLING_BATCH["cuda"],
        copies=1 if experiment.sampling.guidance_scale == 1 else 2,
        bits=(experiment.diffusion, measured_examples(experiment)) if spec.likelihood else None,
        inception=TOGETHER if spec.fid else 0,
    )
    fewest = min(FEWEST_SAMPLED, micro_batch)
    while (found := peaks(setting, process, micro_batch, after)).drawing > limit and after.drawn > fewest:
        after = after._replace(drawn=after.drawn // 2)
    while found.fid > limit and after.inception > FEWEST_FOR_FID:
        after = after._replace(inception=after.inception // 2)
        found = peaks(setting, process, micro_batch, after)
    moment, living = alive(setting, micro_batch)
    terms = {term: resident.get(term, 0) + dict(living).get(term, 0) for term in TERMS}
    terms["autocast copies"] += sum(process.half)
    terms["workspace"] += 2 * library_bytes(gpu) - CUBLAS_WORKSPACE
    terms["fragmentation"] = max(0, found.training - sum(terms.values()))
    terms["context"] = context
    return Estimate(
        terms=terms,
        sampling_bytes=found.drawing + context,
        sampling_batch=after.drawn,
        fid_bytes=found.fid + context if spec.fid else 0,
        fid_batch=after.inception,
        moment=moment,
        uncertainty=_uncertainty(gpu, precision, spread=False),
    )


def sampling_batch(experiment: Experiment, gpu: Gpu, precision: Precision, micro_batch: int) -> int:
    """Images that evaluation may draw together: the largest power of two up to `SAMPLING_BATCH` that fits."""
    return estimate(experiment, gpu, precision, micro_batch).sampling_batch


def fid_batch(experiment: Experiment, gpu: Gpu, precision: Precision, micro_batch: int) -> int:
    """Images that may go through Inception together: the largest power of two up to `TOGETHER` of FID that fits. Needs
    `evaluation.fid`."""
    return estimate(experiment, gpu, precision, micro_batch).fid_batch


def budget(experiment: Experiment, gpu: Gpu) -> int:
    """Bytes of `gpu` that the experiment may use: all but `hardware.headroom`."""
    return int(gpu.usable_bytes * (1 - experiment.hardware.headroom))


def setting_of(experiment: Experiment, gpu: Gpu, precision: Precision) -> Setting:
    """What decides the allocations of its steps."""
    diffusion = experiment.diffusion
    return Setting(
        experiment.model,
        condition_inputs(experiment),
        shape_of(experiment.data, experiment.condition),
        family_of(experiment.data),
        outputs=2 if diffusion.learned_variance else 1,
        timesteps=diffusion.timesteps if diffusion.discrete else 0,
        kernels=kernels_of(gpu, precision, fused_norms=experiment.hardware.fused_kernels),
    )


def meta_network_of(experiment: Experiment) -> nn.Module:
    """The experiment's network without memory behind its weights, to be read, not changed."""
    return weights_of(setting_of(experiment, find_gpu("cpu"), "fp32"))


def condition_inputs(experiment: Experiment) -> tuple[ConditionInput, ...]:
    """What the network is told. Class names, which only the data knows, are taken to be two words long."""
    classes = class_count(experiment.data) or _UNKNOWN_CLASSES
    names = tuple(f"some {_letters(k)}" for k in range(classes))
    values = value_names(experiment.condition)
    ones = (1.0,) * len(values)
    facts = Facts(shape_of(experiment.data, experiment.condition), names, values, ones, ones)
    return tuple(ConditionInput(**part) for part in build_conditions(experiment.condition, facts, uniform).inputs)


def _letters(k: int) -> str:
    return chr(97 + k // 26) + chr(97 + k % 26)


def _resident(experiment: Experiment, setting: Setting, own: Sizes, gpu: Gpu) -> Bytes:
    """What is alive at every moment of a run. Muon's temporaries are counted as if they were: a captured step keeps its memory."""
    shape, data = shape_of(experiment.data, experiment.condition), training_images(experiment.data) or 0
    one = math.prod(shape) * (1 if family_of(experiment.data) == "image" else 4)  # images lie on the device as bytes
    room = room_for(experiment.hardware.data_in, device_bytes=gpu.usable_bytes, host_bytes=None)
    in_files = isinstance(experiment.data, ImageFolder | Shards) and stays_in_files(data * one, room)
    networks = _averages(experiment) + _guides(experiment)
    kept, taken = _of_optimizer(setting, experiment.training.optimizer)
    return {
        "weights": own.parameters + own.buffers,
        "gradients": own.parameters,
        "optimizer": kept,
        "ema": networks * (own.parameters + own.buffers),
        "data": 0 if in_files else data * one,
        "workspace": taken + (CUBLAS_WORKSPACE if is_cuda(gpu) else 0),
    }


def _averages(experiment: Experiment) -> int:
    return int(experiment.training.averages) + (0 if experiment.training.ema_snapshots is None else len(TRACKED))


def _guides(experiment: Experiment) -> int:
    """Networks that guide drawings; one is taken to be as large as the network that it guides."""
    return 0 if experiment.sampling.guide is None else 1


@lru_cache(maxsize=128)
def _of_optimizer(setting: Setting, kind: str) -> tuple[int, int]:
    """Bytes that the optimizer keeps, and those that its step takes for itself."""
    network = weights_of(setting)
    return state_bytes(kind, network), step_bytes(kind, network)


@lru_cache(maxsize=128)
def _sizes(setting: Setting) -> Sizes:
    return sizes(setting)
