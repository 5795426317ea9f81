"""Advice on the exponential moving average of the weights. The spec has a half-life in images, the guides a decay per step."""

from __future__ import annotations

import math

from ddpm_exp.spec.advice.rule import Advice, Case, rule

SMALLEST_DECAY, LARGEST_DECAY = 0.999, 0.99999


def _decay(images_per_step: int, half_life_images: float) -> float:
    """Decay b per step: b^(half-life in steps) = 1/2."""
    return float(0.5 ** (images_per_step / half_life_images))


def _half_life(images_per_step: int, decay: float) -> int:
    """Half-life in images of a decay per step, rounded to three digits."""
    images = images_per_step * math.log(0.5) / math.log(decay)
    return int(float(f"{images:.3g}"))


@rule("no EMA", reads=("training.ema_half_life", "training.ema_sigma_rel"), guides=("002", "003"))
def no_ema(case: Case) -> Advice | None:
    if case.experiment.training.averages:
        return None
    says = "guide 003: always use EMA, essential for good samples; guide 002: smoother samples"
    fix = f"set training.ema_half_life to '{_half_life(case.experiment.training.images_per_step, 0.9999)} images' (0.9999 per step)"
    return Advice("training.ema_half_life", None, says, ("003", "002"), fix)


@rule(
    "half-life shorter than that of a decay of 0.999 per step, in trainings of 7,000 steps or more",
    reads=("training.ema_half_life", "training.images_per_step"),
    guides=("002", "003"),
)
def short_ema(case: Case) -> Advice | None:
    training = case.experiment.training
    total = case.steps(training.duration)
    # 0.999 is a half-life of 693 steps: a training of fewer than 7,000 needs a shorter memory than the guides' range allows.
    if training.ema_half_life is None or (total is not None and total < 7000):
        return None
    half_life = case.images(training.ema_half_life)
    if half_life is None or _decay(training.images_per_step, max(half_life, 1)) >= SMALLEST_DECAY - 1e-6:
        return None
    decay = _decay(training.images_per_step, max(half_life, 1))
    says = (
        f"at {training.images_per_step} images per step the average decays by {decay:.5g} per step: guide 003 takes 0.999 to "
        "0.99999, guide 002 0.999"
    )
    fix = f"set training.ema_half_life to '{_half_life(training.images_per_step, 0.9999)} images' (0.9999 per step)"
    return Advice("training.ema_half_life", training.ema_half_life, says, ("003", "002"), fix)


@rule(
    "half-life, as the ramp leaves it at the end, longer than that of a decay of 0.99999 per step",
    reads=("training.ema_half_life", "training.ema_ramp", "training.images_per_step", "training.duration"),
    guides=("003",),
)
def long_ema(case: Case) -> Advice | None:
    training, half_life = case.experiment.training, _half_life_at_end(case)
    if half_life is None or _decay(training.images_per_step, half_life) <= LARGEST_DECAY + 1e-8:
        return None
    decay = _decay(training.images_per_step, half_life)
    says = (
        f"at {training.images_per_step} images per step the average decays by {decay:.7g} per step: guide 003 takes 0.999 to "
        "0.99999"
    )
    fix = f"set training.ema_half_life to '{_half_life(training.images_per_step, 0.9999)} images' (0.9999 per step)"
    return Advice("training.ema_half_life", training.ema_half_life, says, ("003",), fix)


@rule(
    "half-life, as the ramp leaves it at the end, above a fifth of the training",
    reads=("training.ema_half_life", "training.ema_ramp", "training.duration", "data.subset"),
    guides=("003", "arithmetic"),
)
def ema_outlives_training(case: Case) -> Advice | None:
    training, half_life, total = case.experiment.training, _half_life_at_end(case), case.images(case.experiment.training.duration)
    if half_life is None or not total or half_life <= 0.2 * total:
        return None
    kept = 0.5 ** (total / half_life)
    says = f"at the end the average still holds {kept * 100:.2g} % of the initial weights; a longer memory is for longer training"
    fix = "set training.ema_ramp to 0.05, or a shorter training.ema_half_life"
    return Advice("training.ema_half_life", training.ema_half_life, says, ("003", "arithmetic"), fix)


def _half_life_at_end(case: Case) -> float | None:
    """Images; None without EMA or where the data set's size is unknown."""
    training = case.experiment.training
    total = case.images(training.duration)
    if training.ema_half_life is None or total is None:
        return None
    half_life = case.images(training.ema_half_life)
    if half_life is None:
        return None
    ramped = half_life if training.ema_ramp is None else min(half_life, training.ema_ramp * total)
    return max(ramped, 1.0)


RULES = (no_ema, short_ema, long_ema, ema_outlives_training)
