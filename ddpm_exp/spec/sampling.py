"""How images are drawn from the trained network."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le

from ddpm_exp.spec.base import Spec


class Sampling(Spec):
    """A sampler, its number of steps and its guidance."""

    sampler: Literal["ddim", "ddpm"] = "ddim"
    """`ddim`: Song et al. 2021, `eta` = 0 deterministic. `ddpm`: ancestral, Ho et al. 2020, algorithm 2."""

    steps: Annotated[int, Ge(1), Le(10_000)] = 50
    """Network evaluations per image (twice as many with guidance); at most `diffusion.timesteps`."""

    eta: Annotated[float, Ge(0), Le(1)] = 0.0
    """Noise of DDIM: 0 none, 1 as much as the ancestral sampler. Ignored by `ddpm`."""

    variance: Literal["small", "large"] = "small"
    """Variance of an ancestral step: the posterior's (small) or the forward step's (large)."""

    guidance_scale: Annotated[float, Ge(0), Le(50)] = 1.0
    """Classifier-free guidance: 1 is off, guide 002 uses 1 to 10 (Ho & Salimans 2022)."""

    clip_x0: bool = True
    """Clamp each prediction of the clean image to [-1, 1] and derive the noise again."""

    weights: Literal["ema", "raw"] = "ema"
    """Which weights draw: the average (as every guide advises) or the last ones."""
