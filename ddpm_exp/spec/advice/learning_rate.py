"""Advice on the learning rate, its schedule and its warm-up."""

from __future__ import annotations

from ddpm_exp.spec.advice.rule import Advice, Case, rule
from ddpm_exp.spec.scaling import LINEAR_SCALING_ENDS, scaled_rate


@rule(
    "below 1e-4, or at 1e-4 on CIFAR-10",
    reads=("training.learning_rate", "data.kind"),
    guides=("000", "001", "002", "003"),
)
def low_rate(case: Case) -> Advice | None:
    rate, on_cifar10 = case.experiment.training.learning_rate, case.experiment.data.kind == "cifar10"
    if rate > 1e-4 or (rate == 1e-4 and not on_cifar10):
        return None
    says = "guide 002 takes 1e-4 to 2e-4 and guide 003 1e-4 to 3e-4"
    if rate < 1e-5:
        says += "; that is even below guide 000's most conservative 1e-5"
    elif rate < 1e-4:
        says += "; guide 000 keeps 1e-5 for fine-tuning and unstable training"
    else:
        says += ", and guide 000 recommends it"
    guides: tuple[str, ...] = ("002", "003", "000")
    if on_cifar10:
        says, guides = f"guide 001 found 1e-4 extremely slow on CIFAR-10; {says}", ("001", *guides)
    return Advice("training.learning_rate", rate, says, guides, "set training.learning_rate to 2e-4")


@rule(
    "above 3e-4 at 64 images per step, in proportion for more, and never above 1e-3",
    reads=("training.learning_rate", "training.images_per_step"),
    guides=("000", "002", "003"),
)
def high_rate(case: Case) -> Advice | None:
    training = case.experiment.training
    largest = scaled_rate(3e-4, images_per_step=max(64, training.images_per_step))
    if training.learning_rate <= largest * (1 + 1e-9):
        return None
    says = (
        f"guide 003 ends at 3e-4 for 64 images per step, {largest:g} here; guide 002 ends at 2e-4, guide 000 at 1e-3, "
        "aggressive and possibly unstable"
    )
    fix = f"set training.learning_rate to {largest:g} or less"
    return Advice("training.learning_rate", training.learning_rate, says, ("003", "002", "000"), fix)


@rule(
    "at most 3e-4 at 512 images per step or more",
    reads=("training.learning_rate", "training.images_per_step"),
    guides=("002", "003"),
)
def unscaled_rate(case: Case) -> Advice | None:
    training = case.experiment.training
    # Between 64 and 256 images per step the guides' own settings differ by a factor of 4 and more: nothing to advise there.
    if training.images_per_step < LINEAR_SCALING_ENDS or not 1e-4 <= training.learning_rate <= 3e-4:
        return None
    says = (
        "guide 003 scales the rate with images per step, from 2e-4 at 64 to 1.6e-3 at 512; guide 002 stays at 2e-4, "
        "but ends at 256 images per step"
    )
    fix = "raise training.learning_rate towards 1e-3, or lower training.images_per_step to 128"
    return Advice("training.learning_rate", training.learning_rate, says, ("003", "002"), fix)


@rule("one-cycle", reads=("training.rate",), guides=("000", "001"))
def one_cycle(case: Case) -> Advice | None:
    if case.experiment.training.rate != "one-cycle":
        return None
    says = "guide 001 found one-cycle not ideal for diffusion and moved to cosine with restarts; guide 000 suggests cosine too"
    return Advice("training.rate", "one-cycle", says, ("001", "000"), "set training.rate to 'cosine' or 'constant'")


@rule(
    "no warm-up, or one that is neither 1,000 to 10,000 steps nor 2 to 10 % of the training, or more than half of it",
    reads=("training.warmup", "training.duration", "training.images_per_step", "data.subset"),
    guides=("000", "003"),
)
def warmup_range(case: Case) -> Advice | None:
    training = case.experiment.training
    warmup, total = case.steps(training.warmup), case.steps(training.duration)
    if training.rate == "one-cycle" or warmup is None or total is None:
        return None
    share = warmup / max(total, 1)
    if (1000 <= warmup <= 10_000 or 0.02 <= share <= 0.1) and share <= 0.5:
        return None
    says = "there is no warm-up" if warmup == 0 else f"warm-up takes {warmup:,} steps, {share * 100:.2g} % of the training"
    says += ": guide 003 takes 1,000 to 10,000 steps, or 5 % of the training; guide 000 advises it for large models"
    fix = f"set training.warmup to '{max(1, min(5000, round(0.05 * total)))} steps'"
    return Advice("training.warmup", training.warmup, says, ("003", "000"), fix)


RULES = (low_rate, high_rate, unscaled_rate, one_cycle, warmup_range)
