"""Advice on gradient clipping, weight decay and precision."""

from __future__ import annotations

from ddpm_exp.spec.advice.rule import Advice, Case, rule
from ddpm_exp.spec.hardware import find_gpu


@rule("no gradient clipping", reads=("training.gradient_clip",), guides=("000", "001", "002", "003"))
def no_clipping(case: Case) -> Advice | None:
    if case.experiment.training.gradient_clip is not None:
        return None
    says = (
        "guide 003 calls clipping essential; guides 002 and 003 clip at 1.0, guide 001 at 0.5, "
        "guide 000 adds it where the loss does not fall"
    )
    return Advice("training.gradient_clip", None, says, ("001", "002", "003", "000"), "set training.gradient_clip to 1.0")


@rule("clipping outside 0.5 to 2", reads=("training.gradient_clip",), guides=("001", "002", "003"))
def clipping_range(case: Case) -> Advice | None:
    clip = case.experiment.training.gradient_clip
    if clip is None or 0.5 <= clip <= 2:
        return None
    says = "guide 003 clips at 0.5 to 2, guide 001 at 0.5, guide 002 at 1.0"
    return Advice("training.gradient_clip", clip, says, ("003", "001", "002"), "set training.gradient_clip to 1.0")


@rule("weight decay above 0.1", reads=("training.weight_decay",), guides=("002",))
def weight_decay_range(case: Case) -> Advice | None:
    decay = case.experiment.training.weight_decay
    # None at all is DDPM's own setting, and only unwise together with no dropout: see `no_regularisation`.
    if decay <= 0.1:
        return None
    return Advice("training.weight_decay", decay, "guide 002 decays by 0.01", ("002",), "set training.weight_decay to 0.01")


@rule("fp32 on a GPU that has faster 16-bit arithmetic", reads=("training.precision", "hardware.gpu"), guides=("000", "002"))
def full_precision(case: Case) -> Advice | None:
    gpu = case.experiment.hardware.gpu
    if case.experiment.training.precision != "fp32" or gpu is None or find_gpu(gpu).best_precision == "fp32":
        return None
    says = f"mixed precision is faster and takes less memory, and {find_gpu(gpu).name} has {find_gpu(gpu).best_precision}"
    return Advice("training.precision", "fp32", says, ("002", "000"), "set training.precision to 'auto'")


RULES = (no_clipping, clipping_range, weight_decay_range, full_precision)
