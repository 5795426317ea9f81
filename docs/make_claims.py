"""Writes docs/claims.md: what guide 001 promises for CIFAR-10, beside what a recorded run of experiments/cifar10_shards.py gave.

python docs/make_claims.py             write the page and its pictures
python docs/make_claims.py --check     only say whether the page is current
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddpm_exp.records.catalog import find_runs
from ddpm_exp.records.run_directory import RunDirectory

DOCS = Path(__file__).parent
RUNS = DOCS.parent / "benchmarks" / "results" / "runs"
PAGE, PICTURES = DOCS / "claims.md", DOCS / "pictures"
NAME = "cifar10_shards"
EPOCHS = (10, 30, 50)
"""Shown."""

HEAD = """# The guides' claims, tested

Guide 001 says what a training on CIFAR-10 should look like by when. This is what one run of
[experiments/cifar10_shards.py](../experiments/cifar10_shards.py) gave: the guide's recommended configuration, told the class, on
JPEG shards of CIFAR-10 (re-encoded, so nothing here is to be compared with published FID).

{machine}

This page is written by `docs/make_claims.py` from `benchmarks/results/runs`. One run, one seed: a claim is shown, not proved.
"""


START = """Each column below starts from one noise, the same at every epoch; the root mean squares of the eight are {lengths}. The
columns of those above 1.01 keep noise in the picture, less of it as training goes on: DDIM adds none of its own, the first steps of
this schedule magnify what the network says by up to 158 (1 / alpha at the noisiest time), and a network that normalizes what it
sees learns the length of its input last. That was a fault of how samples were drawn, not of what was learnt: the run is of before
predictions were calibrated ([decision 13](design/0013-estimates-are-calibrated.md)), and is to be trained again."""


def lengths_of_starts() -> list[float]:
    """The root mean square of each of the eight fixed noises that a grid of 3x32x32 images starts from."""
    import torch

    from ddpm_exp.diffusion.draws import normal

    start = normal(0, "sample/start", torch.arange(8), (3, 32, 32))
    return [float(length) for length in start.square().mean((1, 2, 3)).sqrt()]


def run_of(name: str) -> RunDirectory:
    """The recorded run."""
    found = find_runs(RUNS, name).runs
    if len(found) != 1:
        sys.exit(f"{len(found)} runs of {name} in {RUNS}; one is needed")
    return found[0]


class Course:
    """What was logged, by epoch."""

    def __init__(self, run: RunDirectory) -> None:
        self.epoch = run.manifest.units.images_per_epoch
        self._series = run.metrics.series
        speed = self.series("speed/images_per_second")
        self.minutes: list[tuple[float, float]] = []
        total, before = 0.0, 0.0
        for at, images_per_second in speed:
            total += (at - before) * self.epoch / images_per_second / 60
            before = at
            self.minutes.append((at, total))

    def series(self, name: str) -> list[tuple[float, float]]:
        """(epoch, value)."""
        return [(images / self.epoch, value) for images, value in self._series(name)]

    def at(self, name: str, epoch: float) -> float:
        """The value nearest to that epoch, at most a quarter of one away."""
        place, value = min(self.series(name), key=lambda pair: abs(pair[0] - epoch))
        if abs(place - epoch) > 0.25:
            raise ValueError(f"{name} was not logged near epoch {epoch}")
        return value

    def mean(self, name: str, low: float, high: float) -> float:
        """Of the values logged in epochs low (left out) to high."""
        found = [value for at, value in self.series(name) if low < at <= high]
        return sum(found) / len(found)

    def minutes_at(self, epoch: float) -> float:
        """Minutes of training until that epoch, without evaluations."""
        return min(self.minutes, key=lambda pair: abs(pair[0] - epoch))[1]


def rows(course: Course, run: RunDirectory) -> list[list[str]]:
    """Each claim with what was found."""
    last = course.series("val/denoising")[-1][0]
    losses = [course.mean("train/loss", low, high) for low, high in ((0, 1), (9, 10), (last - 1, last))]
    peak = max(value for _, value in course.series("memory/peak_bytes")) / 2**30
    first_logged = course.series("train/loss")[0][1]
    per_epoch = course.minutes_at(last) / last
    real = course.series("samples/class_accuracy_of_real")[-1][1]

    def accuracy(epoch: int) -> str:
        return f"class found in {course.at('samples/class_accuracy', epoch):.0%} of drawings (real images: {real:.0%})"

    by_epoch = f"1st {losses[0]:.3f}, 10th {losses[1]:.3f}, last {losses[2]:.3f}"
    return [
        ["loss falls steadily from about 0.5 to 0.05 to 0.1", f"{first_logged:.2f} over the first 50 steps; by epoch: {by_epoch}"],
        ["epoch 10: basic shapes visible", f"{accuracy(10)}; see the pictures"],
        ["epoch 30: clear objects recognizable", _reached(course, 30, accuracy)],
        ["epoch 50: good quality, some fine details", _reached(course, 50, accuracy)],
        ["1 to 2 minutes per epoch on an RTX 3090 (optimized)", f"{60 * per_epoch:.1f} s per epoch on {_gpu(run)}"],
        ["6 to 8 GB of memory (optimized)", f"{peak:.1f} GiB reserved at its peak, drawing included"],
    ]


def _reached(course: Course, epoch: int, accuracy: Callable[[int], str]) -> str:
    last = course.series("train/loss")[-1][0]
    if last < epoch:
        return f"not reached: this run was stopped in epoch {last:.0f} for want of GPU time"
    return f"{accuracy(epoch)}; see the pictures"


def page(run: RunDirectory) -> str:
    """The whole page."""
    course = Course(run)
    lines = [HEAD.format(machine=_machine(run)), "| guide 001 | this run |", "| --- | --- |"]
    lines += [f"| {claim} | {found} |" for claim, found in rows(course, run)]
    lines += ["", "The error against images and against minutes of training:", "", f"![curves](pictures/{NAME}-curves.png)", ""]
    lines += [
        "| epoch | minutes | val/loss | val/denoising | class accuracy | coherence |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for epoch, value in course.series("val/denoising"):
        minutes = course.minutes_at(epoch) if epoch else 0.0
        cells = [f"{epoch:.0f}", f"{minutes:.1f}", f"{course.at('val/loss', epoch):.4f}", f"{value:.4f}"]
        cells += [f"{course.at('samples/class_accuracy', epoch):.2f}", f"{course.at('samples/coherence', epoch):.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", START.format(lengths=", ".join(f"{length:.3f}" for length in lengths_of_starts()))]
    for epoch in EPOCHS:
        lines += ["", f"Epoch {epoch}, DDIM of 50 steps, guidance 1.5, averaged weights:", ""]
        lines += [f"![epoch {epoch}](pictures/{NAME}-epoch-{epoch}.png)"]
    return "\n".join(lines) + "\n"


def curves(course: Course, path: Path) -> None:
    """Training and held-out error against epochs and minutes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    minutes = dict(course.minutes)
    loss = course.series("train/loss")
    held_out = [(at, value) for at, value in course.series("val/loss") if at]
    axes[0].plot(*zip(*[(at * course.epoch / 1e6, value) for at, value in loss], strict=True), lw=0.6, label="train/loss")
    axes[0].plot(*zip(*[(at * course.epoch / 1e6, value) for at, value in held_out], strict=True), "o-", ms=3, label="val/loss")
    axes[1].plot(*zip(*[(minutes[at], value) for at, value in loss if at in minutes], strict=True), lw=0.6)
    axes[1].plot(*zip(*[(course.minutes_at(at), value) for at, value in held_out], strict=True), "o-", ms=3)
    axes[0].set(xlabel="million images", ylabel="loss", yscale="log")
    axes[1].set(xlabel="minutes of training")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _gpu(run: RunDirectory) -> str:
    return str(run.manifest.host["device"]["gpu"])


def _machine(run: RunDirectory) -> str:
    manifest: Any = run.manifest
    step = manifest.plan["images_per_step"]
    return f"{_gpu(run)}, torch {manifest.packages['torch']}, {manifest.precision}, {step} images per step."


def picture_of(run: RunDirectory, epoch: int) -> Path:
    """The sample grid drawn nearest to that epoch."""
    wanted = epoch * run.manifest.units.images_per_epoch
    return min(run.samples.glob("samples-*.png"), key=lambda path: abs(int(path.stem.split("-")[1]) - wanted))


def is_current() -> bool:
    """Whether the page is what the run says."""
    return PAGE.exists() and PAGE.read_text(encoding="utf-8") == page(run_of(NAME))


if __name__ == "__main__":
    if "--check" in sys.argv:
        if not is_current():
            sys.exit("docs/claims.md is not current; run python docs/make_claims.py")
    else:
        found = run_of(NAME)
        PAGE.write_text(page(found), encoding="utf-8")
        curves(Course(found), PICTURES / f"{NAME}-curves.png")
        for shown in EPOCHS:
            shutil.copy(picture_of(found, shown), PICTURES / f"{NAME}-epoch-{shown}.png")
