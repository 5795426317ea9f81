"""Advice on images per step and on how long to train."""

from __future__ import annotations

from ddpm_exp.spec.advice.rule import Advice, Case, rule


@rule("fewer than 64 images per step", reads=("training.images_per_step", "data.kind"), guides=("000", "001", "002", "003"))
def small_batch(case: Case) -> Advice | None:
    count = case.experiment.training.images_per_step
    if count >= 64:
        return None
    says = "gradients are noisy: guide 002 takes 128 to 256, guide 003 32 to 512 (32 to 64 for debugging); guide 000 takes 2 to 32"
    guides: tuple[str, ...] = ("002", "003", "000")
    if case.experiment.data.kind == "cifar10":
        says, guides = f"guide 001 found 32 too few on CIFAR-10 and takes 128; {says}", ("001", *guides)
    fix = "set training.images_per_step to 128: micro-batches and accumulation make it fit any memory"
    return Advice("training.images_per_step", count, says, guides, fix)


@rule("more than 512 images per step", reads=("training.images_per_step",), guides=("002", "003"))
def large_batch(case: Case) -> Advice | None:
    count = case.experiment.training.images_per_step
    if count <= 512:
        return None
    says = (
        "guide 003 ends at 512, beyond which the learning rate scales less than linearly and convergence slows; "
        "guide 002 ends at 256"
    )
    return Advice("training.images_per_step", count, says, ("003", "002"), "set training.images_per_step to 512 or less")


@rule(
    "shorter than 50 epochs and than 200,000 steps",
    reads=("training.duration", "training.images_per_step", "data.subset"),
    guides=("000", "001", "003"),
)
def short_training(case: Case) -> Advice | None:
    duration = case.experiment.training.duration
    epochs, steps = case.epochs(duration), case.steps(duration)
    if epochs is None or steps is None or epochs >= 50 or steps >= 200_000:
        return None
    says = (
        f"{epochs:.3g} epochs, {steps:,} steps: guide 000 takes 50 to 200 epochs, guide 001 sees good quality at 50, "
        "guide 003 takes 200,000 steps for 10,000 images"
    )
    return Advice("training.duration", duration, says, ("000", "001", "003"), "set training.duration to '100 epochs'")


@rule(
    "longer than 200 epochs and than 500,000 steps",
    reads=("training.duration", "training.images_per_step", "data.subset"),
    guides=("000", "001", "003"),
)
def long_training(case: Case) -> Advice | None:
    duration = case.experiment.training.duration
    epochs, steps = case.epochs(duration), case.steps(duration)
    if epochs is None or steps is None or epochs <= 200 or steps <= 500_000:
        return None
    says = (
        f"{epochs:,.0f} epochs, {steps:,} steps: guide 000 ends at 200 epochs and warns of overfitting, guide 001 ends at 300; "
        "guide 003 takes 500,000 steps for 50,000 images"
    )
    return Advice("training.duration", duration, says, ("000", "001", "003"), "watch val/denoising, or shorten training.duration")


@rule(
    "a subset of fewer than 5,000 images for more than 200 epochs",
    reads=("training.duration", "data.subset"),
    guides=("000",),
)
def overfitted_subset(case: Case) -> Advice | None:
    subset, epochs = case.experiment.data.subset, case.epochs(case.experiment.training.duration)
    if subset is None or subset >= 5000 or epochs is None or epochs <= 200:
        return None
    says = f"{epochs:,.0f} epochs over {subset:,} images risk learning them by heart; guide 000 takes more images or fewer epochs"
    return Advice("data.subset", subset, says, ("000",), "raise data.subset, or shorten training.duration to '200 epochs'")


RULES = (small_batch, large_batch, short_training, long_training, overfitted_subset)
