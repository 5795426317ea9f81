"""The learning rate as a function of images seen: the same whatever the batch slicing, world size or resume."""

from __future__ import annotations

import math

from ddpm_exp.spec.training import Training

_ONE_CYCLE_RISE = 0.3
_ONE_CYCLE_START = 1 / 25


def learning_rate(spec: Training, images: int, *, total_images: int, warmup_images: int) -> float:
    """The rate for the step that begins after `images` images of `total_images`.

    Warm-up is linear and ends exactly at `warmup_images`. `cosine` is half a cosine from there to the end
    (Loshchilov & Hutter 2017, eq. 5 without restarts); `one-cycle` is Smith & Topin 2018 with cosine flanks.
    """
    peak, floor = spec.learning_rate, spec.final_rate * spec.learning_rate
    if spec.rate == "one-cycle":
        rise = _ONE_CYCLE_RISE * total_images
        if images < rise:
            return _half_cosine(peak * _ONE_CYCLE_START, peak, images / rise)
        return _half_cosine(peak, floor, (images - rise) / max(1.0, total_images - rise))
    if images < warmup_images:
        return peak * images / warmup_images
    if spec.rate == "constant":
        return peak
    return _half_cosine(peak, floor, (images - warmup_images) / max(1, total_images - warmup_images))


def _half_cosine(start: float, end: float, progress: float) -> float:
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return end + (start - end) * share
