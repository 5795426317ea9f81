"""Predictions: one meaning however it is parameterised, weights that agree, arithmetic never in half precision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.diffusion.loss import per_image_loss
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.predictions import Prediction, target, to_eps, to_x0
from ddpm_exp.spec.diffusion import Diffusion

PREDICTIONS: tuple[Prediction, ...] = ("eps", "x0", "v", "score")
X0_FACTOR = {
    "eps": lambda a, s: s**2 / a**2,
    "x0": lambda a, s: 1.0,
    "v": lambda a, s: (s / (a**2 + s**2)) ** 2,
    "score": lambda a, s: s**4 / a**2,
}
"""|x0 - x0^|^2 as a multiple of the squared error of each prediction."""


def images(seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(4, 2, 3, 3, generator=generator, dtype=dtype) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@given(angle=st.floats(0.02, 1.55), scale=st.floats(0.2, 3.0), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_every_prediction_gives_back_image_and_noise(prediction: Prediction, angle: float, scale: float, seed: int) -> None:
    x0, eps = images(seed)
    alpha, sigma = scale * math.cos(angle), scale * math.sin(angle)
    x = add_noise(x0, eps, alpha, sigma)
    output = target(prediction, x0, eps, alpha, sigma)
    torch.testing.assert_close(to_x0(prediction, output, x, alpha, sigma), x0, atol=1e-6, rtol=0)
    torch.testing.assert_close(to_eps(prediction, output, x, alpha, sigma), eps, atol=1e-6, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@given(angle=st.floats(0.02, 1.55), scale=st.floats(0.2, 3.0), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_squared_errors_are_the_same_number_in_every_space(prediction: Prediction, angle: float, scale: float, seed: int) -> None:
    (x0, eps), (wrong, _) = images(seed), images(seed + 1)
    alpha, sigma = scale * math.cos(angle), scale * math.sin(angle)
    x = add_noise(x0, eps, alpha, sigma)
    right = target(prediction, x0, eps, alpha, sigma)
    output = right + 0.1 * wrong
    expected = (x0 - to_x0(prediction, output, x, alpha, sigma)).square().sum()
    found = X0_FACTOR[prediction](alpha, sigma) * (right - output).square().sum()
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_the_simple_loss_weighs_x0_by_snr_by_one_or_by_snr_plus_one(prediction: Prediction) -> None:
    path = build_path(Diffusion(prediction=prediction))  # type: ignore[arg-type]
    (x0, eps), (wrong, _) = images(0), images(1)
    t = torch.tensor([1, 250, 600, 1000])
    alpha, sigma = (coefficient.double() for coefficient in path.at(t))
    output = target(prediction, x0, eps, alpha, sigma) + wrong
    loss = per_image_loss(Diffusion(prediction=prediction), output, x0, eps, alpha, sigma)  # type: ignore[arg-type]
    x = add_noise(x0, eps, alpha, sigma)
    in_x0 = (to_x0(prediction, output, x, alpha, sigma) - x0).square().flatten(1).mean(1)
    snr = alpha**2 / sigma**2
    weight = {"eps": snr, "x0": torch.ones_like(snr), "v": snr + 1}[prediction]
    torch.testing.assert_close(loss, weight * in_x0, rtol=1e-4, atol=0)


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_losses_are_finite_at_pure_noise_and_near_data(prediction: Prediction) -> None:
    spec = Diffusion(prediction=prediction, zero_terminal_snr=True)  # type: ignore[arg-type]
    x0, eps = images(0, torch.float32)
    alpha, sigma = build_path(spec).at(torch.tensor([0, 1, 999, 1000]))
    loss = per_image_loss(spec, torch.zeros_like(x0), x0, eps, alpha, sigma)
    x = add_noise(x0, eps, alpha, sigma)
    assert loss.isfinite().all()
    assert to_x0(prediction, torch.ones_like(x0), x, alpha, sigma).isfinite().all()


def test_the_loss_of_an_image_is_its_own() -> None:
    spec = Diffusion()
    x0, eps = images(0, torch.float32)
    alpha, sigma = build_path(spec).at(torch.tensor([1, 10, 100, 1000]))
    output = torch.zeros_like(x0)
    whole = per_image_loss(spec, output, x0, eps, alpha, sigma)
    assert whole.shape == (4,)
    torch.testing.assert_close(whole, eps.square().flatten(1).mean(1))
    halves = [per_image_loss(spec, output[i], x0[i], eps[i], alpha[i], sigma[i]) for i in (slice(0, 2), slice(2, 4))]
    assert torch.equal(whole, torch.cat(halves))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_half_precision_outputs_are_converted_in_float32(prediction: Prediction, half: torch.dtype) -> None:
    path = build_path(Diffusion())
    x0, eps = images(0, torch.float32)
    alpha, sigma = path.at(torch.tensor([1, 10, 100, 900]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = add_noise(x0, eps, alpha, sigma)
        output = target(prediction, x0, eps, alpha, sigma).to(half)
        x0_found, eps_found = (to(prediction, output, x, alpha, sigma) for to in (to_x0, to_eps))
    assert x.dtype == x0_found.dtype == eps_found.dtype == torch.float32
    assert torch.equal(x0_found, to_x0(prediction, output.float(), x, alpha, sigma))
    assert torch.equal(eps_found, to_eps(prediction, output.float(), x, alpha, sigma))
    loss = per_image_loss(Diffusion(), output, x0.to(half), eps.to(half), alpha, sigma)
    assert loss.dtype == torch.float32
