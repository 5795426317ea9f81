"""What a decision's page says about its runs and its data. Counts and names only, no statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddpm_exp.decisions.arm import Arm, Run
from ddpm_exp.decisions.wording import NOT_AVAILABLE, count, markdown_table

_NAMES = {
    "digits": "scikit-learn's handwritten digits",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "folder": "a folder of images",
    "shards": "shards of images",
    "table": "the table",
    "sequences": "the sequences",
    "points": "the clouds of points",
    "gaussians": "a mixture of Gaussians",
}


def runs(variant: Arm, baseline: Arm | None) -> str:
    """A table of all runs of both arms: those that count first, then the others and why they do not."""
    rows = []
    for arm in (variant, *([baseline] if baseline else [])):
        rows += [_row(arm, run, "yes") for run in arm.counted.values()]
        rows += [_row(arm, run, _why_not(arm, run)) for run in arm.extra]
    if not rows:
        return "No runs yet."
    return markdown_table(("arm", "run", "seed", "science hash", "images", "hours", "GPU", "torch", "counts"), rows)


def data(arm: Arm) -> str:
    """A paragraph on which images the arm saw; empty without runs."""
    if not arm.runs:
        return ""
    run = arm.runs[0]
    sentences = [f"Data: {_examples(run)}"]
    size = run.config.get("data.image_size")
    if size:
        sentences.append(f"Images have {size}x{size} pixels")
    held_out = run.config.get("evaluation.held_out")
    if held_out:
        sentences.append(f"Validation errors average over at most {count(held_out)} held-out {_noun(run)}s")
    if run.data_fingerprint:
        sentences.append(f"Fingerprint of pixels, labels and order: `{run.data_fingerprint}`")
    return ". ".join(sentences) + "."


def _examples(run: Run) -> str:
    config: Mapping[str, Any] = run.config
    name = _NAMES.get(str(config.get("data.kind")), str(config.get("data.kind", "not recorded")))
    name = f"{name} `{config['data.source']}`" if "data.source" in config else name
    noun = _noun(run)
    epoch = run.units.get("images_per_epoch")
    if config.get("data.subset"):
        taken = count(epoch or config["data.subset"])
        return f"one fixed {taken}-{noun} subset of {name}, the same for every arm and seed, which defines the epoch"
    return f"all {count(epoch)} training {noun}s of {name}, which are one epoch" if epoch else f"the training {noun}s of {name}"


def _noun(run: Run) -> str:
    """What one training example is called."""
    return "image" if run.config.get("data.kind") in ("digits", "fashion-mnist", "cifar10", "folder", "shards") else "example"


def _row(arm: Arm, run: Run, counts: str) -> tuple[str, ...]:
    hours = NOT_AVAILABLE if run.hours is None else f"{run.hours:.2f}"
    place = f"`{run.place}`"
    return (
        arm.experiment_id,
        place,
        str(run.seed),
        f"`{run.science_hash}`",
        count(run.images_seen),
        hours,
        run.gpu,
        run.torch,
        counts,
    )


def _why_not(arm: Arm, run: Run) -> str:
    if not run.finished:
        return f"no: {run.state}"
    return "no: seed not planned" if run.seed not in arm.planned else "no: an earlier run of this seed counts"
