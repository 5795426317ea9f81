"""The part of docs/memory.md on what the guides say about memory, beside today's estimates and what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memory_records import (
    ABOUT,
    MB,
    NOT_MEASURED,
    Row,
    against,
    at,
    course,
    gib,
    peaks,
    seen,
    taken,
    training_sizes,
    whole_run,
    wide,
    written,
)

from ddpm_exp import Experiment, ImageFolder
from ddpm_exp.memory.fitting import largest_fitting
from ddpm_exp.memory.terms import GIB
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.presets.guide_000 import Balanced, HighQuality, QuickTest
from ddpm_exp.spec.presets.guide_001 import Optimized, Standard
from ddpm_exp.spec.presets.guide_003 import Defaults
from ddpm_exp.spec.training import Precision


def guide_000(found: dict[str, Any]) -> Iterator[Row]:
    """Guide 000's network on the GPUs that it names."""
    wider = seen(found, "unseen encoder-decoder, 32x32, fp32, 100 x 1") + " (hidden_dim 160)"
    more = seen(found, "encoder-decoder, 32x32, fp32, 64 x 1", "encoder-decoder, 32x32, bf16, 64 x 1")
    for experiment, low, high, close in (
        (QuickTest(), 2, 4, f"not measured; more images and a wider network: {wider}"),
        (Balanced(), 4, 8, f"not measured; eight times the images: {more}"),
        (HighQuality(), 8, 16, NOT_MEASURED),
    ):
        width, images = experiment.model.hidden_dim, experiment.training.images_per_step  # type: ignore[union-attr]
        each = peaks(experiment, "T4", ("fp32", "fp16"))
        claim = f"hidden_dim {width}, {images} images: {low} to {high} GB"
        yield Row("000", claim, f"T4: {written(each)}", close, against(low, high, training_sizes(each)))
    weights = {width: peaks(wide(8, width), "T4", ("fp32",))["fp32"].terms["weights"] / 4 for width in (128, 256, 512)}
    counted = ", ".join(f"{width}: {number / 1e6:.2f} M" for width, number in weights.items())
    off = max(abs(number / about - 1) for number, about in zip(weights.values(), (0.5e6, 2e6, 8e6), strict=True))
    claim = "about 0.5, 2 and 8 M parameters at hidden_dim 128, 256 and 512"
    known = f"{taken(found, 'encoder-decoder, 32x32, fp32, 64 x 1', key='parameters') / 1e6:.2f} M at 256"
    yield Row("000", claim, counted, known, f"holds within {off:.0%}")
    yield _doubled(weights)
    half = {width: peaks(wide(images, width), "T4", ("fp32",))["fp32"] for width, images in ((256, 8), (512, 4))}
    ratio = half[512].training_bytes / half[256].training_bytes
    told = f"T4, fp32: {gib(half[256].training_bytes)} for 8 images at 256, {gib(half[512].training_bytes)} for 4 at 512"
    verdict = (
        f"does not hold at this size: {ratio:.2f} times as much with half the images, as weights and workspaces"
        " weigh more than images"
    )
    yield Row("000", "so half as many images when hidden_dim is doubled", told, NOT_MEASURED, verdict)
    for name, low, high, gpu in (("T4", 4, 8, "T4"), ("V100 32 GB", 16, 32, "V100-32"), ("A100 40 GB", 32, 64, "A100-40")):
        fits = {}
        for width in (256, 512):
            most = largest_fitting(wide(2**14, width), find_gpu(gpu), "fp32")
            assert most
            fits[width] = most.micro_batch
        told = f"fp32: {fits[256]} fit at hidden_dim 256, {fits[512]} at 512 (powers of two)"
        verdict = (
            f"fits, far from the limit: {fits[256] // high} times the upper end fits, and half to three quarters of"
            " that is the guide's own rule"
        )
        yield Row("000", f"{name}: {low} to {high} images", told, NOT_MEASURED, verdict)
    yield _smaller()


def _doubled(weights: dict[int, float]) -> Row:
    rises, told, ratios, owns = [weights[256] / weights[128], weights[512] / weights[256]], [], [], []
    for images in (8, 256):
        whole = [peaks(wide(images, width), "T4", ("fp32",))["fp32"] for width in (128, 256, 512)]
        own = [each.training_bytes - each.terms["context"] - each.terms["data"] for each in whole]
        ratios += [whole[k + 1].training_bytes / whole[k].training_bytes for k in (0, 1)]
        owns += [own[k + 1] / own[k] for k in (0, 1)]
        told.append(f"{images} images: " + " and ".join(f"{ratios[k]:.2f} ({owns[k]:.2f})" for k in (-2, -1)))
    estimated = (
        f"T4, fp32, 128 to 256 and 256 to 512: parameters {rises[0]:.2f} and {rises[1]:.2f} times; memory, in brackets without"
    )
    estimated += f" context and data, {'; '.join(told)}"
    verdict = f"parameters hold; memory does not: {min(ratios):.2f} to {max(ratios):.2f} times, without context and data"
    verdict += f" {min(owns):.1f} to {max(owns):.1f} times"
    return Row("000", "hidden_dim doubled: 4x the parameters, 2x the memory", estimated, NOT_MEASURED, verdict)


def _smaller() -> Row:
    start, fewer, narrower = (
        peaks(wide(images, width), "T4", ("fp32",))["fp32"].training_bytes for images, width in ((4, 512), (2, 512), (4, 256))
    )
    told = f"T4, fp32, from {gib(start)} (hidden_dim 512, 4 images): {gib(fewer)} with 2 images, {gib(narrower)} at hidden_dim 256"
    verdict = (
        f"holds, for little at these sizes: {1 - fewer / start:.0%} and {1 - narrower / start:.0%} less. The"
        " narrower network gives more"
    )
    return Row("000", "out of memory: halve the images, then hidden_dim", told, NOT_MEASURED, verdict)


def guide_001(found: dict[str, Any]) -> Iterator[Row]:
    """Guide 001's CIFAR-10 on the GPU that it names."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    standard, optimized = (peaks(each, "RTX 3090", precisions) for each in (Standard(), Optimized()))
    names = [f"{network} U-Net, 32x32, {precision}, 128 x 1" for network in ("DDPM", "small") for precision in precisions]
    verdict = against(10, 12, training_sizes(standard))
    yield Row("001", "standard: 10 to 12 GB", f"RTX 3090: {written(standard)}", seen(found, *names[:2]), verdict)
    verdict = against(6, 8, training_sizes(optimized))
    yield Row("001", "optimized: 6 to 8 GB", f"RTX 3090: {written(optimized)}", seen(found, *names[2:]), verdict)
    whole, logged = whole_run(), max(size for _, size in course("cifar10_shards"))
    usual = whole.terms["context"]
    expected = whole.peak_bytes - usual
    close = f"{gib(logged)} reserved by torch at the end, without the context: run cifar10_shards"
    verdict = (
        f"holds: {gib(logged + usual)} with a context. **Our estimate does not**: the run reserved"
        f" {logged / expected:.1f} times as much"
    )
    verdict += ' (see "Whole runs" above)'
    yield Row("001", "optimized: 6 to 8 GB, a whole run with evaluations", f"H100: {written({'bf16': whole})}", close, verdict)
    saved = [1 - optimized[name].training_bytes / standard[name].training_bytes for name in precisions]
    real = [1 - taken(found, names[2 + k]) / taken(found, names[k]) for k in (0, 1)]
    told = f"RTX 3090: {saved[0]:.0%} less in fp32, {saved[1]:.0%} in bf16"
    yield Row(
        "001", "out of memory: optimized instead of standard", told, f"{real[0]:.0%} and {real[1]:.0%} less: as above", "holds"
    )
    sizes = {images: peaks(at(Standard(), images), "RTX 3090", precisions) for images in (128, 64, 32)}
    told = "; ".join(f"{images}: {written(each)}" for images, each in sizes.items())
    less = [1 - sizes[images]["fp32"].training_bytes / sizes[128]["fp32"].training_bytes for images in (64, 32)]
    close = seen(found, "DDPM U-Net, 32x32, fp32, 32 x 1", "DDPM U-Net, 32x32, bf16, 32 x 1")
    verdict = f"holds: {less[0]:.0%} and {less[1]:.0%} less in fp32"
    yield Row("001", "out of memory: 64 or 32 images instead of 128", f"RTX 3090: {told}", close, verdict)
    verdict = (
        f"does not hold: of 128 images, each of two GPUs has 64 at once, and needs {less[0]:.0%} less in fp32 than one with all"
    )
    yield Row("001", "out of memory: one GPU instead of several", "as above", NOT_MEASURED, verdict)
    without = peaks(at(Standard(), 128, attention_resolutions=()), "RTX 3090", precisions)
    saved = [1 - without[name].training_bytes / standard[name].training_bytes for name in precisions]
    verdict = f"holds: {saved[0]:.0%} less in fp32, {saved[1]:.0%} in bf16 (attention keeps no matrix of pixels by pixels here)"
    yield Row("001", "out of memory: no attention", f"RTX 3090: {written(without)}", NOT_MEASURED, verdict)


def guide_003(found: dict[str, Any]) -> Iterator[Row]:
    """Guide 003's terms for DDPM's network, on the GPU on which trainings were measured: it names none."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    small = at(Defaults(), 64).but(data=ImageFolder(root="made-up", image_size=64, subset=1024))
    each = peaks(small, "H100", precisions)
    terms = each["fp32"].terms
    full = taken(found, "DDPM U-Net, 32x32, bf16, 64 x 1, dropout=0.1", key="allocated_bytes")
    average = full - taken(found, "DDPM U-Net, 32x32, bf16, 64 x 1, ema_half_life=None", key="allocated_bytes")
    about = "64x64, 64 images, 35 M parameters"
    words = [f"{name} {terms[name] / MB:.0f}" for name in ("weights", "optimizer", "gradients")]
    off = max(abs(terms[name] / MB / said - 1) for name, said in (("weights", 140), ("optimizer", 280), ("gradients", 140)))
    claim = f"{about}: weights 140, Adam 280, gradients 140 MB"
    close = (
        f"one set of weights, the average: {average / MB:.0f} MB (DDPM U-Net, 32x32, bf16, 64 x 1, dropout=0.1"
        " less ema_half_life=None)"
    )
    yield Row("003", claim, f"{', '.join(words)} MB", close, f"holds within {off:.0%}; the average is as much as the weights again")
    activations = {name: float(one.terms["activations"]) for name, one in each.items()}
    told = ", ".join(f"{name} {gib(size)}" for name, size in activations.items())
    verdict = against(2, 4, activations)
    yield Row("003", f"{about}: activations 2 to 4 GB", f"H100: {told}", NOT_MEASURED, verdict)
    close = "not measured; a quarter of the images, a narrower network: "
    close += seen(found, "large-image U-Net, 64x64, fp32, 16 x 1", "large-image U-Net, 64x64, bf16, 16 x 1")
    least = min(one.training_bytes for one in each.values()) / GIB
    verdict = (
        f'holds as the "minimum" that it is called: DDPM\'s network takes {least / 5:.1f} to'
        f" {each['fp32'].training_bytes / GIB / 5:.1f} times 5 GB"
    )
    yield Row("003", f"{about}: 3 to 5 GB at least", f"H100: {written(each)}", close, verdict)
    yield from _large(small, activations)
    sizes = {images: peaks(at(Defaults(), images), "H100", precisions) for images in (32, 128, 512)}
    told = "; ".join(f"{images}: {written(some)}" for images, some in sizes.items())
    close = seen(found, *(f"DDPM U-Net, 32x32, bf16, {images} x 1" for images in sizes))
    verdict = f"the order holds; in 16 bits 512 images of 32x32 need no second GPU, only {gib(sizes[512]['bf16'].peak_bytes)} GiB"
    yield Row("003", "32 to 64 images: little memory, 128 to 256: more, 512: several GPUs", f"H100: {told}", close, verdict)
    whole, parts, few = (
        peaks(at(Defaults(), images), "H100", ("bf16",), micro) for images, micro in ((256, 256), (256, 64), (64, 64))
    )
    told = f"H100: 64 x 4 {written(parts)}; 64 x 1 {written(few)}; 256 at once {written(whole)}"
    close = seen(found, "DDPM U-Net, 32x32, bf16, 64 x 4", "DDPM U-Net, 32x32, bf16, 64 x 1, dropout=0.1")
    rise = parts["bf16"].training_bytes / few["bf16"].training_bytes - 1
    verdict = f"holds: {abs(rise):.0%} {'more' if rise >= 0 else 'less'} than 64 alone"
    yield Row("003", "64 images four times accumulated fit where 64 fit", told, close, verdict)


def _large(small: Experiment, activations: dict[Precision, float]) -> Iterator[Row]:
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    large = small.but(
        data=ImageFolder(root="made-up", image_size=256, subset=1024), model=small.model.but(attention_resolutions=(64,))
    )
    each = peaks(large, "H100", precisions)
    rises = {name: one.terms["activations"] / activations[name] for name, one in each.items()}
    told = ", ".join(f"{name} {gib(one.terms['activations'])}" for name, one in each.items())
    off = max(abs(rise / 16 - 1) for rise in rises.values())
    verdict = ("holds: " if off < ABOUT else "does not hold: ") + ", ".join(f"{name} {rise:.1f}x" for name, rise in rises.items())
    yield Row(
        "003", "256x256: activations 16 times those of 64x64", f"H100, attending at the same level: {told}", NOT_MEASURED, verdict
    )
    again = peaks(large.but(model=large.model.but(checkpointing=True)), "H100", precisions)
    fewer = {
        name: largest_fitting(large.but(training=large.training.but(precision=name)), find_gpu("H100"), name) for name in precisions
    }
    told = f"H100, 64 images: {written(each)}; checkpointing: {written(again)}"
    fit = ", ".join(f"{most.micro_batch} in {name}" for name, most in fewer.items() if most)
    enough = [
        name for name, one in again.items() if one.peak_bytes <= find_gpu("H100").usable_bytes * (1 - large.hardware.headroom)
    ]
    verdict = f"holds: 64 at once do not fit an H100; fewer do ({fit})"
    verdict += f"; checkpointing is enough in {', '.join(enough)} alone" if enough else "; checkpointing alone is not enough"
    yield Row("003", "256x256: checkpointing or fewer images may be needed", told, NOT_MEASURED, verdict)


def guide_002(found: dict[str, Any]) -> Iterator[Row]:
    """The one thing that guide 002 says of memory."""
    each = peaks(Standard(), "H100", ("fp32", "bf16"))
    names = [f"DDPM U-Net, 32x32, {precision}, 128 x 1" for precision in ("fp32", "bf16")]
    saved = 1 - taken(found, names[1]) / taken(found, names[0])
    verdict = f"holds: {saved:.0%} less measured"
    yield Row("002", "mixed precision needs less memory", f"H100: {written(each)}", seen(found, *names), verdict)


def guides(found: dict[str, Any]) -> str:
    """Every claim beside our estimate and what was measured."""
    lines = ["| guide | claim | our estimate | measured on an H100 | verdict |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for part in (guide_000, guide_001, guide_002, guide_003) for row in part(found)]
    return "\n".join(lines) + "\n"
