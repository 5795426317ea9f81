"""From noise to data: the samplers by name, and the walk down the levels. A sampler sees (x0, eps) and pairs of levels only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.diffusion.ancestral import ddim, ddpm
from ddpm_exp.diffusion.grids import Grid
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.multistep import dpm_2m, dpm_3m_sde, unipc
from ddpm_exp.diffusion.ode import edm_stochastic, euler, heun
from ddpm_exp.diffusion.predictions import full_precision
from ddpm_exp.diffusion.step import Denoise, Estimate, History, Move, Step
from ddpm_exp.spec.sampling import Sampler, Sampling

__all__ = ["STEPS", "Denoise", "Estimate", "State", "moves", "sample", "trajectory"]

STEPS: dict[Sampler, Step] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "euler": euler,
    "heun": heun,
    "edm-stochastic": edm_stochastic,
    "dpm++2m": dpm_2m,
    "dpm++3m-sde": dpm_3m_sde,
    "unipc": unipc,
}


class State(NamedTuple):
    """After one step: the level arrived at, x there, and the clean example that the step believed in."""

    level: Level
    x: Tensor
    x0: Tensor


def moves(levels: Sequence[Level]) -> list[Move]:
    """The steps from each level to the next, which must be nearer the data. Raises ValueError where it is not."""
    path = levels.path if isinstance(levels, Grid) else None
    for t, s in pairwise(levels):
        if not s.time < t.time:
            raise ValueError(f"levels run from noise to data, and time {s.time} follows {t.time}")
    return [Move(t, s, len(levels) - 1, path) for t, s in pairwise(levels)]


@torch.no_grad()
def trajectory(
    sampling: Sampling, levels: Sequence[Level], denoise: Denoise, x: Tensor, noise: Callable[[int], Tensor]
) -> Iterator[State]:
    """Each state from the first step to the last level, one for each pair of neighbours in `levels` (see `grids.levels`).

    `x`: noise [B, *shape] of standard deviation `path.prior_std`. `noise(step)`, step = 0, 1, ..., gives the standard
    normal z of a step, asked for at most once, and by steps that add noise only.
    """
    x, history = full_precision(x), History()
    for number, move in enumerate(moves(levels)):
        x, x0, history = STEPS[sampling.sampler](sampling, move, x, denoise, partial(noise, number), history)
        yield State(move.s, x, x0)


def sample(sampling: Sampling, levels: Sequence[Level], denoise: Denoise, x: Tensor, noise: Callable[[int], Tensor]) -> Tensor:
    """Examples [B, *shape], float32, at the last level of the `trajectory` from `x`."""
    for state in trajectory(sampling, levels, denoise, x, noise):
        x = state.x
    return x
