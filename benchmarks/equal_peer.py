"""diffusers' usual training loop on the data and with the settings of one of our experiments; `equal_quality.py` starts it.

    python benchmarks/equal_peer.py reference.py --pixels train.pt --seed 0 --initial ddpm-exp --out FOLDER --every 128000

UNet2DModel, DDPMScheduler.add_noise, AdamW (fused), clip_grad_norm_, bf16 autocast, channels-last, the images as bytes on the
GPU with random flips; the learning rate and the averaging rule are the experiment's, by the trainer's own functions. In FOLDER it
leaves what its averages were at each moment, NUMBER.pt with "same" (the experiment's rule) and "usual" (EMAModel as diffusers'
example sets it), and progress.json. With --alone it trains for so many seconds without the second average and leaves alone.json:
its speed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from throughput import per_second, wait
from torch import Tensor, nn

from ddpm_exp.data.examples import Facts
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.models.diffusers_unet import to_diffusers
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.training.ema import decay
from ddpm_exp.training.rate import learning_rate
from ddpm_exp.workflow.assemble import build

WARM_UP_STEPS = 10
"""Kernels are chosen, and compiled if they are, in the first steps: they count for no speed."""


def fresh(experiment: Experiment, shape: tuple[int, ...], seed: int, initial: str) -> UNet2DModel:
    """The experiment's network as diffusers', with the weights that our trainer begins with, or with diffusers' own."""
    config, ours = to_diffusers(build(experiment, Facts(shape), seed, initial=False))
    torch.manual_seed(seed)
    network = UNet2DModel(**config)
    if initial == "ddpm-exp":
        network.load_state_dict(ours)
    return network


class Peer:
    """One training: weights, optimizer, averages, images seen."""

    def __init__(self, experiment: Experiment, pixels: Tensor, seed: int, initial: str, *, compiled: bool, usual: bool) -> None:
        """`pixels`: uint8 [N, C, H, W]. `usual`: whether EMAModel averages too."""
        where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cudnn.benchmark = True
        self.device, self.training = where, experiment.training
        self.pixels = pixels.to(where)
        self.network = (
            fresh(experiment, tuple(pixels.shape[1:]), seed, initial).to(where, memory_format=torch.channels_last).train()
        )
        self.weights = list(self.network.parameters())
        if compiled:
            self.network.compile()
        self.average = [weight.detach().clone() for weight in self.weights]
        as_in_their_example = {"decay": 0.9999, "use_ema_warmup": True, "inv_gamma": 1.0, "power": 0.75}
        self.usual = EMAModel(self.weights, foreach=True, **as_in_their_example) if usual else None
        diffusion, training = experiment.diffusion, experiment.training
        assert (diffusion.schedule, diffusion.prediction, training.optimizer) == ("linear", "eps", "adamw")
        betas = {"beta_start": diffusion.beta_start, "beta_end": diffusion.beta_end}
        self.scheduler = DDPMScheduler(diffusion.timesteps, beta_schedule="linear", **betas)
        fields = {"betas": training.betas, "weight_decay": training.weight_decay}
        self.optimizer = torch.optim.AdamW(self.weights, lr=training.learning_rate, fused=True, **fields)  # type: ignore[arg-type]
        self.total, self.warmup = (training.images(amount, len(pixels)) for amount in (training.duration, training.warmup))
        assert training.ema_half_life is not None
        self.half_life = training.images(training.ema_half_life, len(pixels))
        self.order = torch.empty(0, dtype=torch.int64, device=where)
        self.seen = 0
        torch.manual_seed(1000 + seed)  # the draws of training are other than those of the weights

    def step(self) -> None:
        """Train on the next images."""
        training = self.training
        rate = learning_rate(training, self.seen, total_images=self.total, warmup_images=self.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x0 = self._images()
        noise = torch.randn_like(x0)
        times = torch.randint(0, self.scheduler.config.num_train_timesteps, (len(x0),), device=self.device)
        noisy = self.scheduler.add_noise(x0, noise, times)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            said = self.network(noisy, times).sample
        nn.functional.mse_loss(said.float(), noise).backward()
        if training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.weights, training.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.seen += len(x0)
        self._average()

    @torch.no_grad()
    def _average(self) -> None:
        step, ramp = self.training.images_per_step, self.training.ema_ramp
        keep = decay(images_per_step=step, images_seen=self.seen, half_life_images=self.half_life, ramp=ramp)
        torch._foreach_lerp_(self.average, [weight.detach() for weight in self.weights], 1.0 - keep)
        if self.usual is not None:
            self.usual.step(self.weights)

    def _images(self) -> Tensor:
        """float32 [B, C, H, W] in [-1, 1], every second one mirrored: a shuffled epoch after the other."""
        count = self.training.images_per_step
        while len(self.order) < count:
            self.order = torch.cat([self.order, torch.randperm(len(self.pixels), device=self.device)])
        chosen, self.order = self.order[:count], self.order[count:]
        x0 = self.pixels[chosen].float() / 127.5 - 1.0
        mirrored = torch.rand(count, 1, 1, 1, device=self.device) < 0.5
        return torch.where(mirrored, x0.flip(3), x0).contiguous(memory_format=torch.channels_last)

    def averages(self) -> dict[str, dict[str, Tensor]]:
        """Rule to weights by their names, on the CPU."""
        names = [name for name, _ in self.network.named_parameters()]
        found = {"same": self.average} | ({} if self.usual is None else {"usual": self.usual.shadow_params})
        return {rule: dict(zip(names, (weight.cpu() for weight in weights), strict=True)) for rule, weights in found.items()}


def train(peer: Peer, every: int, out: Path) -> None:
    """To the end, keeping the averages every so many images."""
    warm = WARM_UP_STEPS * peer.training.images_per_step
    began, paused = time.perf_counter(), 0.0
    while peer.seen < peer.total:
        peer.step()
        if peer.seen == warm:
            wait()
            began, paused = time.perf_counter(), 0.0
        if peer.seen % every and peer.seen < peer.total:
            continue
        wait()
        now = time.perf_counter()
        speed = (peer.seen - (warm if peer.seen > warm else 0)) / (now - began - paused)
        (out / "progress.json").write_text(json.dumps({"images": peer.seen, "images_per_second": round(speed, 1)}))
        _write(out / f"{peer.seen:09d}.pt", peer.averages())
        print(peer.seen, round(speed, 1), flush=True)
        paused += time.perf_counter() - now


def _write(file: Path, content: Any) -> None:
    """Whole or not at all: the reader may come at any time."""
    torch.save(content, file.with_suffix(".part"))
    file.with_suffix(".part").rename(file)


def main() -> None:
    """Train, or measure the speed alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--pixels", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--initial", choices=["ddpm-exp", "diffusers"], default="ddpm-exp")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--every", type=int, help="images between the moments whose averages are kept")
    parser.add_argument("--alone", type=float)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    experiment = load_experiment(str(given.experiment), []).experiment
    pixels = torch.load(given.pixels, weights_only=True)
    peer = Peer(experiment, pixels, given.seed, given.initial, compiled=given.compiled, usual=given.alone is None)
    if given.alone is None:
        train(peer, given.every, given.out)
        return
    speed, first = per_second(peer.step, experiment.training.images_per_step, warm_up=WARM_UP_STEPS, seconds=given.alone)
    found = {"images_per_second": round(speed, 1), "first_steps_seconds": round(first, 1)}
    (given.out / "alone.json").write_text(json.dumps(found))
    print(found, flush=True)


if __name__ == "__main__":
    main()
