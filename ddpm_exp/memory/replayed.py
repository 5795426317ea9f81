"""Peaks of training and evaluating on CUDA by replay, for any micro-batch, and what was alive at training's. No device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Literal, NamedTuple

from torch import Tensor

from ddpm_exp.memory.allocator import Order
from ddpm_exp.memory.evaluation_steps import inception_trace, inception_weights, likelihood_trace
from ddpm_exp.memory.kernels import Attention, Kernels
from ddpm_exp.memory.replay import Process, Replay
from ddpm_exp.memory.script import DEATH, Script
from ddpm_exp.memory.step import Setting, sampling_trace, training_trace, weights_of
from ddpm_exp.memory.update import update_events
from ddpm_exp.models.half import cast_by_autocast
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.training.optimizer import moments

KNOTS = 8
"""Numbers of images between a power of two and the next at which a process is replayed."""

_ORDERS: tuple[Order, ...] = ("below", "above", "parts first")
_TERMS = ("activations", "autocast copies", "data", "workspace")


class Peaks(NamedTuple):
    """Bytes that torch reserves at most."""

    training: int
    drawing: int
    """And measuring: all of an evaluation but FID."""
    fid: int
    """While Inception extracts features; 0 without FID."""


class Evaluating(NamedTuple):
    """What evaluations do after training steps."""

    drawing: Setting
    """How it is drawn."""
    drawn: int
    """Examples drawn together, and measured together."""
    copies: int
    """How often each of them goes through the network at once while it is drawn."""
    bits: tuple[Diffusion, int] | None = None
    """The diffusion and number of examples whose bits per dimension are measured."""
    inception: int = 0
    """Images that go through Inception at once; 0 without FID."""


@lru_cache(maxsize=256)
def process_of(
    setting: Setting,
    *,
    optimizer: str,
    averages: int,
    data: int,
    library: int,
    captured: bool,
    accumulates: bool,
    guides: int,
) -> Process:
    """What a run of this network allocates beside its steps. `data`: bytes of training images on the device; `library`: what
    cuBLAS keeps; `guides`: networks that guide drawings."""
    network = weights_of(setting)
    parts = [*network.parameters(), *network.buffers()]
    low = {id(weight) for weight in cast_by_autocast(network).values()} if setting.weights_once else set()
    return Process(
        weights=tuple(_bytes(part) for part in parts),
        relaid=tuple(setting.family == "image" and part.dim() == 4 for part in parts),
        half=tuple(_bytes(part) // 2 if id(part) in low else 0 for part in parts),
        averages=averages,
        moments=moments(optimizer, network),
        update=update_events(setting, optimizer),
        data=data,
        workspace_bytes=library,
        captured=captured,
        accumulates=accumulates,
        shape_bytes=4 * math.prod(setting.shape),
        guides=guides,
    )


def peaks(setting: Setting, process: Process, micro_batch: int, after: Evaluating) -> Peaks:
    """With `micro_batch` images at once, and evaluations `after` the steps; `setting` is how it is trained.

    Replayed at powers of two and, where they lie around `micro_batch`, at some numbers between them; never less for more images: an
    allocator leaves less unused at some sizes than at smaller ones, and a plan must not depend on such luck.
    """
    low = 1 << (micro_batch.bit_length() - 1)
    below = _rising(setting, process, low, after)
    if low == micro_batch:
        return below
    limit = _rising(setting, process, 2 * low, after)
    step = max(1, low // KNOTS)
    before = above = below
    for knot in range(low + step, micro_batch + step, step):
        found = limit if knot == 2 * low else _at(setting, process, knot, after)
        before, above = above, _each(min, limit, _each(max, above, found))
    share = (micro_batch - knot) / step + 1.0
    return Peaks(*(int(few + share * (many - few)) for few, many in zip(before, above, strict=True)))


@lru_cache(maxsize=4096)
def _rising(setting: Setting, process: Process, images: int, after: Evaluating) -> Peaks:
    here = _at(setting, process, images, after)
    if images == 1:
        return here
    return _each(max, here, _rising(setting, process, images // 2, after))


@lru_cache(maxsize=4096)
def _at(setting: Setting, process: Process, images: int, after: Evaluating) -> Peaks:
    """The most that an order of segments leads to, where a graph is captured after large segments went back: those of recomputing,
    and those of fp32 convolutions, whose workspaces are gigabytes. Elsewhere no order changed a recorded peak by 1 %."""
    found = Peaks(0, 0, 0)
    large = setting.model.checkpointing or setting.kernels.half is None
    for order in _ORDERS if process.captured and large else _ORDERS[:1]:
        trained, steps = _trained(setting, process, order, images)
        found = _each(max, found, Peaks(trained, *_evaluated(steps.copy(), after)))
    return found


def _evaluated(replay: Replay, after: Evaluating) -> tuple[int, int]:
    """Of an evaluation but FID, and of FID."""
    op_by_op = replace(after.drawing, weights_once=False)
    replay.validate(_sampling(op_by_op), after.drawn)
    highest = replay.draw(_sampling(after.drawing), after.drawn * after.copies, after.drawn)
    if after.bits is None and not after.inception:
        return highest.reserved, 0
    replay.end_drawing()
    if after.bits is not None:
        diffusion, examples = after.bits
        highest = replay.measure_bits(_likelihood(op_by_op, diffusion), min(after.drawn, examples))
    if not after.inception:
        return highest.reserved, 0
    script = _inception(after.drawing.shape)
    return highest.reserved, replay.extract(script, after.inception, inception_weights()).reserved


@lru_cache(maxsize=64)
def _trained(setting: Setting, process: Process, order: Order, images: int) -> tuple[int, Replay]:
    """Bytes reserved by steps, and the process after them: whatever is drawn then, they are the same. It is given to all who ask,
    who go on with copies."""
    replay = Replay(process, order)
    return replay.train(_training(setting), images).reserved, replay


def _each(choose: Callable[[int, int], int], one: Peaks, other: Peaks) -> Peaks:
    return Peaks(*map(choose, one, other))


@lru_cache(maxsize=4096)
def alive(setting: Setting, images: int) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Phase of the busiest moment of a training step, and bytes by term then."""
    script, sizes = _training(setting), dict[int, int]()
    totals, phases = dict.fromkeys(_TERMS, 0), dict(script.starts)
    phase, highest, found = "", -1, ("", tuple(totals.items()))
    for index, (tensor, size) in enumerate(script.at(images)):
        phase = phases.get(index, phase)
        term = script.kinds.get(tensor, "workspace")
        if size == DEATH:
            totals[term] -= sizes.pop(tensor, 0)
            continue
        sizes[tensor] = size
        totals[term] += size
        if sum(totals.values()) > highest and phase != "end":
            highest, found = sum(totals.values()), (phase, tuple(totals.items()))
    return found


@lru_cache(maxsize=64)
def _training(setting: Setting) -> Script:
    return _shared(setting, "training")


@lru_cache(maxsize=64)
def _sampling(setting: Setting) -> Script:
    return _shared(setting, "sampling")


@lru_cache(maxsize=64)
def _likelihood(setting: Setting, diffusion: Diffusion) -> Script:
    return Script.of(lambda images: likelihood_trace(setting, diffusion, images))


@lru_cache(maxsize=16)
def _inception(shape: Shape) -> Script:
    return Script.of(lambda images: inception_trace(shape, images, cuda=True))


def _shared(setting: Setting, kind: Literal["training", "sampling"]) -> Script:
    """One made for other kernels, if those take the same memory. Two that fuse attention differ in that backwards only."""

    def attention(kernels: Kernels, channels: int) -> Attention:
        how = kernels.attention(channels)
        return "flash" if kind == "sampling" and how == "memory-efficient" else how

    kernels = setting.kernels
    setting = replace(setting, kernels=replace(kernels.beside_attention, fused_heads=kernels.fused_heads))
    known = _known(replace(setting, kernels=kernels.beside_attention), kind)
    for other, script in known:
        if all(attention(other, channels) == attention(kernels, channels) for channels in script.heads):
            return script
    trace = training_trace if kind == "training" else sampling_trace
    script = Script.of(lambda images: trace(setting, images))
    known.append((kernels, script))
    return script


@lru_cache(maxsize=64)
def _known(beside_attention: Setting, kind: str) -> list[tuple[Kernels, Script]]:
    """To be added to."""
    return []


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
