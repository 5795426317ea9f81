"""Solvers of the flow agree with Hugging Face's, driven by ideal denoisers, at every state.

Given sigmas in float64 where they keep float32: their schedule's rounding is not what is compared here.
`dpm++3m-sde` has no counterpart: see `test_gaussian` for its order, and `multistep` for what is wrong with theirs.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from support.known_data import DIFFUSIONS, FiniteData, GaussianData

from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.samplers import trajectory
from ddpm_exp.diffusion.step import ratio
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampler, Sampling

TOLERANCE = {"atol": 1e-5, "rtol": 0.0}
X = torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
DATA = [GaussianData(), FiniteData()]


def silent(step: int) -> torch.Tensor:
    raise AssertionError("deterministic sampling asked for noise")


def multistep(sampler: Sampler, diffusion: Diffusion) -> Any:
    given = {
        "num_train_timesteps": diffusion.timesteps,
        "beta_start": diffusion.beta_start,
        "beta_end": diffusion.beta_end,
        "beta_schedule": {"linear": "linear", "cosine": "squaredcos_cap_v2"}[diffusion.schedule],
        "prediction_type": "sample",
        "timestep_spacing": "trailing",
        "solver_order": 2,
        "final_sigmas_type": "zero",
    }
    if sampler == "dpm++2m":
        return DPMSolverMultistepScheduler(**given, algorithm_type="dpmsolver++", solver_type="midpoint")
    return UniPCMultistepScheduler(**given, solver_type="bh2", predict_x0=True)


@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [8, 20, 50])
@pytest.mark.parametrize("sampler", ["dpm++2m", "unipc"])
def test_multistep_samplers_agree_with_diffusers_at_every_state(sampler: Sampler, steps: int, name: str, data: Any) -> None:
    diffusion = DIFFUSIONS[name]
    grid, scheduler = levels(build_path(diffusion), steps), multistep(sampler, diffusion)
    scheduler.set_timesteps(steps)
    assert [level.c_noise for level in grid[:-1]] == scheduler.timesteps.tolist()
    scheduler.sigmas = torch.tensor([ratio(level) for level in grid], dtype=torch.float64)
    theirs = X.double()
    ours = trajectory(Sampling(sampler=sampler), grid, data.denoise, X.double(), silent)
    for level, index, state in zip(grid, scheduler.timesteps, ours, strict=False):
        theirs = scheduler.step(data.denoise(theirs, level).x0, index, theirs).prev_sample
        # diffusers' 2M rounds each state to float32.
        torch.testing.assert_close(state.x, theirs, **TOLERANCE)
    torch.testing.assert_close(state.x, theirs, **TOLERANCE)


@pytest.mark.parametrize("sampler", ["dpm++2m", "unipc"])
def test_multistep_samples_agree_with_diffusers_as_it_comes_in_float32(sampler: Sampler, gaussian: GaussianData) -> None:
    diffusion = DIFFUSIONS["linear"]
    grid, scheduler = levels(build_path(diffusion), 20), multistep(sampler, diffusion)
    scheduler.set_timesteps(20)
    theirs = X
    for level, index in zip(grid, scheduler.timesteps, strict=False):
        theirs = scheduler.step(gaussian.denoise(theirs, level).x0, index, theirs).prev_sample
    *_, ours = trajectory(Sampling(sampler=sampler), grid, gaussian.denoise, X, silent)
    torch.testing.assert_close(ours.x, theirs, **TOLERANCE)


def velocity(data: Any, x: torch.Tensor, at: Level) -> torch.Tensor:
    x0, eps, _ = data.denoise(x, at)
    return eps - x0  # type: ignore[no-any-return]


@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
@pytest.mark.parametrize("grid", ["trailing", "linspace", "karras"])
@pytest.mark.parametrize("steps", [8, 50])
def test_euler_agrees_with_diffusers_on_rectified_flow(steps: int, grid: str, data: Any) -> None:
    ours, scheduler = levels(build_path(DIFFUSIONS["rectified-flow"]), steps, grid), FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[level.sigma for level in ours[:-1]])
    assert scheduler.timesteps.tolist() == pytest.approx([level.c_noise for level in ours[:-1]], rel=1e-6)
    theirs = X
    for level, time, state in zip(
        ours, scheduler.timesteps, trajectory(Sampling(sampler="euler"), ours, data.denoise, X, silent), strict=False
    ):
        theirs = scheduler.step(velocity(data, theirs, level), time, theirs).prev_sample
        torch.testing.assert_close(state.x, theirs, **TOLERANCE)


@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
@pytest.mark.parametrize("grid", ["trailing", "linspace", "karras"])
@pytest.mark.parametrize("steps", [8, 50])
def test_heun_agrees_with_diffusers_on_rectified_flow(steps: int, grid: str, data: Any) -> None:
    ours, scheduler = levels(build_path(DIFFUSIONS["rectified-flow"]), steps, grid), FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(steps)
    # Their own times, twice each but for the first, put in place of theirs (`set_timesteps` takes none).
    each = torch.tensor([level.sigma for level in ours], dtype=torch.float32)
    scheduler.sigmas = torch.cat([each[:1], each[1:-1].repeat_interleave(2), each[-1:]])
    scheduler.timesteps = 1000 * scheduler.sigmas[:-1]
    scheduler.set_begin_index(0)
    asked = [ours[0], *(level for level in ours[1:-1] for _ in range(2))]
    theirs = X
    for level, time in zip(asked, scheduler.timesteps, strict=True):
        theirs = scheduler.step(velocity(data, theirs, level), time, theirs).prev_sample
    *_, last = trajectory(Sampling(sampler="heun"), ours, data.denoise, X, silent)
    torch.testing.assert_close(last.x, theirs, **TOLERANCE)
