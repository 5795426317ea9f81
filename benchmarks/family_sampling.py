"""Which sampler draws best from small networks, for each kind of data, prediction and schedule, calibrated and not?

    python benchmarks/family_sampling.py --out benchmarks/results/family_sampling.json          ("minutes": waited, of all networks)

Trains small networks on 8x8 digits, the wine table, waves and outlines, each once for every seed, and draws from each in every way.
distance: digits, the Frechet distance in pixels of 600 samples to all digits; all else, `samples/sliced_wasserstein` to held-out
examples, in standard deviations of the features. floor: the same of as many training examples; noise: of standard normal numbers.
to_training: the sliced distance to the training examples, which are more than the held-out ones, so that it tells samplers apart
where the floor hides them. least_ratio: sigma / alpha from which predictions are calibrated; null: nowhere.
`heun` and `edm-stochastic` take half the steps, so that all ask the network equally often. `euler` is left out where it is `ddim`
to the last bit: on whole times and on `ve` (tests/diffusion/test_gaussian.py). Conditions come in the training data's proportions.
The file is written after each network, and networks that it holds are not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from sampling_cases import TWICE
from torch import Tensor

from ddpm_exp.data.examples import Batch, Splits
from ddpm_exp.diffusion import calibration
from ddpm_exp.evaluation import vectors
from ddpm_exp.evaluation.drawing import Artist, Ready, part_of
from ddpm_exp.evaluation.fidelity import FeatureSet, frechet
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.data import family_of
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.assemble import Runtime, assemble
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Prepared, find_machine, prepare

SAMPLERS = ("ddim", "ddpm", "euler", "heun", "edm-stochastic", "dpm++2m", "dpm++3m-sde", "unipc")
WAYS: dict[int, tuple[float | None, ...]] = {50: (3.0, None), 25: (3.0, None), 10: (3.0, None)}
"""Network calls to least ratios."""

EXPERIMENT = '''from ddpm_exp import *

class Reference(Experiment):
    """One small network."""
    {body}
    evaluation = Evaluation(every="{duration}")
    tracking = Tracking(wandb="off")
'''

BODIES = {
    "digits": (
        "data = Digits()",
        "condition = Unconditional()",
        "diffusion = {diffusion}",
        "model = UNet(base_channels=8, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8, "
        "time_embedding=64)",
        "training = Training(images_per_step=64, duration='{duration}', learning_rate=3e-3, warmup='2 epochs', rate='cosine', "
        "ema_half_life='2 epochs', checkpoint_every='{duration}')",
    ),
    "wine": (
        "data = Table(source='wine')",
        "condition = ClassLabels()",
        "diffusion = {diffusion}",
        "model = MLP(hidden_dim=128, layers=3, dropout=0.1)",
        "training = Training(images_per_step=128, duration='{duration}', learning_rate=5e-4, warmup='100 steps', rate='cosine', "
        "weight_decay=0.01, ema_half_life='10000 images', checkpoint_every='{duration}')",
    ),
    "waves": (
        "data = Sequences(source='waves', length=64)",
        "condition = ClassLabels()",
        "diffusion = {diffusion}",
        "model = DiT(width=32, depth=2, heads=4, patch=4)",
        "training = Training(images_per_step=64, duration='{duration}', learning_rate=2e-3, warmup='100 steps', rate='cosine', "
        "ema_half_life='5000 images', checkpoint_every='{duration}')",
    ),
    "outlines": (
        "data = Points(source='outlines', count=16)",
        "condition = ClassLabels()",
        "diffusion = {diffusion}",
        "model = DiT(width=32, depth=2, heads=4, time_features='fourier')",
        "training = Training(images_per_step=64, duration='{duration}', learning_rate=2e-3, warmup='100 steps', rate='cosine', "
        "ema_half_life='5000 images', checkpoint_every='{duration}')",
    ),
}
BODIES["wider network of digits"] = (
    *BODIES["digits"][:3],
    "model = UNet(base_channels=32, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8, "
    "time_embedding=128)",
    "training = Training(images_per_step=32, duration='{duration}', learning_rate=1e-3, warmup='1 epochs', "
    "ema_half_life='2 epochs', checkpoint_every='{duration}')",
)
"""One that knows more: the other side, where there is little to mend."""

DURATIONS = {
    "digits": "12 epochs",
    "wider network of digits": "12 epochs",
    "wine": "3000 steps",
    "waves": "1200 steps",
    "outlines": "1200 steps",
}
SAMPLES = {"digits": 600, "wider network of digits": 600, "wine": 600, "waves": 300, "outlines": 300}

SHIPPED = {
    "wine": ("v", "vp-cosine", 'time_density="stratified"'),
    "waves": ("velocity", "rectified-flow", 'time_density="logit-normal"'),
    "outlines": ("x0", "ve", 'preconditioning="edm", weight="edm", time_density="log-normal-sigma", sigma_data=1.0'),
}
"""What the family's shipped experiment trains: prediction, schedule, all else."""


@dataclass(frozen=True)
class Trained:
    """One network."""

    family: str
    prediction: str
    schedule: str
    seed: int

    @property
    def diffusion(self) -> str:
        """As it stands in the experiment file."""
        shipped = SHIPPED.get(self.family)
        also = f", {shipped[2]}" if shipped and shipped[:2] == (self.prediction, self.schedule) else ""
        return f'Diffusion(schedule="{self.schedule}", prediction="{self.prediction}"{also})'

    @property
    def grids(self) -> tuple[str, ...]:
        """The default one; on `ve` also that of the shipped experiment."""
        return ("trailing", "karras") if self.schedule == "ve" else ("trailing",)


def networks(seeds: int) -> Iterator[Trained]:
    """What most people train first."""
    for seed in range(seeds):
        for way in ("eps-linear", "eps-cosine", "v-cosine", "shipped", "x0-cosine", "v-linear", "x0-linear"):
            for family in BODIES:
                if family == "wider network of digits" and way != "eps-linear":
                    continue
                if way != "shipped":
                    prediction, schedule = way.split("-")
                    yield Trained(family, prediction, schedule, seed)
                elif family in SHIPPED:
                    yield Trained(family, *SHIPPED[family][:2], seed)


def train(trained: Trained, folder: Path) -> tuple[Prepared, Runtime]:
    """As the product's own `run` does, but without evaluations."""
    duration = DURATIONS[trained.family]
    body = "\n    ".join(BODIES[trained.family]).format(diffusion=trained.diffusion, duration=duration)
    (folder / "reference.py").write_text(EXPERIMENT.format(body=body, duration=duration))
    prepared = prepare(load_experiment(folder / "reference.py"), find_machine(RunOptions(gpu="cpu")))
    runtime = assemble(prepared, trained.seed)
    while runtime.trainer.images_seen < prepared.units.total_images:
        runtime.trainer.step()
    return prepared, runtime


class Distances:
    """What is measured of samples of one family."""

    def __init__(self, splits: Splits, family: str) -> None:
        self.family = family
        self._train, self._held_out = (self._features(part.batch(slice(None)).x0) for part in (splits.train, splits.held_out))
        self._all = FeatureSet(torch.cat([self._train, self._held_out]).float())

    def of(self, x: Tensor) -> dict[str, float | None]:
        """`distance` and `to_training`; None where samples are not finite."""
        if not bool(torch.isfinite(x).all()):
            return {"distance": None, "to_training": None}
        features = self._features(x)
        own = self._frechet(features) if self.family == "image" else vectors.sliced_wasserstein(features, self._held_out)
        return {"distance": round(own, 4), "to_training": round(vectors.sliced_wasserstein(features, self._train), 4)}

    def _features(self, x: Tensor) -> Tensor:
        return x.double().flatten(1) if self.family == "image" else vectors.features(x, self.family)  # type: ignore[arg-type]

    def _frechet(self, features: Tensor) -> float:
        return frechet(FeatureSet(features.float()), self._all)


def measured(trained: Trained) -> list[dict[str, Any]]:
    """Every row of one network."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        prepared, runtime = train(trained, Path(place))
    splits, n, family = prepared.splits, SAMPLES[trained.family], family_of(prepared.experiment.data)
    distances, network = Distances(splits, family), runtime.averaged().eval()
    # In the training data's own proportions: at even steps through the set.
    asked = splits.train.batch((torch.arange(n) * len(splits.train)) // n)
    some = torch.randperm(len(splits.train), generator=torch.Generator().manual_seed(0))[:n]
    floor = distances.of(splits.train.batch(some).x0)["distance"]
    noise = distances.of(torch.randn(n, *splits.facts.shape, generator=torch.Generator().manual_seed(0)))["distance"]
    readies: dict[float | None, Ready] = {}
    rows = []
    for sampler, calls, grid, least in ways(trained):
        steps = (calls + 1) // 2 if sampler in TWICE else calls
        sampling = Sampling(sampler=sampler, steps=steps, grid=grid, calibrate=least is not None)  # type: ignore[arg-type]
        calibration.LEAST_RATIO = least or 3.0
        artist = replace(runtime.artist, sampling=sampling)
        if least not in readies:
            readies[least] = artist.ready(network)
        x = drawn(artist, readies[least], asked, n)
        row = asdict(trained) | {"sampler": sampler, "calls": calls, "grid": grid, "least_ratio": least}
        rows.append(row | distances.of(x) | {"floor": floor, "noise": noise, "n": n})
    return rows


@torch.no_grad()
def drawn(artist: Artist, ready: Ready, asked: Batch, n: int) -> Tensor:
    """[n, *shape], 100 at once."""
    found = []
    for first in range(0, n, 100):
        part = slice(first, first + 100)
        condition = artist.conditions.fixed(part_of(asked, part), artist.device)
        found.append(artist.draw_batch(ready, condition, torch.arange(n)[part], artist.seed))
    return torch.cat(found)


def ways(trained: Trained) -> Iterator[tuple[str, int, str, float | None]]:
    """Sampler, calls, grid and least ratio."""
    for grid in trained.grids:
        for calls, least_ratios in WAYS.items():
            for sampler in SAMPLERS:
                if sampler == "euler" and trained.schedule in ("linear", "cosine", "ve"):
                    continue
                for least in least_ratios:
                    yield sampler, calls, grid, least


def main() -> None:
    """Train, draw, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    head = {"device": "cpu", "torch": torch.__version__}
    record: dict[str, Any] = head | {"minutes": 0.0, "cases": []}
    if given.out.exists():
        record = json.loads(given.out.read_text())
        if {name: record[name] for name in head} != head:
            raise SystemExit(f"{given.out} is of another device or torch: name another file")
    names = tuple(Trained.__dataclass_fields__)
    known = {tuple(row[name] for name in names) for row in record["cases"]}
    left = [one for one in networks(given.seeds) if tuple(asdict(one).values()) not in known]
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.workers, mp_context=spawned) as pool:
        began = {pool.submit(timed, one): one for one in left}
        for future in as_completed(began):
            rows, seconds = future.result()
            record["minutes"] = round(record["minutes"] + seconds / 60, 2)
            record["cases"] = sorted(record["cases"] + rows, key=lambda row: [str(row[name]) for name in names])
            given.out.write_text(_text(record))
            best = min((row for row in rows if row["calls"] == 50), key=lambda row: row["distance"] or math.inf)
            print(f"{began[future]}: {seconds:.0f} s, best at 50 calls {best['sampler']} {best['distance']}", flush=True)


def timed(trained: Trained) -> tuple[list[dict[str, Any]], float]:
    """The rows of one network, and how many seconds that took."""
    began = time.monotonic()
    return measured(trained), time.monotonic() - began


def _text(record: dict[str, Any]) -> str:
    """A line for each case."""
    head = json.dumps({name: value for name, value in record.items() if name != "cases"})[:-1]
    cases = ",\n".join(json.dumps(row) for row in record["cases"])
    return f'{head}, "cases": [\n{cases}\n]}}\n'


if __name__ == "__main__":
    main()
