"""Paths: the published constants, time 0 is data, exact levels between times, moves that reach data."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.schedule import covered_log_snr

LINEAR, COSINE = Diffusion(), Diffusion(schedule="cosine")
TO_ZERO = Diffusion(prediction="v", zero_terminal_snr=True)
SPECS = [LINEAR, COSINE, TO_ZERO, Diffusion(schedule="cosine", timesteps=200), Diffusion(timesteps=100)]


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


@pytest.mark.parametrize("spec", SPECS)
def test_time_zero_is_exact_data_and_noise_only_grows(spec: Diffusion) -> None:
    path = build_path(spec)
    alpha, sigma = path.at(torch.arange(spec.timesteps + 1))
    assert alpha[0] == 1 and sigma[0] == 0
    assert (alpha.diff() < 0).all() and (sigma.diff() >= 0).all()
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))


def test_zero_terminal_snr_ends_at_pure_noise_and_keeps_the_first_time() -> None:
    assert build_path(TO_ZERO).level(1000)[:2] == (0.0, 1.0)
    assert build_path(TO_ZERO).level(1).alpha == pytest.approx(build_path(LINEAR).level(1).alpha, rel=1e-12)


@pytest.mark.parametrize("spec", SPECS)
def test_coefficients_are_float32_correct_to_the_last_bit(spec: Diffusion) -> None:
    # 1 - float32(alpha_bar) would be off in the fourth digit at time 1; a schedule in bfloat16 would give 0.
    path = build_path(spec)
    alpha, sigma = path.at(torch.arange(spec.timesteps + 1))
    assert alpha.dtype == sigma.dtype == torch.float32
    exact = np.array([path.level(t)[:2] for t in range(spec.timesteps + 1)])
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
        alpha, sigma, c_noise = path.level(t)
        low, high = covered_log_snr(spec)
        found = path.at_log_snr(min(max(2 * math.log(alpha / sigma), low), high))
        assert found == pytest.approx((alpha, sigma, c_noise), rel=1e-6, abs=1e-6)


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
        alpha, sigma, c_noise = path.at_log_snr(level)
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


@given(timesteps=st.integers(2, 400), data=st.data())
@settings(max_examples=60, deadline=None)
def test_moves_start_at_noise_end_at_data_and_join(timesteps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, timesteps))
    pairs = build_path(Diffusion(timesteps=timesteps)).pairs(steps)
    assert len(pairs) == steps
    assert pairs[0][0] == timesteps and pairs[-1][1] == 0
    assert all(t > s for t, s in pairs)
    assert all(one[1] == two[0] for one, two in itertools.pairwise(pairs))
    lengths = [t - s for t, s in pairs]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("steps", [0, 1001])
def test_more_steps_than_times_are_refused(steps: int) -> None:
    with pytest.raises(UserError, match=r"sampling\.steps"):
        build_path(LINEAR).pairs(steps)
