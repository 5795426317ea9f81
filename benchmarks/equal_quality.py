"""Is what our trainer makes as good as what diffusers' loop makes, at equal images, and at equal minutes?

DDPM's U-Net (35.7 M, unconditional, linear schedule, eps) on the CIFAR-10 shards, 512,000 images at 128 a step: our `run` command,
and the loop of `equal_peer.py`, with the same initial weights, rate, warm-up, clip, flips and averaging rule. Our sampler draws n
samples from both, in one and the same network. FD: Frechet distance of EfficientNet-Lite0's features to the 10,000 test images (no
FID). The noise of the samples is keyed by the seed, so the interval over seeds holds the luck of training and of drawing.

Where a call may take ten minutes, in parts that add up in --out:

    python benchmarks/equal_quality.py --data data/cifar10-jpeg --out benchmarks/results/equal_quality.json \
        --compiled --trainers peer --at-once 3 --seconds 500
    python benchmarks/equal_quality.py --data data/cifar10-jpeg --out benchmarks/results/equal_quality.json \
        --compiled --trainers ours --at-once 3 --seconds 500

The loop as it is waits for the processor and leaves the GPU idle in between (1,587 images/s alone on an H200, and some 2,500 for as
many at once as one likes, by what it does at 512 images per step): 512,000 images of two are 7 minutes, of three 10, so then name
two `--seeds` a call. `--compiled` (torch.compile, the one line that a competent user adds) makes its kernels fewer. Ours fills the
GPU: 80 s of steps each, and at once they share what goes before and after. Besides, each network takes 5 to 8 s a moment to draw
and judge, and the speeds alone a minute: keep 100 s of a call beyond --seconds.

Minutes are images / `images_per_second_alone`: of a short stretch (--alone seconds) of each trainer with nothing else on the GPU
and, the peer, without its second average. What the trainings themselves ran at, sharing the GPU or not, is `images_per_second`
beside `at_once`. `fd_usual` is of the peer's second average: EMAModel as diffusers' example sets it. Trainings replace those of the
same trainer, seed and initial weights in --out; a file of another device, torch, n or setting is refused. Past --seconds nothing is
begun and what still trains is stopped: what it had is under "unfinished", the rest under "left_out".

`--initial diffusers` starts from the weights that diffusers' network is made with, so that initial weights, averaging (`fd_usual`)
and luck (the interval) can be told apart. `--small` is a dry run on a CPU: a network of 0.1 M, 256 images, n = 40.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from equal_summary import summary
from equal_training import Part, Place, alone, diffusers_config, settings
from sampling_judge import Judge
from torch import Tensor

from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.data.reference import reference_of
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.evaluation.extractors import efficientnet
from ddpm_exp.evaluation.fidelity import FeatureSet
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.noise_left import fit_noise_scale
from ddpm_exp.evaluation.room import Room
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.workflow.loaded_run import LoadedRun
from ddpm_exp.workflow.network import conditions_of, network_of, placed
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Prepared, find_machine, prepare

AGREE = ("device", "torch", "n", "sampling", "settings", "compiled")
"""What parts of one file have in common."""

Row = dict[str, Any]


def main() -> None:
    """Train, draw, measure, write after each training."""
    given = _arguments()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), settings(given), given.compiled)
        prepared = prepare(load_experiment(str(place.experiment(place.folder)), []), find_machine(RunOptions()))
        torch.save(prepared.splits.train.x, place.pixels)
        record = _begun(given, place, prepared)
        for trainer in given.trainers:
            if trainer not in record["images_per_second_alone"]:
                record["images_per_second_alone"][trainer] = alone(trainer, place, given.alone)
                print(trainer, "alone:", record["images_per_second_alone"][trainer], "images/s", flush=True)
        parts = [Part(trainer, seed, given.initial, place) for trainer in given.trainers for seed in given.seeds]
        # Those that share the GPU anyway need not wait for the real images' features.
        begun = parts[: given.at_once] if given.at_once > 1 else []
        for part in begun:
            part.start()
        desk = Desk(given, record, _drawing(prepared), _judge(prepared, given, record))
        failed = run_all(parts[len(begun) :], begun, desk, began)
        desk.write()
    if failed:
        sys.exit("not all trainings went through: " + "; ".join(failed))


def run_all(parts: list[Part], running: list[Part], desk: Desk, began: float) -> list[str]:
    """Train `--at-once` at once, and judge each when it is done; the failed ones, with the end of what they said.

    One at a time, the next waits until the one before is judged: it then has the device to itself."""
    failed = []
    while parts or running:
        over = time.monotonic() - began > desk.given.seconds
        if over:
            desk.record["left_out"] += [str(part) for part in parts]
            parts = []
        while parts and len(running) < desk.given.at_once:
            running.append(parts.pop(0))
            running[-1].start()
        for part in [part for part in running if over or part.over]:
            running.remove(part)
            if part.failed:
                failed.append(f"{part.key}: {part.log.read_text()[-3000:]}")
                continue
            if not part.over:
                part.end()
            desk.take(part)
        time.sleep(0.2)
    return failed


@dataclass(frozen=True)
class Desk:
    """Where trainings are judged and written down."""

    given: argparse.Namespace
    record: Row
    drawing: LoadedRun
    """Draws; the weights are put into copies of its network."""

    judge: Judge

    def take(self, part: Part) -> None:
        """Draw from what `part` left at each moment, measure, write."""
        row = {"trainer": part.trainer, "seed": part.seed, "initial_weights": part.initial}
        pace = self.record["images_per_second_alone"][part.trainer]
        waiting: list[tuple[Row, str, Future[tuple[float, float]]]] = []
        moments: list[Row] = []
        for images, averages in part.moments(diffusers_config(self.drawing.network)):
            moments.append({"images": images, "minutes": round(images / pace / 60, 4)})
            for rule, weights in averages.items():
                if rule == "same" or images == self.given.images:
                    drawn = self._drawn(weights, part.seed)
                    waiting.append((moments[-1], "fd" if rule == "same" else "fd_usual", self.judge.of(drawn)))
        for moment, name, future in waiting:
            moment[name], noise = future.result()
            moment[name.replace("fd", "noise_left")] = noise
        if not moments:
            self.record["left_out"].append(f"{part}, stopped before its first moment")
            return
        row |= moments[-1] | {"at_once": self.given.at_once, "images_per_second": part.speed(), "moments": moments}
        self._keep(row, done=len(moments) == self.given.moments)

    def _drawn(self, weights: dict[str, Tensor], seed: int) -> Tensor:
        """uint8 [n, 3, 32, 32]."""
        prepared = self.drawing
        network = network_of(prepared.experiment, prepared.facts)
        network.load_state_dict(weights)
        network = placed(network.eval().requires_grad_(False), prepared.experiment, prepared.device)
        return to_uint8(replace(prepared, network=network).sample(self.given.n, seed=seed, batch=self.given.device_batch).x)

    def _keep(self, row: Row, *, done: bool) -> None:
        """In place of the same training's, but a whole one of before stays if this one was stopped."""
        key = ("trainer", "seed", "initial_weights")
        for kept in ("runs", "unfinished") if done else ("unfinished",):
            self.record[kept] = [one for one in self.record[kept] if any(one[name] != row[name] for name in key)]
        self.record["runs" if done else "unfinished"].append(row)
        print(json.dumps(row), flush=True)
        self.write()

    def write(self) -> None:
        """All that there is."""
        self.record["summary"] = summary(self.record["runs"])
        self.given.out.write_text(json.dumps(self.record, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trainers", nargs="+", choices=["ours", "peer"], default=["peer", "ours"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--initial", choices=["ddpm-exp", "diffusers"], default="ddpm-exp", help="whose initial weights both have")
    parser.add_argument("--at-once", type=int, default=1, help="trainings that share the GPU")
    parser.add_argument("--compiled", action="store_true", help="torch.compile the peer's network")
    parser.add_argument("--seconds", type=float, default=86_400.0)
    parser.add_argument("--alone", type=float, default=20.0, help="seconds of steps by which a trainer's speed is measured")
    parser.add_argument("--images", type=int, default=512_000)
    parser.add_argument("--moments", type=int, default=4, help="at equal distances, the end among them")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--device-batch", type=int, default=500, help="samples drawn at once")
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    if given.small:
        given.images, given.n = 256, 40
        given.alone, given.device_batch = min(given.alone, 1.0), 20
    return given


def _begun(given: argparse.Namespace, place: Place, prepared: Prepared) -> Row:
    """The record, with what --out holds already."""
    head: Row = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu", "torch": torch.__version__}
    sampling = prepared.loaded.experiment.sampling
    head |= {"n": given.n, "sampling": {"sampler": sampling.sampler, "steps": sampling.steps, "grid": sampling.grid}}
    head |= {"settings": {name: value for name, value in place.settings.items() if name != "data"}, "compiled": given.compiled}
    head |= {"minutes": "of steps alone: images / images_per_second_alone / 60, whatever else shared the GPU in training"}
    kept: Row = {"images_per_second_alone": {}, "runs": [], "unfinished": []}
    if given.out.exists():
        before = json.loads(given.out.read_text())
        if differing := [name for name in AGREE if before[name] != head[name]]:
            sys.exit(f"{given.out} is of another {' and '.join(differing)}: name another file")
        kept = {name: before[name] for name in kept}
    return head | kept | {"left_out": []}


def _judge(prepared: Prepared, given: argparse.Namespace, record: Row) -> Judge:
    """Against the held-out images, of a dry run n of them; the distance of n training images goes to `record`."""
    train, held_out = prepared.splits.train, prepared.splits.held_out
    device = torch.device(prepared.machine.device)
    extraction = Extraction(efficientnet("--out"), ("1280",), device, SINGLE, Room(), 500)
    noise = fit_noise_scale(train.batch(slice(0, 2000)).x0, held_out.batch(slice(0, 2000)).x0)
    judge = Judge(extraction, FeatureSet(torch.zeros(2, 2)), noise)
    judge.reals = FeatureSet(judge.features(held_out.x[: given.n] if given.small else held_out.x))
    _ = judge.reals.statistics
    chosen = torch.randperm(len(train.x), generator=torch.Generator().manual_seed(0))[: given.n]
    record["floor"], record["floor_noise_left"] = judge.of(train.x[chosen]).result()
    return judge


def _drawing(prepared: Prepared) -> LoadedRun:
    """What draws for both trainers: as a run of the experiment would, of which it has all but the weights."""
    experiment, facts = prepared.loaded.experiment, prepared.splits.facts
    device = torch.device(prepared.machine.device)
    return LoadedRun(
        directory=Path(),
        experiment=experiment,
        network=network_of(experiment, facts),
        path=build_path(experiment.diffusion, device),
        conditions=conditions_of(experiment, facts),
        facts=facts,
        codec=None,
        reference=reference_of(prepared.splits, "image"),
        averaged=True,
        images_seen=experiment.training.images(experiment.training.duration, prepared.units.images_per_epoch),
        device=device,
        precision=prepared.plan.precision,
    )


if __name__ == "__main__":
    main()
