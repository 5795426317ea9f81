"""Drawing images from a network with starting noise that is the same for every arm, seed and moment of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.paths import DiscretePath
from ddpm_exp.diffusion.samplers import denoiser, sample
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

EVALUATION_SEED = 0
"""Seed of every draw in evaluation; never the run's own, so that arms and seeds meet the same noise."""


class Stopped(Exception):  # noqa: N818 - a wish, not an error
    """Evaluation was asked to stop between two batches; nothing of it is kept."""


@dataclass(frozen=True)
class Artist:
    """Everything needed to draw images for given classes but the network."""

    sampling: Sampling
    diffusion: Diffusion
    path: DiscretePath
    conditions: Conditions
    shape: Shape
    device: torch.device
    autocast: Callable[[], torch.autocast]
    should_stop: Callable[[], bool] = lambda: False
    batch: int = 128
    """Images drawn together."""

    @torch.no_grad()
    def draw(self, network: nn.Module, labels: torch.Tensor, noises: torch.Tensor, *, held_out: bool) -> torch.Tensor:
        """Images in [-1, 1], [N, C, H, W] fp32 on the CPU, for N `labels` (ignored without condition) and N noise numbers.

        Image k starts from the fixed noise number `noises[k]`: equal numbers mean equal noise and equal wording around the
        class. With `held_out`, prompts use wording that training never saw. Raises `Stopped` if asked to stop between batches.
        """
        network.eval()
        drawn = []
        for first in range(0, len(labels), self.batch):
            if self.should_stop():
                raise Stopped
            part = slice(first, first + self.batch)
            drawn.append(self._draw_batch(network, labels[part], noises[part], held_out).cpu())
        return torch.cat(drawn)

    def _draw_batch(self, network: nn.Module, labels: torch.Tensor, noises: torch.Tensor, held_out: bool) -> torch.Tensor:
        ordinals, shape = noises.to(self.device), tuple(self.shape)

        def forward(x: torch.Tensor, c_noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
            with self.autocast():
                return network(x, c_noise, condition).float()  # type: ignore[no-any-return]

        denoise = denoiser(
            forward,
            self.path,
            self.diffusion.prediction,
            clip_x0=self.sampling.clip_x0,
            condition=self.conditions.fixed(labels, self.device, held_out=held_out, turns=noises),
            null=self.conditions.null(len(labels), self.device),
            guidance_scale=self.sampling.guidance_scale,
        )
        start = draws.normal(EVALUATION_SEED, "sample/start", ordinals, shape)
        return sample(
            self.sampling,
            self.path,
            denoise,
            start,
            lambda step: draws.normal(EVALUATION_SEED, f"sample/step {step}", ordinals, shape),
        )
