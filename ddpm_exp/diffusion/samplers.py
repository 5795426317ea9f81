"""From noise to images: DDIM and ancestral sampling as one transition whose coefficients differ.

A sampler sees a denoiser, (x, t) -> (x0, eps), and moves (t, s) that end at time 0; networks and guidance end at `denoiser`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.diffusion.guidance import Network, guided
from ddpm_exp.diffusion.paths import DiscretePath
from ddpm_exp.diffusion.predictions import Prediction, full_precision, to_eps, to_x0
from ddpm_exp.spec.sampling import Sampling

Denoise = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""(x [B, C, H, W], time t in 1..T) -> (x0, eps), float32, with x = alpha x0 + sigma eps."""


class Transition(NamedTuple):
    """x_s = x0 * x0_hat + eps * eps_hat + noise * z, in float64."""

    x0: float
    eps: float
    noise: float


class State(NamedTuple):
    """After one step: the time arrived at, the image there, and the clean image that the step believed in."""

    time: int
    x: Tensor
    x0: Tensor


def transition(spec: Sampling, path: DiscretePath, t: int, s: int) -> Transition:
    """Coefficients of the step from time t to s < t.

    With a = alpha_t / alpha_s, v = sigma_t^2 - a^2 sigma_s^2 (the forward step's variance, "large") and
    small = v sigma_s^2 / sigma_t^2 (the posterior's), DDIM is x_s = alpha_s x0 + sqrt(sigma_s^2 - eta^2 small) eps
    + eta sqrt(small) z (Song et al. 2021, eq. 12 and 16). Ancestral sampling has the mean of eta = 1 and either
    variance (Ho et al. 2020, algorithm 2). The step to data returns x0, without noise.
    """
    alpha_t, sigma_t, _ = path.level(t)
    alpha_s, sigma_s, _ = path.level(s)
    if s == 0:
        return Transition(1.0, 0.0, 0.0)
    large = sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2
    small = large * (sigma_s / sigma_t) ** 2
    eta = spec.eta if spec.sampler == "ddim" else 1.0
    noise = large if spec.sampler == "ddpm" and spec.variance == "large" else eta**2 * small
    return Transition(alpha_s, math.sqrt(max(sigma_s**2 - eta**2 * small, 0.0)), math.sqrt(max(noise, 0.0)))


def denoiser(
    network: Network,
    path: DiscretePath,
    prediction: Prediction,
    *,
    clip_x0: bool,
    condition: Tensor | None,
    null: Tensor | None,
    guidance_scale: float,
) -> Denoise:
    """The network as (x, t) -> (x0, eps) in float32, guided, for a batch with these conditions.

    `condition` and `null`: int64 [B] or [B, L] as the network takes them, or None. `clip_x0` clamps x0 to [-1, 1] and
    derives eps again, so that x = alpha x0 + sigma eps holds after it too.
    """
    ask = guided(network, guidance_scale, null)

    def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        alpha, sigma, c_noise = path.level(t)
        output = ask(x, x.new_full((len(x),), c_noise), condition)
        x0 = to_x0(prediction, output, x, alpha, sigma)
        if clip_x0:
            x0 = x0.clamp(-1.0, 1.0)
            return x0, to_eps("x0", x0, x, alpha, sigma)
        return x0, to_eps(prediction, output, x, alpha, sigma)

    return denoise


@torch.no_grad()
def trajectory(spec: Sampling, path: DiscretePath, denoise: Denoise, x: Tensor, noise: Callable[[int], Tensor]) -> Iterator[State]:
    """Each state from the first step to time 0, `spec.steps` in all.

    `x`: standard normal [B, C, H, W]. `noise(step)`, step = 0, 1, ..., gives the standard normal z of a step; a
    transition without noise does not ask for it. Raises UserError if `spec.steps` exceeds the path's timesteps.
    """
    x = full_precision(x)
    for step, (t, s) in enumerate(path.pairs(spec.steps)):
        x0, eps = denoise(x, t)
        move = transition(spec, path, t, s)
        # The last step returns x0 itself: 0 x eps would turn an infinite eps into NaN.
        x = x0 if s == 0 else move.x0 * x0 + move.eps * eps
        if move.noise > 0.0:
            x = x + move.noise * noise(step)
        yield State(s, x, x0)


def sample(spec: Sampling, path: DiscretePath, denoise: Denoise, x: Tensor, noise: Callable[[int], Tensor]) -> Tensor:
    """Images [B, C, H, W], float32, at time 0 of the `trajectory` from `x`."""
    for state in trajectory(spec, path, denoise, x, noise):
        x = state.x
    return x
