"""What every sampler promises on every schedule and grid: finite samples near the data, noise only where it is needed."""

from __future__ import annotations

import itertools

import pytest
import torch
from support.known_data import DIFFUSIONS, FiniteData, GaussianData

from ddpm_exp.diffusion.denoiser import denoiser
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.samplers import STEPS, Estimate, sample, trajectory
from ddpm_exp.spec.sampling import Sampler, Sampling

GRIDS = ["trailing", "leading", "linspace", "quadratic", "karras"]
STOCHASTIC = ("ddpm", "dpm++3m-sde")
TWICE = ("heun", "edm-stochastic")


def noise(step: int) -> torch.Tensor:
    return torch.randn(64, 1, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", list(DIFFUSIONS))
def test_every_sampler_is_finite_on_every_schedule_and_grid(name: str, grid: str, gaussian: GaussianData) -> None:
    path = build_path(DIFFUSIONS[name])
    for sampler, steps in itertools.product(STEPS, (1, 2, 7)):
        x = path.prior_std * noise(99)
        for state in trajectory(Sampling(sampler=sampler), levels(path, steps, grid), gaussian.denoise, x, noise):
            assert state.x.isfinite().all(), (sampler, steps)
            assert state.x.dtype == torch.float32
            # Two steps across all noise levels extrapolate far, whoever takes them.
            assert steps < 7 or state.x.abs().max() < 10 * path.prior_std, (sampler, steps)


@pytest.mark.parametrize("name", list(DIFFUSIONS))
@pytest.mark.parametrize("sampler", list(STEPS))
def test_every_sampler_lands_on_the_data_points(sampler: Sampler, name: str, finite: FiniteData) -> None:
    path = build_path(DIFFUSIONS[name])
    x = sample(Sampling(sampler=sampler), levels(path, 60, "quadratic"), finite.denoise, path.prior_std * noise(99), noise)
    assert finite.distance(x).max() < 0.01
    assert len({round(float(value), 1) for value in x}) == len(finite.points), "all of the points are reached"


@pytest.mark.parametrize("name", ["linear", "zero-snr", "rectified-flow", "ve"])
@pytest.mark.parametrize(
    "spec",
    [
        *(Sampling(sampler=sampler) for sampler in STEPS),
        Sampling(sampler="ddim", eta=0.5),
        Sampling(sampler="edm-stochastic", churn=0.0),
    ],
    ids=lambda spec: f"{spec.sampler}-{spec.eta}-{spec.churn}",
)
def test_noise_is_asked_for_once_per_step_and_only_where_it_is_used(spec: Sampling, name: str, gaussian: GaussianData) -> None:
    path, asked = build_path(DIFFUSIONS[name]), []

    def listen(step: int) -> torch.Tensor:
        asked.append(step)
        return noise(step)

    grid = levels(path, 20)
    sample(spec, grid, gaussian.denoise, path.prior_std * noise(99), listen)
    if spec.sampler in STOCHASTIC or spec.eta > 0:
        assert asked == list(range(19))
    elif spec.sampler == "edm-stochastic" and spec.churn > 0:
        ratios = [level.sigma / max(level.alpha, 1e-12) for level in grid[:-1]]
        assert asked == [step for step, at in enumerate(ratios) if 0.05 <= at <= 50]
        assert 0 < len(asked) < 20
    else:
        assert asked == []


@pytest.mark.parametrize("sampler", list(STEPS))
def test_a_step_asks_the_network_once_or_twice_and_the_step_to_data_once(sampler: Sampler, gaussian: GaussianData) -> None:
    asked: list[float] = []

    def listen(x: torch.Tensor, at: Level) -> Estimate:
        asked.append(at.time)
        return gaussian.denoise(x, at)

    path = build_path(DIFFUSIONS["rectified-flow"])
    sample(Sampling(sampler=sampler), levels(path, 10), listen, noise(99), noise)
    assert len(asked) == (19 if sampler in TWICE else 10)
    assert min(asked) > 0, "no network is asked about data"


@pytest.mark.parametrize("sampler", list(STEPS))
def test_the_step_to_data_returns_the_clean_example_in_range(sampler: Sampler) -> None:
    for name in ("linear", "vp-linear", "rectified-flow", "ve"):
        diffusion, path = DIFFUSIONS[name], build_path(DIFFUSIONS[name])
        ask = denoiser(diffusion, Sampling(sampler="ddim"), lambda x, c, _: 3 * x.cos(), condition=None, null=None)
        *_, last = trajectory(Sampling(sampler=sampler), levels(path, 7), ask, path.prior_std * noise(99), noise)
        assert torch.equal(last.x, last.x0)
        assert last.x.abs().max() <= 1


def test_added_noise_needs_levels_that_know_their_path(gaussian: GaussianData) -> None:
    grid = list(levels(build_path(DIFFUSIONS["ve"]), 10))
    with pytest.raises(ValueError, match=r"grids\.levels"):
        sample(Sampling(sampler="edm-stochastic"), grid, gaussian.denoise, 80 * noise(99), noise)
