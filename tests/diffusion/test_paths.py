"""Paths on whole times: the published constants, time 0 is data, exact levels between times."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from ddpm_exp.diffusion.paths import DATA, build_path
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.schedule import covered_log_snr

LINEAR, COSINE = Diffusion(), Diffusion(schedule="cosine")
TO_ZERO = Diffusion(prediction="v", zero_terminal_snr=True)
SCALED = Diffusion(schedule="scaled-linear", beta_start=0.00085, beta_end=0.012)
SIGMOID = Diffusion(schedule="sigmoid")
SPECS = [
    LINEAR,
    COSINE,
    TO_ZERO,
    SCALED,
    SIGMOID,
    SIGMOID.but(prediction="v", zero_terminal_snr=True),
    Diffusion(schedule="cosine", timesteps=200),
    Diffusion(timesteps=100),
]


def test_linear_schedule_has_its_published_constants() -> None:
    path = build_path(LINEAR)
    assert path.level(1).alpha ** 2 == pytest.approx(0.9999, rel=1e-12)
    assert path.level(1000).alpha ** 2 == pytest.approx(4.035830e-5, rel=1e-6)


def test_cosine_schedule_has_its_published_constants() -> None:
    path = build_path(COSINE)
    bars = [path.level(t).alpha ** 2 for t in range(1001)]
    assert bars[999] == pytest.approx(2.4288e-6, rel=1e-4)
    assert bars[1000] == pytest.approx(2.4288e-9, rel=1e-4)
    clipped = [t for t in range(1, 1001) if 1 - bars[t] / bars[t - 1] > 0.999 - 1e-9]
    assert clipped == [1000]


def test_scaled_linear_schedule_is_the_one_of_diffusers() -> None:
    theirs = DDPMScheduler(1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
    bars = [build_path(SCALED).level(t).alpha ** 2 for t in range(1, 1001)]
    np.testing.assert_allclose(bars, theirs.numpy(), rtol=1e-4)


@pytest.mark.parametrize(("start", "end", "tau"), [(-3.0, 3.0, 1.0), (0.0, 3.0, 0.9), (-3.0, 3.0, 1.1)])
def test_sigmoid_schedule_is_algorithm_1_of_jabri(start: float, end: float, tau: float) -> None:
    spec = Diffusion(schedule="sigmoid", sigmoid_start=start, sigmoid_end=end, sigmoid_tau=tau)
    v_start, v_end = expit(start / tau), expit(end / tau)
    gamma = (v_end - expit((np.linspace(0, 1, 1001) * (end - start) + start) / tau)) / (v_end - v_start)
    bars = [build_path(spec).level(t).alpha ** 2 for t in range(1001)]
    np.testing.assert_allclose(bars, np.clip(gamma, 1e-9, 1.0), rtol=1e-10)
    assert bars[1000] == pytest.approx(1e-9)


@pytest.mark.parametrize("spec", SPECS)
def test_time_zero_is_exact_data_and_noise_only_grows(spec: Diffusion) -> None:
    path = build_path(spec)
    alpha, sigma, *derivatives = path.at(torch.arange(spec.timesteps + 1))
    assert derivatives == [None, None]
    assert path.level(0) == DATA
    assert alpha[0] == 1 and sigma[0] == 0
    assert (alpha.diff() < 0).all() and (sigma.diff() >= 0).all()
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))


def test_zero_terminal_snr_ends_at_pure_noise_and_keeps_the_first_time() -> None:
    end = build_path(TO_ZERO).level(1000)
    assert (end.alpha, end.sigma) == (0.0, 1.0)
    assert build_path(TO_ZERO).at_log_snr(-math.inf) == end
    assert build_path(TO_ZERO).level(1).alpha == pytest.approx(build_path(LINEAR).level(1).alpha, rel=1e-12)


@pytest.mark.parametrize("spec", SPECS)
def test_coefficients_are_float32_correct_to_the_last_bit(spec: Diffusion) -> None:
    # 1 - float32(alpha_bar) would be off in the fourth digit at time 1; a schedule in bfloat16 would give 0.
    path = build_path(spec)
    alpha, sigma, _, _ = path.at(torch.arange(spec.timesteps + 1))
    assert alpha.dtype == sigma.dtype == torch.float32
    exact = np.array([(path.level(t).alpha, path.level(t).sigma) for t in range(spec.timesteps + 1)])
    assert np.array_equal(np.stack([alpha, sigma], 1), exact.astype(np.float32))
    assert (sigma[1:11] > 0).all()
    beta = 1 - path.level(1).alpha ** 2
    assert float(sigma[1]) == pytest.approx(math.sqrt(beta), rel=1e-7)


def test_the_network_is_told_indices_from_zero() -> None:
    path = build_path(LINEAR)
    assert path.c_noise(torch.tensor([1, 2, 1000])).tolist() == [0.0, 1.0, 999.0]
    assert path.c_noise(torch.tensor([1])).dtype == torch.float32
    assert path.level(1000).c_noise == 999.0


@pytest.mark.parametrize("spec", SPECS)
def test_a_level_at_a_time_of_the_path_is_that_time(spec: Diffusion) -> None:
    path = build_path(spec)
    last = spec.timesteps - 1 if spec.zero_terminal_snr else spec.timesteps
    for t in (1, 2, 3, spec.timesteps // 2, last):
        level = path.level(t)
        low, high = covered_log_snr(spec)
        found = path.at_log_snr(min(max(2 * math.log(level.alpha / level.sigma), low), high))
        assert found[:4] == pytest.approx(level[:4], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("spec", SPECS)
@given(levels=st.lists(st.floats(0, 1), min_size=2, max_size=8, unique=True))
@settings(max_examples=25, deadline=None)
def test_levels_between_times_are_exact_and_ordered(spec: Diffusion, levels: list[float]) -> None:
    path = build_path(spec)
    low, high = covered_log_snr(spec)
    low = max(low, -60.0)
    before = math.inf
    for level in sorted(low + (high - low) * share for share in levels):
        level = min(max(level, low), high)
        time, alpha, sigma, c_noise, _, _ = path.at_log_snr(level)
        assert time == pytest.approx(c_noise + 1, rel=1e-12)
        assert 2 * (math.log(alpha) - math.log(sigma)) == pytest.approx(level, rel=1e-9, abs=1e-9)
        assert alpha**2 + sigma**2 == pytest.approx(1, rel=1e-12)
        assert 0 <= c_noise <= spec.timesteps - 1
        assert c_noise <= before
        before = c_noise
        nearer, farther = path.level(math.floor(c_noise) + 1), path.level(math.ceil(c_noise) + 1)
        assert farther.alpha - 1e-9 <= alpha <= nearer.alpha + 1e-9


@pytest.mark.parametrize("level", [-40.0, 40.0])
def test_levels_outside_the_path_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="covers log-SNR"):
        build_path(LINEAR).at_log_snr(level)


@pytest.mark.parametrize("time", [-1, 0.5, 1001])
def test_times_that_the_path_does_not_have_are_refused(time: float) -> None:
    with pytest.raises(ValueError, match="whole times 0 to 1000"):
        build_path(LINEAR).level(time)
