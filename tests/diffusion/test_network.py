"""Asking a network: EDM's preconditioning by its formulas, the input scaled on ve alone, a learned variance split off."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddpm_exp.diffusion.levels import Coefficients
from ddpm_exp.diffusion.network import asked, edm, network_target
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.predictions import target
from ddpm_exp.spec.diffusion import Diffusion

EDM = Diffusion(schedule="ve", prediction="x0", preconditioning="edm", weight="edm")


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(log_sigma=st.floats(math.log(0.002), math.log(80)), sigma_data=st.floats(0.1, 2), seed=st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_the_network_under_edm_learns_minus_v_of_scaled_data(log_sigma: float, sigma_data: float, seed: int) -> None:
    x0, eps, sigma = normal(seed, 4, 3), normal(seed + 1, 4, 3), math.exp(log_sigma)
    angle = math.atan(sigma / sigma_data)
    at = Coefficients(torch.tensor([math.cos(angle)] * 4).double(), torch.tensor([math.sin(angle)] * 4).double())
    expected = -target("v", x0 / sigma_data, eps, at)
    torch.testing.assert_close(network_target(x0, x0 + sigma * eps, sigma, sigma_data), expected, rtol=1e-6, atol=1e-6)


def test_edm_has_its_published_formulas() -> None:
    s, sd = 3.0, 0.5
    assert edm(s, sd) == pytest.approx((sd**2 / (s**2 + sd**2), s * sd / math.sqrt(s**2 + sd**2), 1 / math.sqrt(s**2 + sd**2)))


def test_under_edm_the_networks_input_and_target_have_unit_variance() -> None:
    count = 200_000
    x0, eps = 0.5 * normal(0, count), normal(1, count)
    for sigma in (0.002, 0.5, 80.0):
        x = x0 + sigma * eps
        assert float((edm(sigma, 0.5).c_in * x).std()) == pytest.approx(1, abs=0.01)
        assert float(network_target(x0, x, sigma, 0.5).std()) == pytest.approx(1, abs=0.01)


def test_a_network_that_hits_its_target_gives_x0_back() -> None:
    x0, eps = normal(0, 3, 2, 4, 4), normal(1, 3, 2, 4, 4)
    path = build_path(EDM)
    at, t = path.exact(torch.tensor([0.1, 0.5, 1.0])), torch.tensor([0.1, 0.5, 1.0])
    x = add_noise(x0, eps, at)
    seen = []

    def network(x_in: Tensor, c_noise: Tensor, condition: Any) -> Tensor:
        seen.append((x_in, c_noise, condition))
        return network_target(x0, x, at.sigma.view(-1, 1, 1, 1), 0.5)

    condition = {"class": torch.zeros(3, dtype=torch.long)}
    output = asked(EDM, network, x, at, path.c_noise(t), condition)
    torch.testing.assert_close(output.value, x0, rtol=1e-6, atol=1e-6)
    ((x_in, c_noise, passed),) = seen
    torch.testing.assert_close(x_in, x / (at.sigma**2 + 0.25).sqrt().view(-1, 1, 1, 1))
    assert torch.equal(c_noise, path.c_noise(t)) and passed is condition and output.variance is None


@pytest.mark.parametrize("schedule", ["linear", "cosine", "vp-linear", "vp-cosine", "rectified-flow", "ve"])
def test_only_on_ve_is_the_networks_input_scaled(schedule: Any) -> None:
    spec = Diffusion(schedule=schedule, prediction="v")
    path, x = build_path(spec), 3 * normal(0, 2, 5).float()
    t = torch.tensor([1, 900]) if path.discrete else torch.tensor([0.1, 0.9])
    output = asked(spec, lambda x, c_noise, condition: x, x, path.at(t), path.c_noise(t), None)
    if schedule == "ve":
        torch.testing.assert_close(output.value, x / (path.at(t).sigma ** 2 + 0.25).sqrt()[:, None])
        level = path.level(0.9)
        single = asked(spec, lambda x, c_noise, condition: x, x, level, path.c_noise(t), None)
        torch.testing.assert_close(single.value[1], output.value[1])
    else:
        assert torch.equal(output.value, x)


@pytest.mark.parametrize("shape", [(3, 4, 4), (6,), (2, 8)])
def test_a_learned_variance_is_the_second_half_of_the_channels(shape: tuple[int, ...]) -> None:
    spec = Diffusion(learned_variance=True)
    path, x, t = build_path(spec), normal(0, 2, *shape).float(), torch.tensor([1, 900])
    output = asked(spec, lambda x, c, condition: torch.cat([x, 2 * x], dim=1), x, path.at(t), path.c_noise(t), None)
    assert output.variance is not None
    assert torch.equal(output.value, x) and torch.equal(output.variance, 2 * x)


@pytest.mark.parametrize("spec", [Diffusion(), Diffusion(learned_variance=True), EDM])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_networks_answer_in_float32(spec: Diffusion, half: torch.dtype) -> None:
    path, x = build_path(spec), normal(0, 2, 4).float()
    t = torch.tensor([1, 900]) if path.discrete else torch.tensor([0.1, 0.9])
    output = asked(spec, lambda x, c, condition: x.to(half), x, path.at(t), path.c_noise(t), None)
    assert all(part.dtype == torch.float32 for part in output if part is not None)
