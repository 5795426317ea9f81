"""Weights: one number in x0 space whatever is predicted, the published forms, finite at both ends of every path."""

from __future__ import annotations

import itertools
import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ddpm_exp.diffusion.network import edm
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.paths import Path, build_path
from ddpm_exp.diffusion.predictions import Prediction, target, to_x0
from ddpm_exp.diffusion.weights import build_weight, loss_weight, x0_weight
from ddpm_exp.spec.diffusion import Diffusion

SCHEDULES = ["linear", "scaled-linear", "cosine", "sigmoid", "vp-linear", "vp-cosine", "rectified-flow", "ve"]
WEIGHTS = ["elbo", "snr", "truncated-snr", "min-snr", "soft-min-snr", "p2"]


def spec_of(**fields: Any) -> Diffusion | None:
    """The spec, or None where it is refused."""
    try:
        return Diffusion(**fields)
    except ValidationError:
        return None


def times(path: Path, shares: list[float]) -> torch.Tensor:
    t = path.first + (path.last - path.first) * torch.tensor(shares, dtype=torch.float64)
    return t.round().long() if path.discrete else t


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("weight", WEIGHTS)
@given(shares=st.lists(st.floats(0.001, 0.99), min_size=3, max_size=3), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_the_weighted_loss_is_the_same_number_for_every_prediction(
    schedule: str, weight: str, shares: list[float], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0, eps, wrong = (torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(3))
    for prediction in get_args(Prediction):
        spec = spec_of(schedule=schedule, prediction=prediction, weight=weight)
        if spec is None:
            continue
        path = build_path(spec)
        t = times(path, shares)
        at, x = path.exact(t), add_noise(x0, eps, path.exact(t))
        right = target(prediction, x0, eps, at)
        x0_error = (to_x0(prediction, right + wrong, x, at) - x0).square().mean(1)
        loss = loss_weight(spec, path, t) * wrong.square().mean(1)
        torch.testing.assert_close(loss, x0_weight(spec, path, t) * x0_error, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("weight", [*WEIGHTS, "edm"])
def test_weights_are_finite_at_both_ends(schedule: str, weight: str) -> None:
    for prediction, zero in itertools.product(get_args(Prediction), (False, True)):
        spec = spec_of(
            schedule=schedule,
            prediction=prediction,
            weight=weight,
            zero_terminal_snr=zero,
            preconditioning="edm" if schedule == "ve" and prediction == "x0" else "none",
        )
        if spec is None:
            continue
        path = build_path(spec)
        ends = times(path, [0.0, 1e-3, 0.5, 0.999, 1.0])
        built = build_weight(spec, path, "cpu")
        assert built is not None
        found = built(ends if path.discrete else ends.float())
        assert found.dtype == torch.float32
        assert found.isfinite().all() and (found >= 0).all()
        assert (found[1:-1] > 0).all()


def test_simple_multiplies_by_nothing() -> None:
    assert build_weight(Diffusion(), build_path(Diffusion()), "cpu") is None


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_min_snr_has_its_published_form_in_each_space(prediction: Any) -> None:
    spec = Diffusion(prediction=prediction, weight="min-snr", snr_gamma=5.0)
    path = build_path(spec)
    t = torch.arange(1, 1001)
    at = path.exact(t)
    snr = at.alpha**2 / at.sigma**2
    least = snr.clamp(max=5.0)
    expected = {"eps": least / snr, "x0": least, "v": least / (snr + 1)}[prediction]
    torch.testing.assert_close(loss_weight(spec, path, t), expected)


def test_the_other_weights_have_their_published_forms() -> None:
    path = build_path(Diffusion())
    t = torch.arange(1, 1001)
    at = path.exact(t)
    snr = at.alpha**2 / at.sigma**2
    forms = {
        "snr": torch.ones_like(snr),
        "truncated-snr": snr.clamp(min=1) / snr,
        "soft-min-snr": 5 / (snr + 5),
        "p2": 1 / (1 + snr),
    }
    for weight, in_eps in forms.items():
        torch.testing.assert_close(loss_weight(Diffusion(weight=weight), path, t), in_eps)  # type: ignore[arg-type]
    half = Diffusion(weight="p2", p2_gamma=0.5, p2_k=2.0)
    torch.testing.assert_close(loss_weight(half, path, t), (2 + snr) ** -0.5)


def test_the_elbo_weight_in_eps_space_is_ddpms() -> None:
    # beta_t^2 / (2 variance alpha_t (1 - abar_t)) with per-step beta and alpha = 1 - beta (Ho et al. 2020, eq. 12).
    spec = Diffusion(weight="elbo")
    path = build_path(spec)
    bars = [path.level(t).alpha ** 2 for t in range(1001)]
    for t in (2, 10, 500, 1000):
        beta = 1 - bars[t] / bars[t - 1]
        small = beta * (1 - bars[t - 1]) / (1 - bars[t])
        expected = beta**2 / (2 * small * (1 - beta) * (1 - bars[t]))
        assert float(loss_weight(spec, path, torch.tensor([t]))) / 1000 == pytest.approx(expected, rel=1e-9)


def test_the_first_elbo_weight_is_the_decoders() -> None:
    spec = Diffusion(weight="elbo", prediction="x0")
    path = build_path(spec)
    one, two = path.level(1), path.level(2)
    beta = 1 - (two.alpha / one.alpha) ** 2
    variance = beta * one.sigma**2 / two.sigma**2
    assert float(loss_weight(spec, path, torch.tensor([1]))) == pytest.approx(1000 / (2 * variance), rel=1e-9)


@pytest.mark.parametrize("schedule", ["vp-linear", "vp-cosine", "rectified-flow", "ve"])
def test_the_elbo_weight_on_real_times_is_the_falling_of_the_snr(schedule: Any) -> None:
    spec = Diffusion(schedule=schedule, prediction="x0", weight="elbo")
    path = build_path(spec)
    t = torch.linspace(0.05, 0.95, 20, dtype=torch.float64, requires_grad=True)
    at = path.exact(t)
    (slope,) = torch.autograd.grad((at.alpha**2 / at.sigma**2).sum(), t)
    torch.testing.assert_close(loss_weight(spec, path, t.detach()), -slope / 2)


def test_the_elbo_of_many_whole_times_is_that_of_real_ones() -> None:
    discrete = Diffusion(timesteps=4000, beta_start=0.1 / 4000, beta_end=20 / 4000, prediction="x0", weight="elbo")
    real = Diffusion(schedule="vp-linear", prediction="x0", weight="elbo")
    t = torch.tensor([400, 2000, 3600])
    whole = loss_weight(discrete, build_path(discrete), t)
    torch.testing.assert_close(whole, loss_weight(real, build_path(real), t / 4000), rtol=0.02, atol=0)


@given(log_sigma=st.floats(math.log(0.002), math.log(80)), sigma_data=st.floats(0.1, 2))
@settings(max_examples=50, deadline=None)
def test_edms_weight_undoes_its_output_scale(log_sigma: float, sigma_data: float) -> None:
    spec = Diffusion(schedule="ve", prediction="x0", preconditioning="edm", weight="edm", sigma_data=sigma_data)
    path = build_path(spec)
    t = torch.tensor([min(max((log_sigma - math.log(0.002)) / math.log(40_000), path.first), 1.0)], dtype=torch.float64)
    c_out = edm(path.exact(t).sigma, sigma_data).c_out
    torch.testing.assert_close(loss_weight(spec, path, t) * c_out**2, torch.ones(1, dtype=torch.float64))
