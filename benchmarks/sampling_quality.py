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
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import ddpm_exp
from ddpm_exp.data import load as load_data
from ddpm_exp.data.pixels import to_model_range, to_uint8
from ddpm_exp.diffusion import calibration, draws
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.samplers import sample
from ddpm_exp.diffusion.step import Estimate
from ddpm_exp.evaluation.drawing import Ready
from ddpm_exp.evaluation.extractors import efficientnet
from ddpm_exp.evaluation.fidelity import FeatureSet, frechet
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.noise_left import NoiseScale, fit_noise_scale
from ddpm_exp.evaluation.pictures import grid as grid_png
from ddpm_exp.evaluation.room import Room
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.loaded_run import LoadedRun

FIRST = "eps-linear"
"""The weights that most cases are about, of DDPM's network in full; the others' has 64 channels instead of 128."""

OURS = ("ddim", "dpm++2m", "unipc", "dpm++3m-sde", "ddpm", "heun", "edm-stochastic", "euler")

TWICE = ("heun", "edm-stochastic")
"""Samplers that ask the network twice in each step but the last."""

DIFFUSERS = {
    "DDPM": "ddpm",
    "DDIM": "ddim",
    "EulerDiscrete": "euler",
    "HeunDiscrete": "heun",
    "DPMSolverMultistep": "dpm++2m",
    "UniPCMultistep": "unipc",
}
"""Scheduler to our name of the sampler."""

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


@dataclass(frozen=True)
class Case:
    """One way of drawing."""

    implementation: str
    sampler: str
    calls: int
    grid: str
    least_ratio: float | None = None
    """Ours: sigma / alpha from which predictions are calibrated; None: nowhere."""

    eps_kept: bool = False
    """Ours: the noise is not derived again from a clipped x0."""

    @property
    def steps(self) -> int:
        """Steps that ask the network at most `calls` times."""
        return (self.calls + 1) // 2 if self.sampler in TWICE else self.calls


RATIOS = (1.5, 3.0, 5.0, 10.0)


def cases(weights: str) -> Iterator[list[Case]]:
    """In three parts, the most telling first: the time may not suffice for all. The first is about where calibration begins."""
    first = weights == FIRST
    some = [_ours("ddim", 50), _ours("dpm++2m", 25), _ours("ddpm", 50), _ours("dpm++3m-sde", 50)]
    yield [
        *(replace(case, least_ratio=least) for least in RATIOS for case in some[: None if first else 1]),
        *(replace(case, least_ratio=None) for case in some),
    ]
    chosen = calibration.LEAST_RATIO
    yield [
        *(_ours(name, calls) for calls in ((50, 25, 10) if first else (50, 10)) for name in OURS),
        *(_theirs(name, calls) for calls in ((50, 25, 10) if first else (50, 10)) for name in DIFFUSERS),
        *(Case("ddpm-exp", "ddim", 50, grid, chosen) for grid in ("leading", "linspace", "karras")),
        *(Case("ddpm-exp", "ddim", 50, grid, chosen, eps_kept=True) for grid in ("leading", "trailing")),
    ]
    if first:
        yield [
            *(Case("ddpm-exp", name, 25, "karras", chosen) for name in ("dpm++2m", "unipc", "dpm++3m-sde")),
            Case("ddpm-exp", "dpm++2m", 10, "karras", chosen),
            *(case for name in ("ddpm", "ddim") for case in (_ours(name, 100), _theirs(name.upper(), 100))),
            _ours("dpm++3m-sde", 100),
            *(_ours("ddpm", 250), _theirs("DDPM", 250), Case("ddpm-exp", "dpm++3m-sde", 50, "karras", chosen)),
        ]
    else:
        yield [_ours(name, 20) for name in OURS]


def _ours(sampler: str, calls: int) -> Case:
    return Case("ddpm-exp", sampler, calls, "trailing", calibration.LEAST_RATIO)


def _theirs(scheduler: str, calls: int) -> Case:
    return Case("diffusers", scheduler, calls, "leading" if scheduler in ("DDPM", "DDIM") else "linspace")


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


class Drawer:
    """Draws from one reference, in our way and in diffusers'."""

    def __init__(self, run: LoadedRun, n: int, batch: int) -> None:
        self.run, self.n, self.batch = run, n, batch
        self.network = run.artist(None, 0).fast(run.network)
        self.made_ready: dict[float | None, Ready] = {}
        self.asking = run.artist(None, 0).asking(self.network)

    @torch.no_grad()
    def draw(self, case: Case) -> Tensor:
        """uint8 [n, 3, 32, 32] on the CPU."""
        parts = [torch.arange(first, min(first + self.batch, self.n)) for first in range(0, self.n, self.batch)]
        before, calibration.LEAST_RATIO = calibration.LEAST_RATIO, case.least_ratio or calibration.LEAST_RATIO
        way = self._ours(case) if case.implementation == "ddpm-exp" else self._theirs(case)
        drawn = torch.cat([way(part).cpu() for part in parts])
        calibration.LEAST_RATIO = before
        return to_uint8(drawn.nan_to_num(0.0, 0.0, 0.0))

    def _ours(self, case: Case) -> Callable[[Tensor], Tensor]:
        sampling = Sampling(
            sampler=case.sampler,  # type: ignore[arg-type]
            steps=case.steps,
            grid=case.grid,  # type: ignore[arg-type]
            calibrate=case.least_ratio is not None,
            clip_x0=not case.eps_kept,
        )
        artist = self.run.artist(sampling, 0)
        if case.least_ratio not in self.made_ready:
            self.made_ready[case.least_ratio] = artist.ready(self.network)
        ready = self.made_ready[case.least_ratio]
        if not case.eps_kept:
            return lambda part: artist.draw_batch(ready, None, part, 0)

        def drawn(part: Tensor) -> Tensor:
            ordinals = part.to(self.run.device)
            denoise = artist.denoise(ready, None, len(part))

            def clipped(x: Tensor, level: Level) -> Estimate:
                found = denoise(x, level)
                return found._replace(x0=found.x0.clamp(-1.0, 1.0))

            def noise(step: int) -> Tensor:
                return draws.normal(0, f"sample/step {step}", ordinals, artist.shape)

            start = artist.path.prior_std * draws.normal(0, "sample/start", ordinals, artist.shape)
            return sample(sampling, levels(artist.path, sampling.steps, sampling.grid), clipped, start, noise)

        return drawn

    def _theirs(self, case: Case) -> Callable[[Tensor], Tensor]:
        import diffusers

        diffusion = self.run.experiment.diffusion
        scheduler = getattr(diffusers, f"{case.sampler}Scheduler")(
            num_train_timesteps=diffusion.timesteps,
            beta_start=diffusion.beta_start,
            beta_end=diffusion.beta_end,
            beta_schedule="linear" if diffusion.schedule == "linear" else "squaredcos_cap_v2",
            prediction_type={"eps": "epsilon", "v": "v_prediction"}[diffusion.prediction],
            timestep_spacing=case.grid,
        )

        def drawn(part: Tensor) -> Tensor:
            where = self.run.device
            scheduler.set_timesteps((case.calls + 1) // 2 if case.sampler == "HeunDiscrete" else case.calls, device=where)
            x = draws.normal(0, "sample/start", part.to(where), self.run.facts.shape) * scheduler.init_noise_sigma
            generator = torch.Generator(where).manual_seed(int(part[0]))
            noisy = {"generator": generator} if case.sampler in ("DDPM", "DDIM") else {}
            for t in scheduler.timesteps:
                seen = scheduler.scale_model_input(x, t)
                said = self.asking(seen, t.to(where, torch.float32).expand(len(seen)), None)
                x = scheduler.step(said, t, x, **noisy).prev_sample
            return x.float()

        return drawn


def exported_difference(run: LoadedRun, folder: Path) -> float:
    """Largest difference of diffusers' UNet2DModel with the exported weights from our network in fp32, relative to the largest
    output."""
    from diffusers import UNet2DModel

    subprocess.run(
        [sys.executable, "-m", "ddpm_exp.cli", "export", str(run.directory), "--to", "diffusers", str(folder)],
        check=True,
        capture_output=True,
    )
    theirs = UNet2DModel.from_pretrained(folder / "unet").to(run.device).eval()
    x = draws.normal(1, "compared", torch.arange(8, device=run.device), run.facts.shape)
    t = torch.linspace(0, 999, 8, device=run.device).round()
    with torch.no_grad():
        ours, others = run.network(x, t, None), theirs(x, t).sample
    return float((ours - others).abs().max() / others.abs().max())


@dataclass
class Judge:
    """Distances to the test images, computed beside the drawing."""

    extraction: Extraction
    reals: FeatureSet
    noise: NoiseScale
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(6))

    def of(self, images: Tensor) -> Future[tuple[float, float]]:
        """FD and the share with noise left of uint8 images."""
        features = self.features(images)
        return self.pool.submit(lambda: (frechet(FeatureSet(features), self.reals), self._noisy(images)))

    def features(self, images: Tensor) -> Tensor:
        """float32 [N, 1280]."""
        (found,) = self.extraction.features(images).values()
        return found

    def _noisy(self, images: Tensor) -> float:
        return self.noise.share_with_noise(to_model_range(images[:500]))


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
