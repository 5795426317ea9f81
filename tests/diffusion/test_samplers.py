"""Samplers: one transition for all of them, consistent after clipping, finite everywhere, ending at data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.samplers import denoiser, sample, trajectory, transition
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

ANCESTRAL = Sampling(sampler="ddpm", steps=1000)
SPECS = [
    Sampling(steps=20),
    Sampling(steps=20, eta=0.5),
    Sampling(steps=20, eta=1.0),
    Sampling(sampler="ddpm", steps=20),
    Sampling(sampler="ddpm", steps=20, variance="large"),
]


def noise(step: int) -> torch.Tensor:
    return torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(step))


def silent(step: int) -> torch.Tensor:
    raise AssertionError("a step without noise asked for it")


def in_x(spec: Sampling, diffusion: Diffusion, t: int, s: int) -> tuple[float, float, float]:
    """A transition as coefficients of x0, of x_t and of z, eps being (x_t - alpha x0) / sigma."""
    path = build_path(diffusion)
    move, (alpha, sigma, _) = transition(spec, path, t, s), path.level(t)
    return move.x0 - move.eps * alpha / sigma, move.eps / sigma, move.noise


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_ancestral_steps_have_the_ddpm_posterior(schedule: Any) -> None:
    diffusion = Diffusion(schedule=schedule)
    if schedule == "linear":
        betas = np.linspace(1e-4, 0.02, 1000)
    else:
        f = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - f[1:] / f[:-1], 0.999)
    bars = np.concatenate([[1.0], np.cumprod(1 - betas)])
    for t in (2, 3, 10, 500, 998, 999, 1000):
        beta, bar, before = betas[t - 1], bars[t], bars[t - 1]
        small, large = (in_x(ANCESTRAL.but(variance=variance), diffusion, t, t - 1) for variance in ("small", "large"))
        # Ho et al. 2020, eq. 7.
        expected = (np.sqrt(before) * beta / (1 - bar), np.sqrt(1 - beta) * (1 - before) / (1 - bar))
        assert small[:2] == pytest.approx(expected, rel=1e-7, abs=1e-12)
        assert large[:2] == small[:2]
        assert small[2] ** 2 == pytest.approx(beta * (1 - before) / (1 - bar), rel=1e-7)
        assert large[2] ** 2 == pytest.approx(beta, rel=1e-7)


@pytest.mark.parametrize(
    "diffusion", [Diffusion(), Diffusion(schedule="cosine"), Diffusion(prediction="v", zero_terminal_snr=True)]
)
@pytest.mark.parametrize("steps", [1000, 300, 7])
def test_ddim_with_all_its_noise_is_ancestral_sampling(diffusion: Diffusion, steps: int) -> None:
    path = build_path(diffusion)
    for t, s in path.pairs(steps):
        ddim = transition(Sampling(eta=1.0), path, t, s)
        assert ddim == transition(Sampling(sampler="ddpm"), path, t, s)
        assert ddim[:2] == transition(Sampling(sampler="ddpm", variance="large"), path, t, s)[:2]


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_transitions_keep_the_paths_marginals(eta: float) -> None:
    # From the true x0 and eps a step must land on alpha_s x0 + sigma_s (something of unit variance).
    path = build_path(Diffusion(schedule="cosine"))
    for t, s in path.pairs(50)[:-1]:
        move, there = transition(Sampling(eta=eta), path, t, s), path.level(s)
        assert move.x0 == there.alpha
        assert move.eps**2 + move.noise**2 == pytest.approx(there.sigma**2, rel=1e-9)


@pytest.mark.parametrize("spec", SPECS)
def test_the_last_step_returns_the_clean_image(spec: Sampling) -> None:
    path = build_path(Diffusion(timesteps=50))
    ask = denoiser(lambda x, c, _: x.sin(), path, "eps", clip_x0=True, condition=None, null=None, guidance_scale=1.0)
    states = list(trajectory(spec, path, ask, noise(99), noise))
    assert len(states) == 20
    assert states[-1].time == 0
    assert torch.equal(states[-1].x, states[-1].x0)
    assert torch.equal(states[-1].x, sample(spec, path, ask, noise(99), noise))


@pytest.mark.parametrize("spec", SPECS)
def test_noise_is_asked_for_by_step_and_only_where_it_is_used(spec: Sampling) -> None:
    path, asked = build_path(Diffusion(timesteps=50)), []

    def listen(step: int) -> torch.Tensor:
        asked.append(step)
        return noise(step)

    ask = denoiser(lambda x, c, _: x, path, "eps", clip_x0=True, condition=None, null=None, guidance_scale=1.0)
    sample(spec, path, ask, noise(99), listen)
    assert asked == ([] if spec.sampler == "ddim" and spec.eta == 0 else list(range(19)))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_after_clipping_image_and_noise_still_make_x(prediction: Any) -> None:
    path = build_path(Diffusion())
    x = 3 * noise(0)
    for t in (1, 20, 500, 1000):
        alpha, sigma, _ = path.level(t)
        clipped = denoiser(
            lambda x, c, _: 2 * x.cos(), path, prediction, clip_x0=True, condition=None, null=None, guidance_scale=1.0
        )
        x0, eps = clipped(x, t)
        assert x0.abs().max() <= 1
        torch.testing.assert_close(alpha * x0 + sigma * eps, x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spec", [spec.but(steps=1000) for spec in SPECS])
def test_cosine_schedule_samples_are_finite_and_in_range(spec: Sampling) -> None:
    # 1 / alpha is 2e4 at the last time: without the clamp a careless network's first step leaves the data by as much.
    path = build_path(Diffusion(schedule="cosine"))
    ask = denoiser(lambda x, c, _: x.sin(), path, "eps", clip_x0=True, condition=None, null=None, guidance_scale=1.0)
    for state in trajectory(spec, path, ask, noise(5000), noise):
        assert state.x.isfinite().all()
        assert state.x.abs().max() < 100
    assert state.x.abs().max() <= 1


@pytest.mark.parametrize("prediction", ["x0", "v"])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("spec", SPECS)
def test_zero_terminal_snr_samples_are_finite(spec: Sampling, clip: bool, prediction: Any) -> None:
    path = build_path(Diffusion(prediction=prediction, zero_terminal_snr=True))
    ask = denoiser(lambda x, c, _: x.tanh(), path, prediction, clip_x0=clip, condition=None, null=None, guidance_scale=1.0)
    assert sample(spec, path, ask, noise(99), noise).isfinite().all()


def test_sampling_is_float32_under_autocast_and_from_a_half_precision_network() -> None:
    path = build_path(Diffusion(timesteps=50))
    seen: list[torch.Tensor] = []

    def network(x: torch.Tensor, c_noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        seen.append(x)
        return x.bfloat16() * 0.9

    def widened(x: torch.Tensor, c_noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        return network(x, c_noise, condition).float()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        drawn = sample(SPECS[1], path, _plain(network, path), noise(99), noise)
    assert drawn.dtype == torch.float32
    assert all(x.dtype == torch.float32 for x in seen)
    assert torch.equal(drawn, sample(SPECS[1], path, _plain(widened, path), noise(99), noise))


def _plain(network: Any, path: Any) -> Any:
    return denoiser(network, path, "v", clip_x0=False, condition=None, null=None, guidance_scale=1.0)


def test_sampling_builds_no_graph_for_gradients() -> None:
    path, weight = build_path(Diffusion(timesteps=50)), torch.ones((), requires_grad=True)
    ask = _plain(lambda x, c, _: weight * x, path)
    assert not sample(Sampling(steps=5), path, ask, noise(0), silent).requires_grad


def test_the_network_is_told_the_index_of_each_time() -> None:
    path, told = build_path(Diffusion(timesteps=50)), []
    ask = _plain(lambda x, c, _: (told.append(c), x)[1], path)
    sample(Sampling(steps=5), path, ask, noise(0), silent)
    assert [c.tolist() for c in told] == [[float(t - 1)] * 4 for t in (50, 40, 30, 20, 10)]
