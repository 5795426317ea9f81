"""Advice on the network: width, time embedding, attention, dropout."""

from __future__ import annotations

from ddpm_exp.spec.advice.rule import Advice, Case, rule
from ddpm_exp.spec.data import shape_of


@rule(
    "widest level below 128 channels (but not on digits) or above 512",
    reads=("model.base_channels", "model.multipliers", "data.kind"),
    guides=("000",),
)
def width_range(case: Case) -> Advice | None:
    model = case.unet
    widest = model.base_channels * max(model.multipliers)
    # Digits are 8x8 images of one channel, far simpler than anything that guide 000's range is meant for.
    if widest > 512:
        says, fix = "costs memory and speed: guide 000's hidden_dim ends at 512", "lower model.base_channels"
    elif widest < 128 and case.experiment.data.kind != "digits":
        says, fix = "may underfit: guide 000's hidden_dim starts at 128", "raise model.base_channels"
    else:
        return None
    says = f"the widest level has {model.base_channels} x {max(model.multipliers)} = {widest} channels, which {says}"
    return Advice("model.base_channels", model.base_channels, says, ("000",), fix)


@rule(
    "time embedding below 64 or below half of base_channels",
    reads=("model.time_embedding", "model.base_channels"),
    guides=("000",),
)
def small_time_embedding(case: Case) -> Advice | None:
    model = case.unet
    if model.time_embedding >= max(64, model.base_channels / 2):
        return None
    says = "guide 000 takes 64 to 256, and half of the network's width or all of it: smaller may lose the noise level"
    fix = f"set model.time_embedding to {max(64, model.base_channels)}"
    return Advice("model.time_embedding", model.time_embedding, says, ("000",), fix)


@rule(
    "time embedding above 256 and above 4 x base_channels",
    reads=("model.time_embedding", "model.base_channels"),
    guides=("000", "Ho et al. 2020"),
)
def large_time_embedding(case: Case) -> Advice | None:
    model = case.unet
    largest = max(256, 4 * model.base_channels)
    if model.time_embedding <= largest:
        return None
    says = "guide 000 ends at 256, DDPM takes 4 x base_channels: more brings nothing known"
    fix = f"set model.time_embedding to {largest} or less"
    return Advice("model.time_embedding", model.time_embedding, says, ("000", "Ho et al. 2020"), fix)


@rule("no level with attention", reads=("model.attention_resolutions",), guides=("001", "002"))
def no_attention(case: Case) -> Advice | None:
    if case.unet.attention_resolutions:
        return None
    says = "without attention on a level, only the middle attends: faster, but quality suffers"
    sides = [shape_of(case.experiment.data)[-1] // 2**level for level in range(case.unet.downsamplings + 1)]
    fix = f"set model.attention_resolutions to ({16 if 16 in sides else sides[len(sides) // 2]},)"
    return Advice("model.attention_resolutions", (), says, ("001", "002"), fix)


@rule("dropout above 0.2", reads=("model.dropout",), guides=("003",))
def much_dropout(case: Case) -> Advice | None:
    dropout = case.experiment.model.dropout
    if dropout <= 0.2:
        return None
    return Advice("model.dropout", dropout, "guide 003 takes 0 to 0.2, typically 0.1", ("003",), "set model.dropout to 0.1")


@rule("neither dropout nor weight decay", reads=("model.dropout", "training.weight_decay"), guides=("000", "002", "003"))
def no_regularisation(case: Case) -> Advice | None:
    if case.experiment.model.dropout > 0 or case.experiment.training.weight_decay > 0:
        return None
    says = (
        "nothing holds against overfitting: guide 000 adds dropout or weight decay, guide 002 decays by 0.01, guide 003 drops 0.1"
    )
    fix = "set model.dropout to 0.1 or training.weight_decay to 0.01"
    return Advice("model.dropout", 0.0, says, ("000", "002", "003"), fix)


RULES = (width_range, small_time_embedding, large_time_embedding, no_attention, much_dropout, no_regularisation)
