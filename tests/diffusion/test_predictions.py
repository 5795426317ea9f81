"""Predictions: one meaning however it is parameterised, on every path, and arithmetic never in half precision."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.diffusion.levels import Coefficients, Level
from ddpm_exp.diffusion.loss import squared_error
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.predictions import Prediction, target, to_eps, to_x0
from ddpm_exp.diffusion.weights import x0_error_per_error
from ddpm_exp.spec.diffusion import Diffusion

PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
SCHEDULES = ["linear", "scaled-linear", "cosine", "sigmoid", "vp-linear", "vp-cosine", "rectified-flow", "ve"]

levels = st.builds(
    lambda angle, scale, turn: Level(
        0.5, scale * math.cos(angle), scale * math.sin(angle), 0.0, -math.sin(angle) * turn, math.cos(angle) * turn
    ),
    angle=st.floats(0.02, 1.55),
    scale=st.floats(0.2, 3.0),
    turn=st.floats(0.1, 10.0),
)
"""Levels on no path in particular, moving away from the data."""


def images(seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(4, 2, 3, 3, generator=generator, dtype=dtype) for _ in range(2))  # type: ignore[return-value]


def levels_of(schedule: str, shares: list[float]) -> Coefficients:
    """float64 coefficients inside a path, by share of the way from its first time to its last."""
    path = build_path(Diffusion(schedule=schedule, prediction="v"))  # type: ignore[arg-type]
    t = path.first + (path.last - path.first) * torch.tensor(shares, dtype=torch.float64)
    return path.exact(t.round().long() if path.discrete else t)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@given(level=levels, seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_every_prediction_gives_back_image_and_noise(prediction: Prediction, level: Level, seed: int) -> None:
    x0, eps = images(seed)
    x = add_noise(x0, eps, level)
    output = target(prediction, x0, eps, level)
    torch.testing.assert_close(to_x0(prediction, output, x, level), x0, atol=1e-6, rtol=0)
    torch.testing.assert_close(to_eps(prediction, output, x, level), eps, atol=1e-6, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@given(shares=st.lists(st.floats(0.001, 0.99), min_size=4, max_size=4), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_predictions_round_trip_on_every_path(prediction: Prediction, schedule: str, shares: list[float], seed: int) -> None:
    x0, eps = images(seed)
    at = levels_of(schedule, shares)
    if prediction == "velocity" and at.d_alpha is None:
        with pytest.raises(ValueError, match="derivative in time"):
            target(prediction, x0, eps, at)
        return
    x = add_noise(x0, eps, at)
    output = target(prediction, x0, eps, at)
    torch.testing.assert_close(to_x0(prediction, output, x, at), x0, atol=1e-6, rtol=0)
    torch.testing.assert_close(to_eps(prediction, output, x, at), eps, atol=1e-6, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@given(level=levels, seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_squared_errors_are_the_same_number_in_every_space(prediction: Prediction, level: Level, seed: int) -> None:
    (x0, eps), (wrong, _) = images(seed), images(seed + 1)
    x = add_noise(x0, eps, level)
    right = target(prediction, x0, eps, level)
    output = right + 0.1 * wrong
    expected = (x0 - to_x0(prediction, output, x, level)).square().sum()
    numbers = (level.alpha, level.sigma, level.d_alpha, level.d_sigma)
    factor = x0_error_per_error(prediction, Coefficients(*(torch.tensor([c], dtype=torch.float64) for c in numbers)))
    torch.testing.assert_close(factor[0] * (right - output).square().sum(), expected, rtol=1e-7, atol=1e-12)


def test_the_velocity_of_rectified_flow_is_noise_minus_image() -> None:
    x0, eps = images(0)
    at = levels_of("rectified-flow", [0.1, 0.4, 0.7, 0.9])
    torch.testing.assert_close(target("velocity", x0, eps, at), eps - x0)


def test_the_velocity_is_the_derivative_of_x_in_time() -> None:
    x0, eps = images(0)
    for schedule in ("vp-linear", "vp-cosine", "rectified-flow", "ve"):
        path = build_path(Diffusion(schedule=schedule, prediction="v"))  # type: ignore[arg-type]
        t, step = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64), 1e-6
        later, earlier = (add_noise(x0, eps, path.exact(t + sign * step)) for sign in (1, -1))
        difference = (later - earlier) / (2 * step)
        torch.testing.assert_close(target("velocity", x0, eps, path.exact(t)), difference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_the_simple_loss_weighs_x0_by_snr_by_one_or_by_snr_plus_one(prediction: Prediction) -> None:
    path = build_path(Diffusion(prediction=prediction))  # type: ignore[arg-type]
    (x0, eps), (wrong, _) = images(0), images(1)
    at = path.exact(torch.tensor([1, 250, 600, 1000]))
    output = target(prediction, x0, eps, at) + wrong
    loss = squared_error(prediction, output, x0, eps, at)
    x = add_noise(x0, eps, at)
    in_x0 = (to_x0(prediction, output, x, at) - x0).square().flatten(1).mean(1)
    snr = at.alpha**2 / at.sigma**2
    weight = {"eps": snr, "x0": torch.ones_like(snr), "v": snr + 1}[prediction]
    torch.testing.assert_close(loss, weight * in_x0, rtol=1e-9, atol=0)


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_losses_are_finite_at_pure_noise_and_near_data(prediction: Prediction) -> None:
    spec = Diffusion(prediction=prediction, zero_terminal_snr=True)  # type: ignore[arg-type]
    x0, eps = images(0, torch.float32)
    at = build_path(spec).at(torch.tensor([0, 1, 999, 1000]))
    assert squared_error(prediction, torch.zeros_like(x0), x0, eps, at).isfinite().all()
    assert to_x0(prediction, torch.ones_like(x0), add_noise(x0, eps, at), at).isfinite().all()


def test_the_loss_of_an_image_is_its_own() -> None:
    x0, eps = images(0, torch.float32)
    at = build_path(Diffusion()).at(torch.tensor([1, 10, 100, 1000]))
    output = torch.zeros_like(x0)
    whole = squared_error("eps", output, x0, eps, at)
    assert whole.shape == (4,)
    torch.testing.assert_close(whole, eps.square().flatten(1).mean(1))
    halves = [
        squared_error("eps", output[i], x0[i], eps[i], Coefficients(at.alpha[i], at.sigma[i])) for i in (slice(0, 2), slice(2, 4))
    ]
    assert torch.equal(whole, torch.cat(halves))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_half_precision_outputs_are_converted_in_float32(prediction: Prediction, half: torch.dtype) -> None:
    x0, eps = images(0, torch.float32)
    at = build_path(Diffusion(schedule="vp-linear")).at(torch.tensor([0.001, 0.01, 0.1, 0.9]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = add_noise(x0, eps, at)
        output = target(prediction, x0, eps, at).to(half)
        x0_found, eps_found = (to(prediction, output, x, at) for to in (to_x0, to_eps))
    assert x.dtype == x0_found.dtype == eps_found.dtype == torch.float32
    assert torch.equal(x0_found, to_x0(prediction, output.float(), x, at))
    assert torch.equal(eps_found, to_eps(prediction, output.float(), x, at))
    assert squared_error(prediction, output, x0.to(half), eps.to(half), at).dtype == torch.float32


@pytest.mark.parametrize("to", [to_x0, to_eps])
def test_a_velocity_without_derivatives_is_refused(to: object) -> None:
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="derivative in time"):
        to("velocity", x, x, build_path(Diffusion()).level(5))  # type: ignore[operator]
