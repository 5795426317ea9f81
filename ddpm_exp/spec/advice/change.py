"""Advice on the step from a baseline to an experiment: what should change together, and what cannot judge a change."""

from __future__ import annotations

import math

from ddpm_exp.spec.advice.rule import Advice, Change, rule
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.scaling import LINEAR_SCALING_ENDS

_LOSSES = ("train/loss", "val/loss")


@rule(
    "images per step changed by a factor of 1.5 or more, and the learning rate did not follow (at least with its square root)",
    reads=("training.images_per_step", "training.learning_rate"),
    guides=("003",),
)
def rate_follows_batch(change: Change) -> Advice | None:
    before, after = change.before.training, change.after.training
    batch = min(after.images_per_step, LINEAR_SCALING_ENDS) / min(before.images_per_step, LINEAR_SCALING_ENDS)
    rate = after.learning_rate / before.learning_rate
    if max(batch, 1 / batch) < 1.5 or math.log(rate) / math.log(batch) >= 0.4:
        return None
    says = (
        f"images per step went from {before.images_per_step} to {after.images_per_step}, the learning rate from "
        f"{before.learning_rate:g} to {after.learning_rate:g}: guide 003 scales the rate in proportion, up to about 512"
    )
    fix = f"set training.learning_rate to {before.learning_rate * batch:.3g}"
    return Advice("training.learning_rate", after.learning_rate, says, ("003",), fix)


@rule(
    "base_channels at least doubled, and the learning rate not lowered in proportion",
    reads=("model.base_channels", "training.learning_rate"),
    guides=("000",),
)
def rate_follows_width(change: Change) -> Advice | None:
    before, after = change.before.model, change.after.model
    if not (isinstance(before, UNet) and isinstance(after, UNet)):
        return None
    width = after.base_channels / before.base_channels
    rate = change.after.training.learning_rate / change.before.training.learning_rate
    if width < 2 or rate <= 1.25 / width:
        return None
    says = (
        f"base_channels went from {before.base_channels} to {after.base_channels} "
        f"(guide 000's hidden_dim, {width**2:.3g} times the parameters): twice the width may need half the learning rate"
    )
    fix = f"set training.learning_rate to {change.before.training.learning_rate / width:.3g}"
    return Advice("training.learning_rate", change.after.training.learning_rate, says, ("000",), fix)


@rule(
    "diffusion changed, and a criterion compares the training or held-out loss with the baseline's",
    reads=("diffusion", "decision"),
    guides=("004", "arithmetic"),
)
def losses_of_different_schedules(change: Change) -> Advice | None:
    decision = change.after.decision
    if decision is None or change.before.diffusion == change.after.diffusion:
        return None
    for criterion in (*decision.accept_when, *decision.reject_when):
        if criterion.metric in _LOSSES and criterion.against == "baseline" and criterion.value is None:
            says = (
                "the schedule differs from the baseline's, which moves the loss with no change in quality; guide 004 compares "
                "losses of 500 and 200 timesteps"
            )
            fix = "judge by metric('val/denoising'), the error of the clean image over one grid of noise levels"
            return Advice("decision", str(criterion), says, ("004", "arithmetic"), fix)
    return None


RULES = (rate_follows_batch, rate_follows_width, losses_of_different_schedules)
