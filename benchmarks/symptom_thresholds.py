"""From which values on do the measures of samples tell of a fault? `evaluation/symptoms.py` follows the result.

    python benchmarks/symptom_thresholds.py --cifar data/cifar10-jpeg --out benchmarks/results/symptom_thresholds.json

No network is trained: samples are real examples that neither training nor held-out set has (drawn anew for each of 20 trials, to
see what chance does), and the same with one fault of a known size. Beside them stand the committed grids of a run on CIFAR-10, of
which the first two have visible noise in three of eight columns. Minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import gaussian_blur

from ddpm_exp.data import load
from ddpm_exp.data.examples import Batch, Splits
from ddpm_exp.diffusion import draws
from ddpm_exp.evaluation import symptoms
from ddpm_exp.evaluation.defects import Defects
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Data, Digits, Family, Shards, family_of
from ddpm_exp.spec.vectors import Points, Sequences, Table

TRIALS = 20
SAMPLES = 200
THRESHOLDS = {name: getattr(symptoms, name) for name in ("NOISY", "FAR", "BLURRY", "COLLAPSED", "REPEATED", "COVERED")}
PICTURES = Path(__file__).parents[1] / "docs/pictures"

Fault = tuple[str, str | None, Callable[[Batch, Batch], tuple[torch.Tensor, torch.Tensor | None]]]
"""What it is, the symptom that must tell of it, and what it makes of a batch of fresh examples and one of training examples."""


def data_sets(cifar: Path) -> dict[str, Data]:
    """One of each family; of images a small and a photographic one."""
    shards = Shards(train=str(cifar / "train-{00000..00004}.tar.gz"), held_out=str(cifar / "test-00000.tar.gz"))
    names = tuple((cifar / "classes.txt").read_text().split())
    return {
        "cifar10": shards.but(class_names=names),
        "digits": Digits(),
        "wine": Table(source="wine"),
        "waves": Sequences(),
        "outlines": Points(),
    }


def _noise(like: torch.Tensor, purpose: str = "noise") -> torch.Tensor:
    return draws.normal(0, purpose, torch.arange(len(like)), tuple(like.shape[1:]))


def _some(share: float, fault: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Batch, Batch], tuple[torch.Tensor, None]]:
    def apply(fresh: Batch, train: Batch) -> tuple[torch.Tensor, None]:
        count = round(share * len(fresh.x0))
        return torch.cat([fault(fresh.x0[:count]), fresh.x0[count:]]), None

    return apply


def _modes(count: int) -> Callable[[Batch, Batch], tuple[torch.Tensor, None]]:
    def apply(fresh: Batch, train: Batch) -> tuple[torch.Tensor, None]:
        places = torch.arange(len(fresh.x0)) % count
        return fresh.x0[places] + 0.02 * _noise(fresh.x0), None

    return apply


def _copied(share: float) -> Callable[[Batch, Batch], tuple[torch.Tensor, None]]:
    def apply(fresh: Batch, train: Batch) -> tuple[torch.Tensor, None]:
        count = round(share * len(fresh.x0))
        copies = train.x0[:count]
        return torch.cat([copies + 0.02 * _noise(copies), fresh.x0[count:]]), None

    return apply


def _exchanged(classes: int) -> Callable[[Batch, Batch], tuple[torch.Tensor, torch.Tensor | None]]:
    """Of the first so many classes, each is drawn as the next one."""

    def apply(fresh: Batch, train: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        labels = fresh.labels
        if labels is None:
            raise ValueError("classes are needed")
        return fresh.x0, torch.where(labels < classes, (labels + 1) % classes, labels)

    return apply


def faults(family: Family, classes: int) -> Iterator[Fault]:
    """Each kind of fault in several sizes, some of which are too small to be told."""
    if family == "image":
        for sigma, share, told in ((0.05, 1.0, False), (0.1, 0.1, False), (0.2, 0.1, False), (0.5, 0.1, True), (0.5, 1.0, True)):
            yield (
                f"coloured noise of {sigma:g} in {share:.0%}",
                "noisy samples" if told else None,
                _some(share, lambda x, sigma=sigma: (x + sigma * _noise(x)).clamp(-1, 1)),
            )
        yield (
            "grey noise of 0.5 in 10%",
            "noisy samples",
            _some(0.1, lambda x: (x + 0.5 * _noise(x[:, :1])).clamp(-1, 1)),
        )
        for radius, told in ((0.4, False), (0.6, True), (1.0, True)):
            yield (
                f"blur of {radius:g} pixels",
                "blurry samples" if told else None,
                _some(1.0, lambda x, radius=radius: gaussian_blur(x, 5, radius)),
            )
    yield "noise in place of samples", "noisy samples", lambda fresh, train: (_noise(fresh.x0), None)
    for count in (1, 5, 20):
        yield f"{count} examples again and again", "mode collapse", _modes(count)
    for share in (0.05, 0.2, 1.0):
        yield f"{share:.0%} copies of training examples", "memorised examples" if share > 0.1 else None, _copied(share)
    if classes > 2:
        many = max(3, classes // 2)
        yield f"2 of {classes} classes exchanged", None, _exchanged(2)
        yield f"{many} of {classes} classes exchanged", "missing classes", _exchanged(many)


def fresh_splits(splits: Splits) -> tuple[Splits, Any]:
    """The data without a part of the training examples, and that part, which nothing else has seen."""
    order = draws.uniform(0, "fresh", torch.arange(len(splits.train))).flatten().argsort()
    count = min(4000, len(order) // 3)
    return replace(splits, train=splits.train.take(order[count:].sort().values)), splits.train.take(order[:count])


def measured(defects: Defects, drawn: torch.Tensor, labels: torch.Tensor | None) -> dict[str, float]:
    """All measures, and the symptoms that they raise at the end of a training."""
    return defects.of(drawn) | ({} if labels is None else defects.of_classes(drawn, labels))


def cases(name: str, data: Data) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """Of one data set: least, median and greatest value of each measure over trials of real examples; and one row per fault."""
    splits, fresh = fresh_splits(load(data, ClassLabels()))
    family = family_of(data)
    defects = Defects(splits, family)
    count = min(SAMPLES, 2 * len(fresh) // 3)
    trials = []
    for trial in range(TRIALS):
        order = draws.uniform(trial, "trial", torch.arange(len(fresh))).flatten().argsort()[:count]
        batch = fresh.batch(order)
        trials.append(measured(defects, batch.x0, batch.labels))
    real = {key: [round(f([row[key] for row in trials if key in row]), 4) for f in (min, _median, max)] for key in trials[-1]}
    raised = sorted({one.name for row in trials for one in symptoms.newest([(1, row)])})
    rows = [{"data": name, "fault": "none", "expected": None, "raised": raised}]
    train = splits.train.batch(torch.arange(count) * (len(splits.train) // count))
    for fault, expected, apply in faults(family, len(fresh.class_names)):
        found = measured(defects, *apply(fresh.batch(slice(0, count)), train))
        told = [one.name for one in symptoms.newest([(1, found)])]
        if expected == "missing classes" and "samples/class_coverage" not in real:
            expected = None  # centroids do not tell these classes
        rows.append({"data": name, "fault": fault, "expected": expected, "raised": told, "values": _rounded(found)})
    if name == "cifar10":
        for epoch in (10, 30, 50):
            found = measured(defects, _tiles(PICTURES / f"cifar10_shards-epoch-{epoch}.png"), None)
            found = {key: found[key] for key in ("samples/noise_left", "samples/blur")}  # its columns share noises: no collapse
            told = [one.name for one in symptoms.newest([(1, found)])]
            expected = None if epoch == 50 else "noisy samples"
            rows.append(
                {"data": name, "fault": f"grid of epoch {epoch}", "expected": expected, "raised": told, "values": _rounded(found)}
            )
    return real, rows


def _median(values: list[float]) -> float:
    return float(np.median(values))


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _tiles(path: Path) -> torch.Tensor:
    """The 80 images of a grid of 10 rows and 8 columns of 32x32 pixels, twice as wide and high there."""
    step = 66
    picture = np.asarray(Image.open(path).convert("RGB"))[-10 * step :, -8 * step :]
    tiles = picture.reshape(10, step, 8, step, 3)[:, :64:2, :, :64:2].transpose(2, 0, 4, 1, 3).reshape(80, 3, 32, 32)
    return torch.from_numpy(tiles.copy()).float() / 127.5 - 1


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, default=Path("data/cifar10-jpeg"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    real, rows = {}, []
    for name, data in data_sets(given.cifar).items():
        real[name], found = cases(name, data)
        rows += found
        for row in found:
            print(f"{name:9} {row['fault']:38} expected {row['expected'] or '-':20} raised {', '.join(row['raised']) or '-'}")
        for key, (least, median, most) in real[name].items():
            print(f"{name:9} real {key:26} {least:8.4f} {median:8.4f} {most:8.4f}")
    record = {
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "samples": SAMPLES,
        "trials": TRIALS,
        "thresholds": THRESHOLDS,
        "real": real,
        "cases": rows,
    }
    given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
