"""DDIM and ancestral steps: one transition for both, consistent after clipping, bit for bit what recorded runs drew."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from support.known_data import DIFFUSIONS, GaussianData

from ddpm_exp.diffusion.ancestral import transition
from ddpm_exp.diffusion.denoiser import denoiser
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.samplers import Denoise, Estimate, moves, sample, trajectory
from ddpm_exp.diffusion.variance import variances
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

ANCESTRAL = Sampling(sampler="ddpm", steps=1000)
SPECS = [
    Sampling(sampler="ddim", steps=20),
    Sampling(sampler="ddim", steps=20, eta=0.5),
    Sampling(sampler="ddim", steps=20, eta=1.0),
    Sampling(sampler="ddpm", steps=20),
    Sampling(sampler="ddpm", steps=20, variance="large"),
]
SHORT = Diffusion(timesteps=50, beta_end=0.2)


def noise(step: int) -> torch.Tensor:
    return torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(step))


def silent(step: int) -> torch.Tensor:
    raise AssertionError("a step without noise asked for it")


def plain(diffusion: Diffusion, network: Any, *, clip_x0: bool = True) -> Denoise:
    return denoiser(diffusion, Sampling(sampler="ddim", clip_x0=clip_x0), network, condition=None, null=None)


def drawn(spec: Sampling, diffusion: Diffusion, network: Any, *, clip_x0: bool = True, noise: Any = noise) -> torch.Tensor:
    grid = levels(build_path(diffusion), spec.steps, spec.grid)
    return sample(spec, grid, plain(diffusion, network, clip_x0=clip_x0), globals()["noise"](99), noise)


def in_x(spec: Sampling, t: Level, s: Level) -> tuple[float, float, float]:
    """A transition as coefficients of x0, of x_t and of z, eps being (x_t - alpha x0) / sigma."""
    move = transition(spec, t, s)
    return move.x0 - move.eps * t.alpha / t.sigma, move.eps / t.sigma, move.noise


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_ancestral_steps_have_the_ddpm_posterior(schedule: Any) -> None:
    path = build_path(Diffusion(schedule=schedule))
    if schedule == "linear":
        betas = np.linspace(1e-4, 0.02, 1000)
    else:
        f = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - f[1:] / f[:-1], 0.999)
    bars = np.concatenate([[1.0], np.cumprod(1 - betas)])
    for t in (2, 3, 10, 500, 998, 999, 1000):
        beta, bar, before = betas[t - 1], bars[t], bars[t - 1]
        ends = path.level(t), path.level(t - 1)
        small, large = (in_x(ANCESTRAL.but(variance=variance), *ends) for variance in ("small", "large"))
        # Ho et al. 2020, eq. 7.
        expected = (np.sqrt(before) * beta / (1 - bar), np.sqrt(1 - beta) * (1 - before) / (1 - bar))
        assert small[:2] == pytest.approx(expected, rel=1e-7, abs=1e-12)
        assert large[:2] == small[:2]
        assert small[2] ** 2 == pytest.approx(beta * (1 - before) / (1 - bar), rel=1e-7)
        assert large[2] ** 2 == pytest.approx(beta, rel=1e-7)


@pytest.mark.parametrize("name", list(DIFFUSIONS))
@pytest.mark.parametrize("steps", [1000, 300, 7])
def test_ddim_with_all_its_noise_is_ancestral_sampling(name: str, steps: int) -> None:
    for t, s in itertools.pairwise(levels(build_path(DIFFUSIONS[name]), steps)):
        ddim = transition(Sampling(sampler="ddim", eta=1.0), t, s)
        assert ddim == transition(Sampling(sampler="ddpm"), t, s)
        assert ddim[:2] == transition(Sampling(sampler="ddpm", variance="large"), t, s)[:2]


@pytest.mark.parametrize("name", ["cosine", "zero-snr", "rectified-flow", "ve"])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_transitions_keep_the_paths_marginals(eta: float, name: str) -> None:
    # From the true x0 and eps a step must land on alpha_s x0 + sigma_s (something of unit variance).
    for t, s in list(itertools.pairwise(levels(build_path(DIFFUSIONS[name]), 50)))[:-1]:
        move = transition(Sampling(sampler="ddim", eta=eta), t, s)
        assert move.x0 == s.alpha
        assert move.eps**2 + move.noise**2 == pytest.approx(s.sigma**2, rel=1e-9)


@pytest.mark.parametrize(("said", "variance"), [(-1.0, "small"), (1.0, "large")])
def test_a_learned_variance_lies_between_the_two_others(said: float, variance: Any, gaussian: GaussianData) -> None:
    def learned(x: torch.Tensor, at: Level) -> Estimate:
        x0, eps, _ = gaussian.denoise(x, at)
        return Estimate(x0, eps, torch.full_like(x, said))

    grid = levels(build_path(Diffusion()), 20)
    ends = [
        sample(Sampling(sampler="ddpm", variance=kind), grid, ask, noise(99), noise)
        for kind, ask in (("learned", learned), (variance, gaussian.denoise))
    ]
    torch.testing.assert_close(*ends, atol=1e-5, rtol=0)


def test_a_learned_variance_of_zero_is_halfway_on_a_logarithmic_scale() -> None:
    t, s = levels(build_path(Diffusion()), 20)[3:5]
    still = Estimate(torch.zeros(4, 1, 6, 6), torch.zeros(4, 1, 6, 6), torch.zeros(4, 1, 6, 6))
    x = sample(Sampling(sampler="ddpm", variance="learned"), [t, s], lambda x, at: still, noise(0), noise)
    torch.testing.assert_close(x, math.prod(variances(t, s)) ** 0.25 * noise(0))


def test_a_learned_variance_that_is_not_said_is_refused(gaussian: GaussianData) -> None:
    with pytest.raises(ValueError, match="says a variance"):
        sample(Sampling(sampler="ddpm", variance="learned"), levels(build_path(SHORT), 5), gaussian.denoise, noise(0), noise)


def test_default_sampling_draws_what_recorded_runs_drew_bit_for_bit() -> None:
    # The first release's loop: trailing whole times, x0 clamped, eps derived again, DDIM's two coefficients in float64.
    def network(x: torch.Tensor, c_noise: torch.Tensor, condition: Any) -> torch.Tensor:
        return (x * 1.3 + c_noise.view(-1, 1, 1, 1) / 1000).sin()

    path, spec = build_path(Diffusion()), Sampling(sampler="ddim", steps=30)
    times = [(2 * 1000 * left + 30) // 60 for left in range(30, -1, -1)]
    x = noise(99)
    for t, s in itertools.pairwise(times):
        alpha, sigma = path.level(t)[1:3]
        x0 = ((x - sigma * network(x, x.new_full((4,), t - 1.0), None)) / alpha).clamp(-1.0, 1.0)
        x = x0 if s == 0 else path.level(s).alpha * x0 + path.level(s).sigma * ((x - alpha * x0) / sigma)
    assert torch.equal(drawn(spec, Diffusion(), network, noise=silent), x)


@pytest.mark.parametrize("spec", SPECS)
def test_the_last_step_returns_the_clean_image(spec: Sampling) -> None:
    ask, grid = plain(SHORT, lambda x, c, _: x.sin()), levels(build_path(SHORT), 20)
    states = list(trajectory(spec, grid, ask, noise(99), noise))
    assert len(states) == 20
    assert states[-1].level.time == 0
    assert torch.equal(states[-1].x, states[-1].x0)
    assert torch.equal(states[-1].x, sample(spec, grid, ask, noise(99), noise))


@pytest.mark.parametrize("spec", [spec.but(steps=1000) for spec in SPECS])
def test_cosine_schedule_samples_are_finite_and_in_range(spec: Sampling) -> None:
    # 1 / alpha is 2e4 at the last time: without the clamp a careless network's first step leaves the data by as much.
    diffusion = Diffusion(schedule="cosine")
    ask = plain(diffusion, lambda x, c, _: x.sin())
    for state in trajectory(spec, levels(build_path(diffusion), 1000), ask, noise(5000), noise):
        assert state.x.isfinite().all()
        assert state.x.abs().max() < 100
    assert state.x.abs().max() <= 1


@pytest.mark.parametrize("prediction", ["x0", "v"])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("spec", SPECS)
def test_zero_terminal_snr_samples_are_finite(spec: Sampling, clip: bool, prediction: Any) -> None:
    diffusion = Diffusion(prediction=prediction, zero_terminal_snr=True)
    assert drawn(spec, diffusion, lambda x, c, _: x.tanh(), clip_x0=clip).isfinite().all()


def test_sampling_is_float32_under_autocast_and_from_a_half_precision_network() -> None:
    seen: list[torch.Tensor] = []
    diffusion = SHORT.but(prediction="v")

    def network(x: torch.Tensor, c_noise: torch.Tensor, condition: Any) -> torch.Tensor:
        seen.append(x)
        return x.bfloat16() * 0.9

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = drawn(SPECS[1], diffusion, network, clip_x0=False)
    assert found.dtype == torch.float32
    assert all(x.dtype == torch.float32 for x in seen)
    assert torch.equal(found, drawn(SPECS[1], diffusion, lambda *asked: network(*asked).float(), clip_x0=False))


def test_sampling_builds_no_graph_for_gradients() -> None:
    weight = torch.ones((), requires_grad=True)
    assert not drawn(Sampling(sampler="ddim", steps=5), SHORT, lambda x, c, _: weight * x, noise=silent).requires_grad


def test_the_network_is_told_the_index_of_each_time() -> None:
    told: list[torch.Tensor] = []
    drawn(Sampling(sampler="ddim", steps=5), SHORT, lambda x, c, _: (told.append(c), x)[1], noise=silent)
    assert [c.tolist() for c in told] == [[float(t - 1)] * 4 for t in (50, 40, 30, 20, 10)]


def test_levels_that_do_not_fall_are_refused() -> None:
    grid = levels(build_path(SHORT), 5)
    with pytest.raises(ValueError, match="from noise to data"):
        moves([*grid[:3], grid[1]])
