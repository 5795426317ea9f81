"""Samplers on Gaussian data, where the ideal denoiser, the flow and every moment are known exactly."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from ddpm_exp.diffusion.paths import DiscretePath, build_path
from ddpm_exp.diffusion.samplers import Denoise, denoiser, sample, transition
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

SPECS = [Diffusion(), Diffusion(schedule="cosine"), Diffusion(prediction="v", zero_terminal_snr=True)]


def ideal(gaussian: Any, path: DiscretePath, prediction: Any) -> Denoise:
    network = gaussian.network(path, prediction)
    return denoiser(network, path, prediction, clip_x0=False, condition=None, null=None, guidance_scale=1.0)


def silent(step: int) -> torch.Tensor:
    raise AssertionError("deterministic sampling asked for noise")


@pytest.mark.parametrize("diffusion", SPECS)
def test_ddim_follows_the_probability_flow_to_first_order(gaussian: Any, diffusion: Diffusion) -> None:
    diffusion = diffusion.but(timesteps=8000, beta_start=1e-4 / 8, beta_end=0.02 / 8)
    path = build_path(diffusion)
    x = torch.linspace(-2, 2, 5, dtype=torch.float64).view(-1, 1, 1, 1)
    alpha, sigma, _ = path.level(diffusion.timesteps)
    exact = gaussian.flow_end(x, alpha, sigma)
    ask = ideal(gaussian, path, diffusion.prediction)
    errors = [float((sample(Sampling(steps=n), path, ask, x, silent) - exact).abs().max()) for n in (100, 200, 400)]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders == pytest.approx([1.0, 1.0], abs=0.15)
    assert errors[-1] < 0.02


def test_ddim_is_the_euler_step_in_sigma_over_alpha(gaussian: Any) -> None:
    path = build_path(Diffusion())
    x, (t, s) = torch.linspace(-2, 2, 5, dtype=torch.float64).view(-1, 1, 1, 1), (700, 500)
    here, there = path.level(t), path.level(s)
    _, eps = ideal(gaussian, path, "eps")(x, t)
    euler = x / here.alpha + (there.sigma / there.alpha - here.sigma / here.alpha) * eps
    move = transition(Sampling(), path, t, s)
    stepped = move.x0 * (x - here.sigma * eps) / here.alpha + move.eps * eps
    torch.testing.assert_close(stepped, there.alpha * euler, atol=1e-12, rtol=0)


def drawn_moments(gaussian: Any, spec: Sampling, path: DiscretePath) -> tuple[float, float]:
    """Mean and deviation of what the sampler draws, without chance: it is affine in x and in every z, so that one
    batch of unit impulses yields all of its coefficients."""
    rows = spec.steps + 2

    def impulse(index: int) -> torch.Tensor:
        one = torch.zeros(rows, 1, 1, 1, dtype=torch.float64)
        one[index] = 1
        return one

    ends = sample(spec, path, ideal(gaussian, path, "eps"), impulse(1), lambda step: impulse(step + 2)).flatten()
    return float(ends[0]), float((ends[1:] - ends[0]).square().sum().sqrt())


def recursed_moments(gaussian: Any, spec: Sampling, path: DiscretePath) -> tuple[float, float]:
    """The same by the DDPM posterior, moment by moment (Ho et al. 2020, eq. 7, between any two times)."""
    mean, variance = 0.0, 1.0
    for t, s in path.pairs(spec.steps):
        (alpha, sigma, _), (alpha_s, sigma_s, _) = path.level(t), path.level(s)
        gain = alpha * gaussian.deviation**2 / (alpha**2 * gaussian.deviation**2 + sigma**2)
        a = alpha / alpha_s
        forward = sigma**2 - a**2 * sigma_s**2
        of_x, of_x0 = a * sigma_s**2 / sigma**2, alpha_s * forward / sigma**2
        slope = of_x + of_x0 * gain
        noise = 0.0 if s == 0 else forward * (1.0 if spec.variance == "large" else sigma_s**2 / sigma**2)
        mean = slope * mean + of_x0 * gaussian.mean * (1 - gain * alpha)
        variance = slope**2 * variance + noise
    return mean, math.sqrt(variance)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("steps", [10, 125, 1000])
def test_ancestral_sampling_has_exactly_the_moments_of_its_recursion(
    gaussian: Any, steps: int, variance: Any, schedule: Any
) -> None:
    path = build_path(Diffusion(schedule=schedule))
    spec = Sampling(sampler="ddpm", steps=steps, variance=variance)
    assert drawn_moments(gaussian, spec, path) == pytest.approx(recursed_moments(gaussian, spec, path), rel=1e-8, abs=1e-8)


def test_a_thousand_small_variance_steps_draw_slightly_too_narrowly(gaussian: Any) -> None:
    # The reason why ancestral samples are never compared with the data's own deviation, 0.4.
    _, deviation = drawn_moments(gaussian, Sampling(sampler="ddpm", steps=1000), build_path(Diffusion()))
    assert deviation == pytest.approx(0.3962, abs=5e-5)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("spec", [Sampling(steps=20), Sampling(sampler="ddpm", steps=20)])
def test_samples_do_not_depend_on_what_the_ideal_network_predicts(gaussian: Any, spec: Sampling, prediction: Any) -> None:
    path = build_path(Diffusion())
    x = torch.linspace(-2, 2, 5, dtype=torch.float64).view(-1, 1, 1, 1)
    found, expected = (sample(spec, path, ideal(gaussian, path, kind), x, lambda step: x.flip(0)) for kind in (prediction, "eps"))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
