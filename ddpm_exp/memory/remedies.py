"""What would make an experiment fit a GPU that is too small for it, each tried out by an estimate. Never changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ddpm_exp.memory.estimate import budget, estimate
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, catalogue
from ddpm_exp.spec.training import Precision


@dataclass(frozen=True)
class Remedy:
    """A change that was estimated to fit, as the override to type."""

    override: str
    """One or more `path=value`, or a GPU, as they are typed."""

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

    If none of them is enough on its own, they are added to each other in this order until it fits.
    """
    plain = experiment.but(hardware=experiment.hardware.but(gpu=None, micro_batch=None))
    start = _Change("", "", plain, precision)
    single = [found for kind in _KINDS if (found := _first_that_fits(kind(start, gpu), gpu))]
    return [*single, *(() if single else _combined(start, gpu)), *_larger_gpu(plain, gpu, precision)]


def _combined(start: _Change, gpu: Gpu) -> Iterator[Remedy]:
    so_far = start
    for kind in _KINDS:
        changes = [_after(so_far, change) for change in kind(so_far, gpu)]
        fitting = _first_that_fits(iter(changes), gpu)
        if fitting:
            yield fitting
            return
        if changes:
            so_far = changes[-1]


def _after(before: _Change, change: _Change) -> _Change:
    if not before.override:
        return change
    return _Change(f"{before.override} {change.override}", f"{before.note}; {change.note}", change.experiment, change.precision)


def _first_that_fits(changes: Iterator[_Change], gpu: Gpu) -> Remedy | None:
    for change in changes:
        share = change.experiment.training.images_per_step // change.experiment.hardware.devices
        for micro in (m for m in range(share, 0, -1) if share % m == 0):
            expected = estimate(change.experiment, gpu, change.precision, micro)
            if expected.peak_bytes <= budget(change.experiment, gpu):
                return Remedy(change.override, micro, expected.peak_bytes, change.note)
    return None


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


def _no_attention(now: _Change, gpu: Gpu) -> Iterator[_Change]:
    if now.experiment.model.kind == "unet" and now.experiment.model.attention_resolutions:
        yield from _model(now, "guide 001; attention in the middle only", attention_resolutions=())


def _smaller_images(now: _Change, gpu: Gpu) -> Iterator[_Change]:
    if now.experiment.data.kind in ("folder", "shards"):
        half = now.experiment.data.image_size // 2
        try:
            changed = now.experiment.but(data=now.experiment.data.but(image_size=half))
        except ValidationError:
            return
        yield _Change(f"data.image_size={half}", "guide 003: activations grow with the square of the side", changed, now.precision)


_KINDS = (_checkpointing, _half_precision, _narrower, _no_attention, _smaller_images)


def _model(now: _Change, note: str, **changes: Any) -> Iterator[_Change]:
    """The change, if the experiment's rules allow it."""
    try:
        changed = now.experiment.but(model=now.experiment.model.but(**changes))
    except ValidationError:
        return
    override = " ".join(f"model.{name}={str(value).lower() if value is True else value}" for name, value in changes.items())
    yield _Change(override, note, changed, now.precision)


def _larger_gpu(experiment: Experiment, gpu: Gpu, precision: Precision) -> Iterator[Remedy]:
    """The smallest GPU of the catalogue that holds the experiment unchanged."""
    suited = [row for row in catalogue() if precision in row.precisions and row.name != "cpu"]
    for row in sorted((row for row in suited if row.usable_bytes > gpu.usable_bytes), key=lambda row: row.usable_bytes):
        word = row.name.replace(" ", "")
        found = _first_that_fits(iter((_Change(f"--gpu {word}", "nothing changes", experiment, precision),)), row)
        if found:
            yield found
            return
