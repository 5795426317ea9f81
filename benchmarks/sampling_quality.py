"""How good are samples, by sampler, grid and network calls, ours beside diffusers' schedulers on the same weights?

    python benchmarks/sampling_quality.py --data data/cifar10-jpeg --out benchmarks/results/sampling_quality.json

Trains DDPM's U-Net (unconditional; 35.7 M for eps-linear, half its channels for the others) on the CIFAR-10 shards, 512,000 images,
once for each of the named weights, and draws n samples in each way. FD: Frechet distance of EfficientNet-Lite0's features to the
10,000 test images, by torch-fidelity (no FID). noise_left: share of the samples that have noise where real images have next to none
(0.5 % of real images have). least_ratio: sigma / alpha from which predictions of x0 are calibrated (docs/sampling.md).

diffusers' schedulers ask the same network: the exported UNet2DModel is compared with it first, then our captured copy answers for
both, as it is faster. They are as they come, but for the schedule and the prediction; `grid` is their `timestep_spacing`.
Cases of the weights that are named replace those in --out; a file of another device, torch or n is refused. Past --seconds nothing
is begun: what was not reached is named under "left_out". Weights are trained one after the other (80 to 150 s each on an H200), so
that a call of ten minutes does for eps-linear alone, and another one for the other two.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from sampling_cases import FIRST, RATIOS, Case, cases
from sampling_drawer import Drawer, exported_difference
from sampling_judge import Judge
from torch import Tensor

import ddpm_exp
from ddpm_exp.data import load as load_data
from ddpm_exp.data.pixels import to_model_range
from ddpm_exp.diffusion import calibration
from ddpm_exp.evaluation.extractors import efficientnet
from ddpm_exp.evaluation.fidelity import FeatureSet
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.noise_left import fit_noise_scale
from ddpm_exp.evaluation.pictures import grid as grid_png
from ddpm_exp.evaluation.room import Room
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.loaded_run import LoadedRun

EXPERIMENT = '''from ddpm_exp import Diffusion, Evaluation, Experiment, Shards, Tracking, Training, UNet, Unconditional

class Reference(Experiment):
    """DDPM's U-Net, {weights}."""
    data = Shards(train="{data}/train-{{00000..00004}}.tar.gz", held_out="{data}/test-00000.tar.gz", flip=True)
    condition = Unconditional()
    diffusion = Diffusion(schedule="{schedule}", prediction="{prediction}")
    model = UNet({network})
    training = Training(images_per_step=128, learning_rate=2e-4, warmup="{warmup} images", duration="{images} images",
                        ema_half_life="100000 images", precision="{precision}", checkpoint_every="{images} images")
    evaluation = Evaluation(every="{images} images", samples=64)
    tracking = Tracking(wandb="off")
'''
SMALL = (
    "base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8, time_embedding=64, dropout=0.0"
)


def train(weights: str, given: argparse.Namespace, folder: Path) -> LoadedRun:
    """The reference, by the product's own command."""
    prediction, schedule = weights.split("-")
    network = SMALL if given.small else "dropout=0.0" if weights == FIRST else "base_channels=64, dropout=0.0"
    text = EXPERIMENT.format(
        weights=weights,
        data=given.data.resolve(),
        schedule=schedule,
        prediction=prediction,
        images=given.images,
        warmup=given.images // 8,
        network=network,
        precision="fp32" if given.small else "bf16",
    )
    (folder / "reference.py").write_text(text)
    command = [sys.executable, "-m", "ddpm_exp.cli", "run", "reference.py", "--seed", "0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return ddpm_exp.load(next(folder.glob("runs/*/*/*/manifest.json")).parent)


def main() -> None:
    """Train, draw, measure, write after each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", default=["eps-linear", "eps-cosine", "v-cosine"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--images", type=int, default=512_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--choose", action="store_true", help="go on with the best of some ratios that calibration may begin at")
    parser.add_argument("--small", action="store_true", help="a dry run: a network of 0.1 M in fp32, 100 test images")
    given = parser.parse_args()
    began = time.monotonic()
    for weights in given.weights:
        with tempfile.TemporaryDirectory() as place:
            measure(weights, train(weights, given, Path(place)), Path(place), given, began)


def measure(weights: str, run: LoadedRun, folder: Path, given: argparse.Namespace, began: float) -> None:
    """All cases of one network."""
    splits = load_data(run.experiment.data, run.experiment.condition)
    extraction = Extraction(efficientnet("--out"), ("1280",), run.device, SINGLE, Room(), 500)
    noise = fit_noise_scale(splits.train.batch(slice(0, 2000)).x0, splits.held_out.batch(slice(0, 2000)).x0)
    judge = Judge(extraction, FeatureSet(torch.zeros(2, 2)), noise)
    judge.reals = FeatureSet(judge.features(splits.held_out.x[:100] if given.small else splits.held_out.x))
    _ = judge.reals.statistics
    record = _record(weights, given, run, judge, splits.train.x)
    waiting: list[tuple[dict[str, Any], Future[tuple[float, float]]]] = []
    record["exported_differs_by"][weights] = exported_difference(run, folder / "exported")
    drawer = Drawer(run, given.n, given.batch)
    done: set[Case] = set()
    for number, part in enumerate(cases(weights)):
        for case in part:
            if case in done:
                continue
            done.add(case)
            if time.monotonic() - began > given.seconds:
                record["left_out"][weights].append(str(case))
                continue
            started = time.monotonic()
            images = drawer.draw(case)
            row = {"weights": weights} | asdict(case)
            row["seconds"] = round(time.monotonic() - started, 2)
            waiting.append((row, judge.of(images)))
            if given.pictures and case.calls in (25, 50):
                _picture(given.pictures, weights, case, images)
            _write(given.out, record, waiting)
        if number == 0 and given.choose and weights == FIRST:
            calibration.LEAST_RATIO = record["chosen_least_ratio"] = _best_ratio(record, waiting)
            print(f"calibration from {calibration.LEAST_RATIO:g} on", flush=True)
    for _, future in waiting:
        future.result()
    _write(given.out, record, waiting)


def _best_ratio(record: dict[str, Any], waiting: list[tuple[dict[str, Any], Future[tuple[float, float]]]]) -> float:
    """The smallest ratio whose distances on the first weights are within 2 % of the least, on average over samplers."""
    rows = record["cases"] + [row | {"fd": future.result()[0]} for row, future in waiting]
    rows = [row for row in rows if row["weights"] == FIRST]
    means = {least: fmean(math.log(row["fd"]) for row in rows if row["least_ratio"] == least) for least in RATIOS}
    return min(least for least, mean in means.items() if mean <= min(means.values()) + 0.02)


def _record(weights: str, given: argparse.Namespace, run: LoadedRun, judge: Judge, train_images: Tensor) -> dict[str, Any]:
    """What --out holds of other weights, or a new record."""
    name = torch.cuda.get_device_name() if run.device.type == "cuda" else "cpu"
    head = {"device": name, "torch": torch.__version__, "n": given.n, "images": given.images}
    if given.out.exists():
        record: dict[str, Any] = json.loads(given.out.read_text())
        if any(record[key] != value for key, value in head.items()):
            sys.exit(f"{given.out} is of another device, torch, n or training: name another file")
        record["cases"] = [row for row in record["cases"] if row["weights"] != weights]
        record["left_out"][weights] = []
        return record
    chosen = torch.randperm(len(train_images), generator=torch.Generator().manual_seed(0))[: given.n]
    floor = judge.of(train_images[chosen]).result()
    found: dict[str, Any] = {"exported_differs_by": {}, "left_out": {weights: []}, "cases": []}
    return head | {"floor": floor[0], "floor_noise_left": floor[1]} | found


def _write(out: Path, record: dict[str, Any], waiting: list[tuple[dict[str, Any], Future[tuple[float, float]]]]) -> None:
    default = Sampling()
    for row, future in [pair for pair in waiting if pair[1].done()]:
        row |= dict(zip(("fd", "noise_left"), future.result(), strict=True))
        drawn_as = (row["sampler"], row["calls"], row["grid"], row["least_ratio"], row["eps_kept"])
        row["default"] = drawn_as == (default.sampler, default.steps, default.grid, calibration.LEAST_RATIO, False)
        print(json.dumps(row), flush=True)
        record["cases"].append(row)
        waiting.remove((row, future))
    out.write_text(json.dumps(record, indent=1) + "\n")


def _picture(folder: Path, weights: str, case: Case, images: Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = (weights, case.implementation, case.sampler.replace("+", "p"), case.calls, case.grid, case.least_ratio)
    name = "_".join(f"{word:g}" if isinstance(word, float) else str(word) for word in words) + ("_kept" if case.eps_kept else "")
    rows = to_model_range(images[:36]).reshape(3, 12, *images.shape[1:])
    (folder / f"{name}.png").write_bytes(grid_png(rows, [], ""))


if __name__ == "__main__":
    main()
