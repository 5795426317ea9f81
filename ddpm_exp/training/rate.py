"""The learning rate as a function of images seen: the same whatever the batch slicing, world size or resume."""

from __future__ import annotations

import math

from ddpm_exp.spec.training import Training

_ONE_CYCLE_RISE = 0.3
_ONE_CYCLE_START = 1 / 25


def learning_rate(spec: Training, images: int, *, total_images: int, warmup_images: int, cycle_images: int = 0) -> float:
    """The rate for the step that begins after `images` images of `total_images`.

    Warm-up is linear and ends exactly at `warmup_images`; cycles are counted from there, `cycle_images` the first. See
    `Training.rate` for the schedules; `one-cycle` is Smith & Topin 2018 with cosine flanks.
    """
    peak, floor = spec.learning_rate, spec.final_rate * spec.learning_rate
    if spec.rate == "one-cycle":
        rise = _ONE_CYCLE_RISE * total_images
        if images < rise:
            return _half_cosine(peak * _ONE_CYCLE_START, peak, images / rise)
        return _half_cosine(peak, floor, (images - rise) / max(1.0, total_images - rise))
    if images < warmup_images:
        return peak * images / warmup_images
    after, left = images - warmup_images, max(1, total_images - warmup_images)
    if spec.rate == "linear":
        return peak + (floor - peak) * min(1.0, after / left)
    if spec.rate == "cosine":
        return _half_cosine(peak, floor, after / left)
    if spec.rate == "warm-restarts":
        return _half_cosine(peak, floor, _share_of_cycle(after, cycle_images, spec.cycle_growth))
    if spec.rate == "step":
        return float(peak * spec.step_factor ** (after // cycle_images))
    if spec.rate == "inverse-sqrt":
        return peak * math.sqrt(warmup_images / images)
    return peak


def _share_of_cycle(images: int, first: int, growth: float) -> float:
    """How far into its cycle a number of images is, 0 to 1; each cycle is `growth` times as long as the one before."""
    length, left = float(first), float(images)
    while left >= length:
        left, length = left - length, length * growth
    return left / length


def _half_cosine(start: float, end: float, progress: float) -> float:
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return end + (start - end) * share
