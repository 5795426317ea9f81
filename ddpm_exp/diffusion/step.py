"""What every sampler's step is given and gives back. No sampler, no network: the words that they share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.spec.sampling import Sampling


class Estimate(NamedTuple):
    """What the denoiser believes of x = alpha x0 + sigma eps; float32 (or float64, where x is) of x's shape.

    `variance`: with learned variance, what the network says of it, of x's shape (see `network.Output`); else None.
    """

    x0: Tensor
    eps: Tensor
    variance: Tensor | None = None


Denoise = Callable[[Tensor, Level], Estimate]
"""(x [B, *shape], noise level above data) -> what it is made of."""

Draw = Callable[[], Tensor]
"""Standard normal noise of x's shape, for this step; asked for at most once."""


class Move(NamedTuple):
    """One step from level t down to level s, of `steps` in all."""

    t: Level
    s: Level
    steps: int
    path: Path | None = None
    """Needed by samplers that visit levels of their own (`edm-stochastic`)."""

    @property
    def to_data(self) -> bool:
        """Whether the step ends at exact data."""
        return self.s.sigma == 0.0


class Past(NamedTuple):
    """A step that was taken: from this level and this x, with this x0."""

    level: Level
    x: Tensor
    x0: Tensor


History = tuple[Past, ...]
"""The steps that a multistep sampler looks back on, the newest first; single steps leave it empty."""


class Arrival(NamedTuple):
    """x at level s, the x0 that the step believed in, and what the next step should remember."""

    x: Tensor
    x0: Tensor
    history: History = ()


class Step(Protocol):
    """A sampler: one step from level t to level s."""

    def __call__(self, sampling: Sampling, move: Move, x: Tensor, denoise: Denoise, draw: Draw, history: History) -> Arrival: ...


def ratio(level: Level) -> float:
    """sigma / alpha: the noise beside unscaled data; 0 at data, infinite at pure noise."""
    return level.sigma / level.alpha if level.alpha > 0.0 else math.inf


def length(t: Level, s: Level) -> float:
    """h = ln(alpha_s / sigma_s) - ln(alpha_t / sigma_t), half the change of log-SNR; infinite from noise or to data."""
    kept = t.alpha * s.sigma
    return math.log(s.alpha * t.sigma / kept) if kept > 0.0 else math.inf
