"""One training of `equal_quality.py` as a process of its own: how it is started, what it leaves at each moment, its speed alone."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import ddpm_exp
from ddpm_exp.checkpoints.store import checkpoints, images_of
from ddpm_exp.models.diffusers_config import Described, config_of
from ddpm_exp.models.diffusers_unet import from_diffusers
from ddpm_exp.records.run_directory import MANIFEST

HERE = Path(__file__).parent

EXPERIMENT = '''from ddpm_exp import Diffusion, Evaluation, Experiment, Shards, Tracking, Training, UNet, Unconditional

class Reference(Experiment):
    """DDPM's U-Net on small photographs, to be trained by two trainers."""
    data = Shards(train="{data}/train-{{00000..00004}}.tar.gz", held_out="{data}/test-00000.tar.gz", flip=True)
    condition = Unconditional()
    diffusion = Diffusion(schedule="linear", prediction="eps")
    model = UNet({network}dropout={dropout})
    training = Training(images_per_step={batch}, learning_rate=2e-4, warmup="{warmup} images", duration="{images} images",
                        optimizer="adamw", betas=(0.9, 0.999), weight_decay=0.0, gradient_clip=1.0,
                        ema_half_life="{half_life} images", ema_ramp={ramp}, precision="{precision}", init_from={init_from!r},
                        checkpoint_every="{every} images", keep_checkpoints={moments})
    evaluation = Evaluation(every="{images} images", samples=0, grid_columns=1, held_out=64)
    tracking = Tracking(wandb="off")
'''
SMALL = "base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8, time_embedding=64, "

Trainer = Literal["ours", "peer"]
Initial = Literal["ddpm-exp", "diffusers"]
"""Whose initial weights: those that our trainer draws for the seed, or those that diffusers' network is made with."""


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """The fields of `EXPERIMENT` but `init_from`, as the command line says."""
    batch = 16 if given.small else 128
    if given.images % (batch * given.moments):
        sys.exit(f"--images {given.images}: a multiple of {batch * given.moments}, whole steps between --moments")
    found = {"data": str(given.data.resolve()), "network": SMALL if given.small else "", "dropout": given.dropout, "batch": batch}
    found |= {"images": given.images, "moments": given.moments, "every": given.images // given.moments}
    found |= {"warmup": given.images // 8, "half_life": 100_000, "ramp": 0.05}
    return found | {"precision": "fp32" if given.small else "bf16"}


@dataclass(frozen=True)
class Place:
    """What all trainings share: a folder, the settings of the experiment, the pixels of its data."""

    folder: Path
    settings: dict[str, Any]
    """See the function of that name."""

    compiled: bool
    """Whether the peer's network is compiled."""

    @property
    def pixels(self) -> Path:
        """uint8 [N, C, H, W], for the peer."""
        return self.folder / "pixels.pt"

    def experiment(self, folder: Path, init_from: str | None = None) -> Path:
        """The experiment's file, written into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "reference.py"
        file.write_text(EXPERIMENT.format(**self.settings, init_from=init_from))
        return file


@dataclass
class Part:
    """One training: whose trainer, which seed, whose initial weights."""

    trainer: Trainer
    seed: int
    initial: Initial
    place: Place
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """For the record."""
        return f"{self.trainer}, seed {self.seed}, initial weights of {self.initial}"

    @property
    def key(self) -> tuple[str, int, str]:
        """What its row is found by."""
        return self.trainer, self.seed, self.initial

    @property
    def folder(self) -> Path:
        """Its own."""
        return self.place.folder / "-".join(map(str, self.key))

    def start(self) -> None:
        """Begin to train, in a process that writes to `log`."""
        if self.trainer == "ours":
            command = [sys.executable, "-m", "ddpm_exp.cli", "run", self._ours().name, "--seed", str(self.seed)]
        else:
            file = self.place.experiment(self.folder)
            command = [*peer_command(self.place, file, self.folder), "--seed", str(self.seed), "--initial", self.initial]
            command += ["--every", str(self.place.settings["every"])]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def _ours(self) -> Path:
        if self.initial == "ddpm-exp":
            return self.place.experiment(self.folder)
        from equal_peer import fresh

        from ddpm_exp.loading.loaded import load_experiment

        experiment = load_experiment(str(self.place.experiment(self.folder)), []).experiment
        shape = tuple(torch.load(self.place.pixels, weights_only=True, mmap=True).shape[1:])
        begin_with = self.folder / "begin"
        fresh(experiment, shape, self.seed, "diffusers").save_pretrained(begin_with)
        return self.place.experiment(self.folder, str(begin_with))

    @property
    def log(self) -> Path:
        """What the process said."""
        return self.folder / "log.txt"

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        return self.process is not None and self.process.poll() is not None

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.over and self.process is not None and self.process.returncode != 0

    def end(self) -> None:
        """Stop this process, which is of no further use."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def moments(self, config: dict[str, Any]) -> Iterator[tuple[int, dict[str, dict[str, Tensor]]]]:
        """(images, averaging rule to weights by our names) of each moment that is there. `config`: of diffusers' network."""
        if self.trainer == "ours":
            run = self.run
            for images in [] if run is None else map(images_of, checkpoints(run / "checkpoints")):
                network = ddpm_exp.load(run, checkpoint=images, device="cpu").network
                yield images, {"same": dict(network.state_dict())}
            return
        for file in sorted(self.folder.glob("*.pt")):
            found = {}
            for rule, theirs in torch.load(file, weights_only=True).items():
                placed = from_diffusers(theirs, config)
                if placed.missing or placed.unexpected or placed.mismatched:
                    raise ValueError(f"{file} holds another network: {placed[1:]}")
                found[rule] = placed.weights
            yield int(file.stem), found

    @property
    def run(self) -> Path | None:
        """Our run directory, once there is one."""
        return next((file.parent for file in self.folder.glob(f"runs/*/*/*/{MANIFEST}")), None)

    def speed(self) -> float | None:
        """Images per second of its steps, whatever shared the device; without the first, in which kernels are chosen.
        None where it told of none."""
        if self.trainer == "peer":
            return float(json.loads((self.folder / "progress.json").read_text())["images_per_second"])
        if self.run is None:
            return None
        rows = [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]
        timed = [row for row in rows if "speed/images_per_second" in row]
        before = [0, *(row["images"] for row in timed)]
        stretches = [(row["images"] - first, row["speed/images_per_second"]) for first, row in zip(before, timed, strict=False)]
        counted = stretches[1:] or stretches
        if not counted:
            return None
        return round(sum(images for images, _ in counted) / sum(images / speed for images, speed in counted), 1)


def peer_command(place: Place, file: Path, out: Path) -> list[str]:
    """Starts the peer, to which the rest is added."""
    command = [sys.executable, str(HERE / "equal_peer.py"), str(file), "--pixels", str(place.pixels), "--out", str(out)]
    return [*command, *(["--compiled"] if place.compiled else [])]


def alone(trainer: Trainer, place: Place, seconds: float) -> float:
    """Images per second of so many seconds of steps with nothing else on the device, in a process of its own."""
    folder = place.folder / f"alone-{trainer}"
    file = place.experiment(folder)
    if trainer == "ours":
        out = folder / "alone.json"
        command = [sys.executable, str(HERE / "train_speed.py"), str(file), "--seconds", str(seconds), "--out", str(out)]
    else:
        command = [*peer_command(place, file, folder), "--alone", str(seconds)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found = json.loads((folder / "alone.json").read_text())
    return float(found["cases"][0]["images_per_second"] if trainer == "ours" else found["images_per_second"])


def diffusers_config(network: Any) -> dict[str, Any]:
    """Of the UNet2DModel that computes what our `network` does."""
    return config_of(Described(network.spec, network.shape, network.outputs, network.timesteps, 0))
