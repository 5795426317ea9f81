"""Bits per dimension of held-out examples, always with the same examples, and with the noise and times of the run's seed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddpm_exp.data.examples import Batch
from ddpm_exp.diffusion.likelihood import bits_per_dimension
from ddpm_exp.diffusion.network import Condition
from ddpm_exp.evaluation.drawing import Artist, part_of
from ddpm_exp.ranks.shares import Shares


@torch.no_grad()
def likelihood(network: nn.Module, held_out: Batch, artist: Artist, terms: int | None) -> dict[str, float]:
    """`val/bits_per_dimension` of `network`: the bound's mean over `held_out`, conditional and without guidance.

    `held_out` may lie anywhere; the path has whole times. `terms` of the bound are drawn for each example (None,
    or T - 1 and more: all of them). The x0 of images is clamped to [-1, 1], whatever `sampling` says: how samples are
    drawn has no part in it. Raises `Stopped` if asked to stop between two evaluations of the network.
    """
    network.eval()
    asking = artist.asking(network)

    def ask(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        artist.heed_stop()
        return asking(x, c_noise, condition)

    def total(part: slice) -> Tensor:
        batch = part_of(held_out, part, artist.device)
        numbers = torch.arange(part.start, part.stop, device=artist.device)
        bits = bits_per_dimension(
            artist.diffusion,
            artist.path,
            ask,
            batch.x0,
            artist.conditions.fixed(batch, artist.device, held_out=False, turns=numbers),
            artist.seed,
            numbers,
            terms=None if terms is None else min(terms, artist.path.timesteps - 1),
            clip_x0=artist.clamp,
            prefix="validation/",
        )
        return bits.total.double().sum().cpu()

    count = len(held_out.x0)
    shares = Shares.of(count, artist.batch, artist.ranks)
    sums = artist.room.each(shares, total, "measuring bits per dimension", artist.device)
    return {"val/bits_per_dimension": sum(shares.collect_rows(sums).tolist()) / count}
