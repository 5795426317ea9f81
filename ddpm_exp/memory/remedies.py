"""What would make an experiment fit a GPU that is too small for it, each tried out by an estimate. Never changes anything."""

from __future__ import annotations

import shlex
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from ddpm_exp.memory.estimate import estimate
from ddpm_exp.memory.fitting import Fitting, largest_fitting
from ddpm_exp.spec.data import Digits, ImageFolder, Shards
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, catalogue
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.training import Precision


@dataclass(frozen=True)
class Remedy:
    """A change that was estimated to fit, as the override to type."""

    override: str
    """One or more `path=value`, or a GPU, as they are typed at a shell."""

    micro_batch: int
    """Images at once that then fit, up to images per step."""

    peak_bytes: int
    note: str
    """What it costs and which guide advises it."""


@dataclass(frozen=True)
class _Change:
    override: str
    note: str
    experiment: Experiment
    precision: Precision


def remedies(experiment: Experiment, gpu: Gpu, precision: Precision) -> list[Remedy]:
    """Changes after which at least one image fits: first what leaves the model as it is, then the guides' smaller models.

    If none of them is enough on its own, they are added to each other in this order until it fits. A written micro-batch that
    would still be too large is taken back with them.
    """
    plain = experiment.but(hardware=experiment.hardware.but(gpu=None, micro_batch=None))
    start = _Change("", "", plain, precision)
    single = [found for kind in _KINDS if (found := _first_that_fits(list(kind(start, gpu)), gpu))]
    larger = _larger_gpu(plain, gpu, precision, "hardware.gpu=" if experiment.hardware.gpu else "--gpu ")
    all_found = [*single, *(() if single else _combined(start, gpu)), *larger]
    asked = experiment.hardware.micro_batch
    return [
        _with_its_own_micro_batch(remedy) if asked is not None and remedy.micro_batch < asked else remedy for remedy in all_found
    ]


def _with_its_own_micro_batch(remedy: Remedy) -> Remedy:
    return replace(remedy, override=f"{remedy.override} hardware.micro_batch=none")


def _combined(start: _Change, gpu: Gpu) -> Iterator[Remedy]:
    """One change after the other, without those that help nothing (recomputing takes more where weights are what weighs)."""
    so_far, needed = start, _one_image(start, gpu)
    for kind in _KINDS:
        changes = [_after(so_far, change) for change in kind(so_far, gpu)]
        fitting = _first_that_fits(changes, gpu)
        if fitting:
            yield fitting
            return
        if changes and (less := _one_image(changes[-1], gpu)) < needed:
            so_far, needed = changes[-1], less


def _one_image(change: _Change, gpu: Gpu) -> int:
    return estimate(change.experiment, gpu, change.precision, 1).peak_bytes


def _after(before: _Change, change: _Change) -> _Change:
    if not before.override:
        return change
    return _Change(f"{before.override} {change.override}", f"{before.note}; {change.note}", change.experiment, change.precision)


def _first_that_fits(changes: Sequence[_Change], gpu: Gpu) -> Remedy | None:
    """The first change after which one image fits, if any. Each of `changes` takes less than those before it, so that the last
    one tells whether any does, and halving finds the first."""
    found: dict[str, Fitting | None] = {}

    def fits(change: _Change) -> bool:
        found[change.override] = largest_fitting(change.experiment, gpu, change.precision)
        return found[change.override] is not None

    if not changes or not fits(changes[-1]):
        return None
    first = changes[bisect_left(changes, True, hi=len(changes) - 1, key=fits)]
    fitting = found[first.override]
    assert fitting is not None
    return Remedy(first.override, fitting.micro_batch, fitting.expected.peak_bytes, first.note)


def _no_fid(now: _Change, gpu: Gpu) -> Iterator[_Change]:
    if now.experiment.evaluation.fid is not None:
        changed = now.experiment.but(evaluation=now.experiment.evaluation.but(fid=None))
        yield _Change("evaluation.fid=none", "the same training, whose FID is not measured", changed, now.precision)


def _checkpointing(now: _Change, gpu: Gpu) -> Iterator[_Change]:
    if not now.experiment.model.checkpointing:
        yield from _model(now, "guide 003; the same result, about a third slower", checkpointing=True)


def _half_precision(now: _Change, gpu: Gpu) -> Iterator[_Change]:
    best = gpu.best_precision
    if now.precision == "fp32" and best != "fp32":
        changed = now.experiment.but(training=now.experiment.training.but(precision=best))
        yield _Change(f"training.precision={best}", "guides 000 and 002", changed, best)


def _narrower(now: _Change, gpu: Gpu) -> Iterator[_Change]:
    """Half the width, again and again: guide 000's steps from 512 to 256 to 128."""
    model = now.experiment.model
    field = {"unet": "base_channels", "encoder-decoder": "hidden_dim", "mlp": "hidden_dim", "dit": "width"}[model.kind]
    width = getattr(model, field) // 2
    while width >= 8:
        yield from _model(now, "guide 000; a smaller model", **{field: width})
        width //= 2


def _less_attention(now: _Change, gpu: Gpu) -> Iterator[_Change]:
    """A U-Net without attention at its largest side, then at the next, down to its middle: it grows with the side's fourth
    power where no fused kernel computes it."""
    if isinstance(now.experiment.model, UNet):
        sides = sorted(now.experiment.model.attention_resolutions)
        while sides:
            note = f"guide 001; attention up to {sides[-2]}x{sides[-2]}" if sides[1:] else "guide 001; attention in the middle only"
            sides.pop()
            yield from _model(now, note, attention_resolutions=tuple(sides))


def _smaller_images(now: _Change, gpu: Gpu) -> Iterator[_Change]:
    """Half the side, where the data can be had in another size; a U-Net then attends on the same levels."""
    data, model = now.experiment.data, now.experiment.model
    if not isinstance(data, Digits | ImageFolder | Shards):
        return
    half = data.image_size // 2
    override, changes = f"data.image_size={half}", {}
    try:
        smaller = data.but(image_size=half)
        if isinstance(model, UNet) and model.attention_resolutions:
            sides = tuple(side // 2 for side in model.attention_resolutions)
            changes["model"] = model.but(attention_resolutions=sides)
            override += f" model.attention_resolutions={_typed(sides)}"
        changed = now.experiment.but(data=smaller, **changes)
    except ValidationError:
        return
    yield _Change(override, "guide 003: activations grow with the square of the side", changed, now.precision)


_KINDS = (_no_fid, _checkpointing, _half_precision, _narrower, _less_attention, _smaller_images)


def _model(now: _Change, note: str, **changes: Any) -> Iterator[_Change]:
    """The change, if the experiment's rules allow it."""
    try:
        changed = now.experiment.but(model=now.experiment.model.but(**changes))
    except ValidationError:
        return
    override = " ".join(shlex.quote(f"model.{name}={_typed(value)}") for name, value in changes.items())
    yield _Change(override, note, changed, now.precision)


def _typed(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "()"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _larger_gpu(experiment: Experiment, gpu: Gpu, precision: Precision, written: str) -> Iterator[Remedy]:
    """The smallest GPU of the catalogue that holds the experiment unchanged. `written`: where its name is to be put."""
    auto = experiment.training.precision == "auto"
    suited = [row for row in catalogue() if row.name != "cpu" and (auto or precision in row.precisions)]
    for row in sorted((row for row in suited if row.usable_bytes > gpu.usable_bytes), key=lambda row: row.usable_bytes):
        word = row.name.replace(" ", "")
        change = _Change(f"{written}{word}", "nothing changes", experiment, row.best_precision if auto else precision)
        found = _first_that_fits([change], row)
        if found:
            yield found
            return
