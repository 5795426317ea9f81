"""Errors on held-out images, always with the same images, noise and noise levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.loss import per_image_loss
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.predictions import to_x0
from ddpm_exp.evaluation.drawing import EVALUATION_SEED, Artist, Stopped
from ddpm_exp.spec.evaluation import Evaluation


@dataclass(frozen=True)
class HeldOut:
    """The images that errors are measured on: [N, C, H, W] in [-1, 1] on the device, and their classes [N]."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Errors:
    """What `validate` found."""

    values: dict[str, float]
    reconstructions: torch.Tensor
    """[1 + 2 L, K, C, H, W] in [-1, 1] on the CPU: K held-out images; then, for each of L noise levels, the noisy image
    and its one-step reconstruction."""


_SHOWN = 8


@torch.no_grad()
def validate(network: nn.Module, held_out: HeldOut, artist: Artist, spec: Evaluation) -> Errors:
    """`val/loss`, `val/denoising` and `val/reconstruction` of `network`, conditional and without guidance.

    `val/denoising` is the mean squared error of the unclipped x0 prediction, per pixel, averaged over images and over
    `spec.log_snr`; noise enters at exactly these levels, whatever the schedule's own times.
    """
    network.eval()
    count, sums, pictures = len(held_out.images), dict.fromkeys(("loss", "denoising", "reconstruction"), 0.0), []
    together = max(artist.batch, _SHOWN)  # The images that are shown lie in the first batch.
    for first in range(0, count, together):
        if artist.should_stop():
            raise Stopped
        part = slice(first, min(first + together, count))
        batch = _Batch(network, held_out.images[part], held_out.labels[part], first, artist)
        sums["loss"] += batch.loss()
        for level in spec.log_snr:
            sums["denoising"] += batch.error_at(level)[0] / len(spec.log_snr)
        for level in spec.reconstruction_log_snr:
            error, noisy, estimate = batch.error_at(level, clip=True)
            sums["reconstruction"] += error / len(spec.reconstruction_log_snr)
            if first == 0:
                pictures += [noisy[:_SHOWN], estimate[:_SHOWN]]
    shown = torch.stack([held_out.images[:_SHOWN], *pictures]).clamp(-1, 1).cpu()
    return Errors({f"val/{name}": total / count for name, total in sums.items()}, shown)


class _Batch:
    """Held-out images `x0` [B, C, H, W] with the noise that belongs to their numbers `first`, `first + 1`, ..."""

    def __init__(self, network: nn.Module, x0: torch.Tensor, labels: torch.Tensor, first: int, artist: Artist) -> None:
        self.network, self.x0, self.artist = network, x0, artist
        self.numbers = torch.arange(first, first + len(x0), device=x0.device)
        self.condition = artist.conditions.fixed(labels, artist.device, held_out=False, turns=self.numbers)
        self.eps = draws.normal(EVALUATION_SEED, "validation/noise", self.numbers, tuple(x0.shape[1:]))

    def _output(self, x: torch.Tensor, c_noise: torch.Tensor) -> torch.Tensor:
        with self.artist.autocast():
            return self.network(x, c_noise, self.condition).float()  # type: ignore[no-any-return]

    def loss(self) -> float:
        """Sum over images of the training objective at one fixed random time each."""
        path = self.artist.path
        t = draws.integers(EVALUATION_SEED, "validation/time", self.numbers, path.timesteps) + 1
        alpha, sigma = path.at(t)
        output = self._output(add_noise(self.x0, self.eps, alpha, sigma), path.c_noise(t))
        return float(per_image_loss(self.artist.diffusion, output, self.x0, self.eps, alpha, sigma).sum())

    def error_at(self, level: float, *, clip: bool = False) -> tuple[float, torch.Tensor, torch.Tensor]:
        """Sum over images of the x0 error at log-SNR `level`, the noisy images, and the estimates of x0."""
        alpha, sigma, c_noise = self.artist.path.at_log_snr(level)
        x = add_noise(self.x0, self.eps, alpha, sigma)
        index = torch.full((len(x),), c_noise, device=x.device)
        x0 = to_x0(self.artist.diffusion.prediction, self._output(x, index), x, alpha, sigma)
        if clip:
            x0 = x0.clamp(-1, 1)
        return float((x0 - self.x0).square().mean(dim=(1, 2, 3)).sum()), x, x0
