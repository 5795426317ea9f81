"""Training of a small network on numbers whose best denoiser is known, and the loss that no network falls below."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from support.known_data import GaussianData
from torch import Tensor, nn

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Examples
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.levels import Coefficients
from ddpm_exp.diffusion.objective import Noised, Objective
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.models.build import build_network
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.model import Model
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.training import Training
from ddpm_exp.training.micro_step import MicroStep
from ddpm_exp.training.trainer import Length, Trainer

CPU = torch.device("cpu")


def normal_examples(data: GaussianData, shape: tuple[int, ...], count: int, purpose: str) -> Tensor:
    """Independent normal numbers, [count, *shape]."""
    x0: Tensor = data.mean + data.deviation * draws.normal(0, purpose, torch.arange(count), shape)
    return x0


@dataclass(frozen=True)
class Measured:
    """Mean losses on held-out examples, and the times and levels that they were measured at."""

    before: float
    after: float
    noised: Noised
    exact: Coefficients
    """Of `noised`, in float64."""


@dataclass(frozen=True)
class Lesson:
    """A network, what it learns to undo, and for how long."""

    model: Model
    diffusion: Diffusion
    family: Family
    steps: int
    images_per_step: int
    learning_rate: float = 4e-3
    seed: int = 0

    def learn(self, train: Tensor, held_out: Tensor) -> Measured:
        """Train on `train` [N, *shape] and measure the averaged weights on `held_out` [M, *shape]."""
        trainer = self._trainer(train)
        assert trainer.ema is not None
        ordinals = torch.arange(len(held_out))
        noised = trainer.objective.noised(held_out, self.seed, ordinals, prefix="floor/")

        @torch.no_grad()
        def loss(network: nn.Module) -> float:
            return float(trainer.objective.losses(network.eval(), held_out, noised, None).double().mean())

        before = loss(trainer.network)
        for _ in range(self.steps):
            trainer.step()
        return Measured(before, loss(trainer.ema.network), noised, build_path(self.diffusion).exact(noised.t))

    def _trainer(self, train: Tensor) -> Trainer:
        total = self.steps * self.images_per_step
        plan = Plan(
            gpu="cpu",
            device="cpu",
            precision="fp32",
            images_per_step=self.images_per_step,
            micro_batch=self.images_per_step,
            accumulation=1,
            usable_bytes=2**30,
            peak_bytes=2**20,
            uncertainty=0.1,
            source="estimated",
        )
        training = Training(images_per_step=self.images_per_step, learning_rate=self.learning_rate, rate="cosine")
        torch.manual_seed(self.seed)
        micro_step = MicroStep(
            network=build_network(self.model, (), tuple(train.shape[1:]), timesteps=self.diffusion.timesteps, family=self.family),
            objective=Objective(self.diffusion, build_path(self.diffusion), images_per_step=self.images_per_step, device=CPU),
            source=Batches(Examples(train, None, ()), seed=self.seed, flip=False, device=CPU, draw=draws.uniform),
            conditions=Conditions(()),
            plan=plan,
            seed=self.seed,
            device=CPU,
        )
        length = Length(total_images=total, warmup_images=total // 20, ema_half_life_images=total // 10)
        return Trainer(micro_step, training=training, length=length, cuda_graph=False)
