"""DDIM and ancestral sampling agree with Hugging Face's schedulers, driven by the ideal denoiser of Gaussian data.

diffusers keeps its schedule in float32, which moves its own samples by up to 4e-4 at 1,000 ancestral steps on the cosine path
(measured against float64, from which ours stay within 1e-5). So the schedulers are compared twice: as they come, where
that error is small enough, and at every step of any number of steps with their table in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from support.known_data import GaussianData

from ddpm_exp.diffusion.denoiser import denoiser
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.predictions import target
from ddpm_exp.diffusion.samplers import trajectory
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
TOLERANCE = {"atol": 1e-5, "rtol": 0.0}
Step = Callable[[torch.Tensor, int, torch.Tensor, int], Any]


def z(step: int) -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))


def settings(diffusion: Diffusion) -> dict[str, Any]:
    return {
        "num_train_timesteps": diffusion.timesteps,
        "beta_start": diffusion.beta_start,
        "beta_end": diffusion.beta_end,
        "beta_schedule": SCHEDULES[diffusion.schedule],
        "prediction_type": PREDICTIONS[diffusion.prediction],
        "timestep_spacing": "trailing",
        "clip_sample": False,
    }


def exact_table(diffusion: Diffusion) -> torch.Tensor:
    """alpha_bar of diffusers' two schedules, in float64."""
    count = diffusion.timesteps
    f = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
    cosine = np.minimum(1 - f[1:] / f[:-1], 0.999)
    betas = cosine if diffusion.schedule == "cosine" else np.linspace(diffusion.beta_start, diffusion.beta_end, count)
    return torch.from_numpy(np.cumprod(1 - betas))


def schedulers(spec: Sampling, diffusion: Diffusion) -> tuple[Any, Step]:
    """The scheduler of diffusers that `spec` corresponds to, and its step, given the noise that we take."""
    if spec.sampler == "ddim":
        ddim = DDIMScheduler(**settings(diffusion), set_alpha_to_one=True)
        return ddim, lambda output, index, x, number: ddim.step(
            output, index, x, eta=spec.eta, variance_noise=z(number) if spec.eta else None
        )
    ddpm = DDPMScheduler(**settings(diffusion), variance_type=f"fixed_{spec.variance}")
    return ddpm, lambda output, index, x, number: ddpm.step(output, index, x, generator=torch.Generator().manual_seed(number))


def states(gaussian: GaussianData, spec: Sampling, diffusion: Diffusion, *, exact: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(ours, theirs) after each step, from the same noise, at the same times."""
    path = build_path(diffusion)
    network, grid = gaussian.network(path, diffusion.prediction), levels(path, spec.steps)
    ask = denoiser(diffusion, spec, network, condition=None, null=None, within=None)
    scheduler, step = schedulers(spec, diffusion)
    if exact:
        scheduler.alphas_cumprod = exact_table(diffusion)
    scheduler.set_timesteps(spec.steps)
    assert [level.c_noise for level in grid[:-1]] == scheduler.timesteps.tolist()
    theirs, pairs = z(5000), []
    for number, (index, ours) in enumerate(zip(scheduler.timesteps, trajectory(spec, grid, ask, z(5000), z), strict=True)):
        after = step(network(theirs, index[None], None), int(index), theirs, number)
        # With fewer steps than times and the large variance, diffusers adds noise to the final image; a sampler of
        # images must not, so that there the clean image of its last step is compared.
        theirs = after.pred_original_sample if ours.level.time == 0 else after.prev_sample
        pairs.append((ours.x, theirs))
    return pairs


DDIM = [
    Sampling(sampler="ddim", steps=50),
    Sampling(sampler="ddim", steps=20, eta=0.7),
    Sampling(sampler="ddim", steps=100, eta=1.0),
]
DDPM = [Sampling(sampler="ddpm", steps=steps, variance=variance) for steps in (20, 50, 100) for variance in ("small", "large")]  # type: ignore[arg-type]
ALL_TIMES = [
    Sampling(sampler="ddim", steps=1000),
    *(Sampling(sampler="ddpm", steps=1000, variance=kind) for kind in ("small", "large")),
]  # type: ignore[arg-type]


def named(spec: Sampling) -> str:
    return f"{spec.sampler}-{spec.steps}-{spec.eta if spec.sampler == 'ddim' else spec.variance}"


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("spec", DDIM + DDPM, ids=named)
def test_samples_agree_with_diffusers_as_it_comes(gaussian: GaussianData, spec: Sampling, prediction: Any, schedule: Any) -> None:
    ours, theirs = states(gaussian, spec, Diffusion(schedule=schedule, prediction=prediction), exact=False)[-1]
    torch.testing.assert_close(ours, theirs, **TOLERANCE)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("spec", DDIM + DDPM + ALL_TIMES, ids=named)
def test_every_state_agrees_with_diffusers_on_an_exact_table(gaussian: GaussianData, spec: Sampling, schedule: Any) -> None:
    for ours, theirs in states(gaussian, spec, Diffusion(schedule=schedule), exact=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_noising_and_targets_agree_with_diffusers() -> None:
    diffusion = Diffusion(prediction="v")
    scheduler, path = DDPMScheduler(**settings(diffusion)), build_path(diffusion)
    x0, eps, t = z(0), z(1), torch.tensor([1, 2, 500, 1000])
    at = path.at(t)
    torch.testing.assert_close(add_noise(x0, eps, at), scheduler.add_noise(x0, eps, t - 1), **TOLERANCE)
    torch.testing.assert_close(target("v", x0, eps, at), scheduler.get_velocity(x0, eps, t - 1), **TOLERANCE)
