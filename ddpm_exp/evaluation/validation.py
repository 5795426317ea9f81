"""Errors on held-out examples, always with the same examples and noise levels, and with the noise of the run's seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ddpm_exp.data.examples import Batch
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.network import asked
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.objective import Objective
from ddpm_exp.diffusion.predictions import to_x0
from ddpm_exp.evaluation.drawing import Artist, part_of
from ddpm_exp.ranks.shares import Shares
from ddpm_exp.spec.evaluation import Evaluation


@dataclass(frozen=True)
class Errors:
    """What `validate` found."""

    values: dict[str, float]
    reconstructions: torch.Tensor
    """[1 + 2 L, K, *shape] on the CPU: K held-out examples; then, for each of L noise levels, the noisy ones and their
    one-step reconstructions."""


_SHOWN = 8


@torch.no_grad()
def validate(network: nn.Module, held_out: Batch, artist: Artist, spec: Evaluation) -> Errors:
    """`val/loss`, `val/denoising` and `val/reconstruction` of `network`, conditional and without guidance.

    `held_out` may lie anywhere; the artist's device has a part of it at a time. `val/denoising` is the mean squared error of the
    unclipped x0 prediction, per element, averaged over examples and over `spec.log_snr`; noise enters at exactly these levels,
    whatever the schedule's own times.
    """
    network.eval()
    count, several = len(held_out.x0), artist.ranks.size > 1
    # One step's worth is all of them, so that stratified times do not depend on batches.
    objective = Objective(artist.diffusion, artist.path, images_per_step=count, device=artist.device)
    # The examples that are shown are the first process's.
    shares = Shares.of(count, artist.batch, artist.ranks, at_least=_SHOWN if several else 1)

    def measured(part: slice) -> tuple[torch.Tensor, list[torch.Tensor]]:
        artist.heed_stop()
        batch = _Part(network, part_of(held_out, part, artist.device), part.start, artist, objective)
        pictures: list[torch.Tensor] = []
        row = [batch.loss(), *(batch.error_at(level)[0] / len(spec.log_snr) for level in spec.log_snr)]
        for level in spec.reconstruction_log_snr:
            error, noisy, estimate = batch.error_at(level, clip=artist.clamp)
            row.append(error / len(spec.reconstruction_log_snr))
            if part.start < _SHOWN:
                pictures += [shown[: _SHOWN - part.start].cpu() for shown in (noisy, estimate)]
        return torch.tensor(row, dtype=torch.float64), pictures

    found = artist.room.each(shares, measured, "measuring errors on held-out examples", artist.device)
    sums = _sums(shares.collect_rows([row for row, _ in found]).tolist(), len(spec.log_snr))
    pictures = [torch.cat(parts) for parts in zip(*(pictures for _, pictures in found if pictures), strict=True)]
    shown = torch.stack([held_out.x0[:_SHOWN].cpu(), *pictures])
    values = {f"val/{name}": total / count for name, total in sums.items()}
    return Errors(values, shown.clamp(-1, 1) if artist.clamp else shown)


def _sums(rows: list[list[float]], levels: int) -> dict[str, float]:
    """Over all batches, in their order whoever computed them."""
    sums = dict.fromkeys(("loss", "denoising", "reconstruction"), 0.0)
    for loss, *errors in rows:
        sums["loss"] += loss
        for place, error in enumerate(errors):
            sums["denoising" if place < levels else "reconstruction"] += error
    return sums


class _Part:
    """Held-out examples with the noise that belongs to their numbers `first`, `first + 1`, ..."""

    def __init__(self, network: nn.Module, batch: Batch, first: int, artist: Artist, objective: Objective) -> None:
        self.x0, self.artist, self.objective, self.network = batch.x0, artist, objective, artist.asking(network)
        self.numbers = torch.arange(first, first + len(batch.x0), device=batch.x0.device)
        self.condition = artist.conditions.fixed(batch, artist.device, held_out=False, turns=self.numbers)
        self.eps = draws.normal(artist.seed, "validation/noise", self.numbers, tuple(batch.x0.shape[1:]))

    def loss(self) -> float:
        """Sum over examples of the training objective at one fixed random time each."""
        noised = self.objective.noised(self.x0, self.artist.seed, self.numbers, prefix="validation/")
        return float(self.objective.losses(self.network, self.x0, noised, self.condition).sum())

    def error_at(self, log_snr: float, *, clip: bool = False) -> tuple[float, torch.Tensor, torch.Tensor]:
        """Sum over examples of the x0 error at a log-SNR, the noisy examples, and the estimates of x0."""
        level = self.artist.path.at_log_snr(log_snr)
        x = add_noise(self.x0, self.eps, level)
        c_noise = torch.full((len(x),), level.c_noise, device=x.device)
        output = asked(self.artist.diffusion, self.network, x, level, c_noise, self.condition)
        x0 = to_x0(self.artist.diffusion.prediction, output.value, x, level)
        if clip:
            x0 = x0.clamp(-1, 1)
        return float((x0 - self.x0).square().flatten(1).mean(1).sum()), x, x0
