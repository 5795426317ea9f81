"""What docs/make_memory.py reads: recorded trainings, and estimates of experiments beside them, in words. Writes nothing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ddpm_exp import ClassLabels, Experiment, Sampling
from ddpm_exp.memory.estimate import estimate
from ddpm_exp.memory.terms import GIB, Estimate
from ddpm_exp.records.catalog import find_runs
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.presets.guide_000 import Balanced
from ddpm_exp.spec.presets.guide_001 import Optimized
from ddpm_exp.spec.training import Precision

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"

MEDIAN, PERCENTILE_95, LOWEST = 0.02, 0.06, -0.03
"""What was asked of the estimates: the median error and its 95th percentile at most, and no error below the last."""

ABOUT = 0.05
"""The guides write "about": so far beyond the ends of a range still counts as in it."""

MB = 10**6


def measured() -> dict[str, Any]:
    """The recorded truth, with the estimates beside it."""
    found: dict[str, Any] = json.loads((RESULTS / "memory_truth.json").read_text())
    return found


def peaks_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Its records but for trainings that gave none."""
    return [record for record in found["records"] if "failed" not in record]


def is_compiled(record: dict[str, Any]) -> bool:
    """Whether `torch.compile` took part."""
    return "compile=True" in record["experiment"]


def is_fp32(record: dict[str, Any]) -> bool:
    """Whether it computed in float32."""
    return "fp32" in record["experiment"]


class Row(NamedTuple):
    """A claim of a guide, in our words."""

    guide: str
    claim: str
    estimated: str
    measured: str
    verdict: str


NOT_MEASURED = "not measured"


@cache
def peaks(
    experiment: Experiment, gpu: str, precisions: tuple[Precision, ...], micro_batch: int | None = None
) -> dict[Precision, Estimate]:
    """Estimates, by default with all images of a step at once."""
    images = micro_batch or experiment.training.images_per_step
    return {precision: estimate(experiment, find_gpu(gpu), precision, images) for precision in precisions}


def wide(images: int, hidden_dim: int) -> Experiment:
    """Guide 000's network at a width, with a time embedding of half of it, as the guide has it."""
    return at(Balanced(), images, hidden_dim=hidden_dim, time_emb_dim=hidden_dim // 2)


def at(experiment: Experiment, images: int, **model: Any) -> Experiment:
    """With so many images per step, and a changed network."""
    changed: Experiment = experiment.but(
        training=experiment.training.but(images_per_step=images), model=experiment.model.but(**model)
    )
    return changed


def written(found: dict[Precision, Estimate]) -> str:
    """Both peaks in each precision."""
    return ", ".join(f"{name} {gib(each.training_bytes)} ({gib(each.sampling_bytes)})" for name, each in found.items())


def gib(size: float) -> str:
    """Bytes in GiB."""
    return f"{size / GIB:.1f}" if size >= 10 * GIB else f"{size / GIB:.2f}"


def seen(found: dict[str, Any], *names: str) -> str:
    """Both measured peaks of these trainings."""
    return "; ".join(f"{gib(taken(found, name))} ({gib(taken(found, name, 'drawing'))}): {name}" for name in names)


def taken(found: dict[str, Any], name: str, mode: str = "training", key: str = "process_bytes") -> int:
    """Bytes that were measured of one training."""
    (size,) = [record[key] for record in peaks_of(found) if record["experiment"] == name and record["mode"] == mode]
    return int(size)


def against(low: float, high: float, sizes: dict[Any, float], unit: float = GIB) -> str:
    """Whether the sizes are in the range from `low` to `high`, each in `unit`, and how far they are from it."""
    words, inside = [], 0
    for name, size in sizes.items():
        value = size / unit
        if low * (1 - ABOUT) <= value <= high * (1 + ABOUT):
            inside += 1
            words.append(f"{name} in it")
        elif value < low:
            words.append(f"{name} {value / low:.2f} times the lower end")
        else:
            words.append(f"{name} {value / high:.2f} times the upper end")
    start = "holds" if inside == len(sizes) else "holds in part" if inside else "does not hold"
    return f"{start}: " + ", ".join(words)


def training_sizes(found: dict[Precision, Estimate]) -> dict[Precision, float]:
    """Peaks of training by precision."""
    return {name: float(each.training_bytes) for name, each in found.items()}


def whole_run() -> Estimate:
    """Of experiments/cifar10_shards.py."""
    drawn = Optimized().but(condition=ClassLabels(), sampling=Sampling(sampler="ddim", steps=50, guidance_scale=1.5))
    return peaks(drawn, "H100", ("bf16",))["bf16"]


def course(name: str) -> list[tuple[float, float]]:
    """(images, bytes that torch had reserved at most until then) of a recorded run."""
    (run,) = find_runs(RESULTS / "runs", name).runs
    return [(float(images), size) for images, size in run.metrics.series("memory/peak_bytes")]
