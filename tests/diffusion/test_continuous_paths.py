"""Paths on real times: the published formulas, derivatives that are autograd's, exact inverses, exact ends."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.known_data import DIFFUSIONS

from ddpm_exp.diffusion.continuous import ContinuousPath
from ddpm_exp.diffusion.paths import DATA, Path, build_path
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.schedule import covered_log_snr, log_snr_at

SPECS = [
    Diffusion(schedule="vp-linear"),
    Diffusion(schedule="vp-linear", beta_min=10.0, beta_max=10.0),
    Diffusion(schedule="vp-cosine", prediction="v"),
    Diffusion(schedule="rectified-flow", prediction="velocity"),
    Diffusion(schedule="ve", prediction="x0"),
    Diffusion(schedule="ve", prediction="x0", sigma_min=1e-5, sigma_max=1e4),
]
TO_NOISE = [spec for spec in SPECS if spec.ends_at_noise]
every_path = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.schedule)


def continuous(spec: Diffusion) -> ContinuousPath:
    path = build_path(spec)
    assert isinstance(path, ContinuousPath)
    return path


def test_curves_are_the_published_ones() -> None:
    t = torch.linspace(0.01, 1, 100, dtype=torch.float64)
    linear = build_path(SPECS[0]).exact(t)
    torch.testing.assert_close(linear.alpha.log(), -(t**2) * 19.9 / 4 - t * 0.1 / 2)
    torch.testing.assert_close(linear.alpha**2 + linear.sigma**2, torch.ones_like(t))
    cosine = build_path(SPECS[2]).exact(t)
    torch.testing.assert_close(cosine.alpha, (math.pi * t / 2).cos())
    torch.testing.assert_close(cosine.alpha**2 + cosine.sigma**2, torch.ones_like(t))
    flow = build_path(SPECS[3]).exact(t)
    assert torch.equal(flow.alpha, 1 - t) and torch.equal(flow.sigma, t)
    exploding = build_path(SPECS[4]).exact(t)
    assert torch.equal(exploding.alpha, torch.ones_like(t))
    torch.testing.assert_close(exploding.sigma, 0.002 * (80 / 0.002) ** t)


@every_path
@given(t=st.lists(st.floats(1e-5, 1.0), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_derivatives_equal_autograd(spec: Diffusion, t: list[float]) -> None:
    path = build_path(spec)
    times = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    at = path.exact(times)
    for value, derivative in ((at.alpha, at.d_alpha), (at.sigma, at.d_sigma)):
        assert derivative is not None
        expected = torch.zeros_like(times)
        if value.requires_grad:
            (expected,) = torch.autograd.grad(value.sum(), times, retain_graph=True)
        torch.testing.assert_close(derivative.detach(), expected, rtol=1e-6, atol=1e-9)


@every_path
def test_time_zero_is_exact_data_and_noise_only_grows(spec: Diffusion) -> None:
    path = build_path(spec)
    at = path.at(torch.linspace(0, 1, 101))
    assert at.alpha[0] == 1 and at.sigma[0] == 0
    assert path.level(0.0) == DATA
    ratio = at.sigma / at.alpha
    assert (ratio.diff() > 0).all()


@pytest.mark.parametrize("spec", TO_NOISE, ids=lambda spec: spec.schedule)
def test_the_last_time_is_exactly_pure_noise(spec: Diffusion) -> None:
    for at in (build_path(spec).level(1.0), build_path(spec).at(torch.ones(1)), build_path(spec).at_log_snr(-math.inf)):
        assert float(at.alpha) == 0.0 and float(at.sigma) == 1.0


@every_path
def test_numbers_and_tensors_are_the_same_levels_rounded_once(spec: Diffusion) -> None:
    path = build_path(spec)
    times = [path.first, 0.25, 0.5, 0.999, 1.0]
    exact = path.exact(torch.tensor(times, dtype=torch.float64))
    at = path.at(torch.tensor(times, dtype=torch.float64))
    for row, time in enumerate(times):
        level = path.level(time)
        for name in ("alpha", "sigma", "d_alpha", "d_sigma"):
            value = getattr(at, name)
            assert value.dtype == torch.float32
            assert getattr(level, name) == pytest.approx(float(getattr(exact, name)[row]), rel=1e-12)
            assert float(value[row]) == float(torch.tensor(getattr(level, name), dtype=torch.float32))
        assert level.time == time


def test_networks_are_told_a_thousand_times_or_the_logarithm_of_sigma() -> None:
    t = torch.tensor([0.25, 1.0])
    for spec in SPECS[:4]:
        assert build_path(spec).c_noise(t).tolist() == [250.0, 1000.0]
        assert build_path(spec).level(0.25).c_noise == 250.0
    path = build_path(SPECS[4])
    torch.testing.assert_close(path.c_noise(t), path.at(t).sigma.log() / 4)
    assert path.level(1.0).c_noise == pytest.approx(math.log(80) / 4)
    assert path.c_noise(t).dtype == torch.float32


@every_path
@given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_levels_are_found_by_log_snr_exactly(spec: Diffusion, shares: list[float]) -> None:
    path = build_path(spec)
    low, high = covered_log_snr(spec)
    low = max(low, -60.0)
    for share in shares:
        wanted = min(max(low + (high - low) * share, low), high)
        level = path.at_log_snr(wanted)
        assert 2 * (math.log(level.alpha) - math.log(level.sigma)) == pytest.approx(wanted, abs=1e-9, rel=1e-9)
        assert path.first <= level.time <= path.last
        assert level.d_alpha is not None and level.d_sigma is not None


@every_path
def test_a_level_at_a_time_of_the_path_is_that_level(spec: Diffusion) -> None:
    path = build_path(spec)
    for t in (0.01, 0.3, 0.7, 0.99):
        level = path.level(t)
        found = path.at_log_snr(2 * math.log(level.alpha / level.sigma))
        assert found == pytest.approx(level, rel=1e-8, abs=1e-12)


@every_path
def test_times_are_found_by_the_ratio_of_sigma_to_alpha(spec: Diffusion) -> None:
    path = continuous(spec)
    t = torch.linspace(path.first, 0.999, 50, dtype=torch.float64)
    at = path.exact(t)
    torch.testing.assert_close(path.time_at((at.sigma / at.alpha).log()), t, rtol=1e-7, atol=1e-12)


@every_path
def test_rules_and_paths_agree_on_what_is_covered(spec: Diffusion) -> None:
    path: Path = build_path(spec)
    low, high = covered_log_snr(spec)
    for t, found in ((path.first, high), (path.last, low), (0.3, log_snr_at(spec, 0.3))):
        level = path.level(t)
        expected = 2 * math.log(level.alpha / level.sigma) if level.alpha > 0 else -math.inf
        assert found == pytest.approx(expected, rel=1e-6)
    assert path.at_log_snr(high).time == pytest.approx(path.first, rel=1e-6)
    for outside in (high + 1e-3, -200.0 if low > -200 else math.nan):
        with pytest.raises(ValueError, match="covers log-SNR"):
            path.at_log_snr(outside)


@every_path
@pytest.mark.parametrize("time", [-0.1, 1.1])
def test_times_outside_are_refused(spec: Diffusion, time: float) -> None:
    with pytest.raises(ValueError, match="times 0 to 1"):
        build_path(spec).level(time)


def test_starting_noise_has_the_deviation_of_the_last_level() -> None:
    assert [build_path(spec).prior_std for spec in SPECS] == [1.0, 1.0, 1.0, 1.0, 80.0, 1e4]
    assert build_path(Diffusion()).prior_std == 1.0


@pytest.mark.parametrize("name", DIFFUSIONS)
def test_the_log_snr_of_a_level_is_what_it_was_asked_for_and_falls_with_time(name: str) -> None:
    path = build_path(DIFFUSIONS[name])
    for wish in (-1.5, 0.0, 3.0):
        assert path.at_log_snr(wish).log_snr == pytest.approx(wish, abs=1e-9)
    times = torch.arange(1, path.timesteps + 1) if path.discrete else torch.linspace(path.first, path.last, 99)
    assert bool((path.at(times).log_snr.diff() < 0).all())
    assert path.level(0).log_snr == math.inf
