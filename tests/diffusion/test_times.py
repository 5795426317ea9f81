"""Times: each density's distribution and range, and that slicing a step changes no time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.times import draw_times
from ddpm_exp.spec.diffusion import Diffusion

FLOW = Diffusion(schedule="rectified-flow", prediction="velocity")
SPECS = [
    Diffusion(),
    Diffusion(time_density="stratified"),
    *(FLOW.but(time_density=density) for density in ("uniform", "stratified", "logit-normal", "log-normal-sigma")),
    Diffusion(schedule="ve", prediction="x0", time_density="log-normal-sigma"),
    Diffusion(schedule="ve", prediction="x0", time_density="log-normal-sigma", density_mean=10.0, density_std=10.0),
    Diffusion(schedule="vp-linear", time_density="uniform"),
    Diffusion(schedule="vp-cosine", prediction="v", time_density="logit-normal", density_std=10.0),
]


def drawn(spec: Diffusion, count: int = 50_000, images_per_step: int = 100, seed: int = 0, first: int = 0) -> torch.Tensor:
    return draw_times(spec, build_path(spec), images_per_step, seed, "time", torch.arange(first, first + count))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.schedule}-{spec.time_density}")
def test_times_stay_between_the_first_and_the_last(spec: Diffusion) -> None:
    path, t = build_path(spec), drawn(spec)
    assert t.dtype == (torch.int64 if path.discrete else torch.float32)
    assert t.double().min() >= path.first and t.max() <= path.last
    assert path.at(t).alpha.isfinite().all()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.schedule}-{spec.time_density}")
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), first=st.integers(0, 2**40), seed=st.integers(0, 2**63))
@settings(max_examples=10, deadline=None)
def test_slicing_a_step_changes_no_time(spec: Diffusion, sizes: list[int], first: int, seed: int) -> None:
    whole = torch.arange(first, first + sum(sizes))
    path = build_path(spec)
    parts = [draw_times(spec, path, 16, seed, "time", part) for part in whole.split(sizes)]
    assert torch.equal(draw_times(spec, path, 16, seed, "time", whole), torch.cat(parts))


def test_uniform_whole_times_are_those_of_recorded_runs() -> None:
    ordinals = torch.arange(77, 177)
    assert torch.equal(drawn(Diffusion(), 100, first=77), draws.integers(0, "time", ordinals, 1000) + 1)


@pytest.mark.parametrize("density", ["uniform", "stratified"])
def test_uniform_and_stratified_whole_times_are_even_and_include_both_ends(density: Any) -> None:
    t = drawn(Diffusion(timesteps=10, time_density=density), images_per_step=7)
    counts = torch.bincount(t, minlength=11)
    assert counts[0] == 0 and len(counts) == 11
    assert stats.chisquare(counts[1:].numpy()).pvalue > 1e-4


@pytest.mark.parametrize("density", ["uniform", "stratified"])
def test_uniform_and_stratified_real_times_are_even(density: Any) -> None:
    t = drawn(FLOW.but(time_density=density), images_per_step=7).double().numpy()
    assert stats.kstest(t, stats.uniform(1e-3, 1 - 1e-3).cdf).pvalue > 1e-4


@pytest.mark.parametrize("spec", [Diffusion(time_density="stratified"), FLOW.but(time_density="stratified")])
def test_stratified_steps_have_one_time_in_each_part(spec: Diffusion) -> None:
    path, steps, size = build_path(spec), 20, 50
    t = drawn(spec, steps * size, images_per_step=size).double().view(steps, size)
    # Whole times k + 1 stand for [k / T, (k + 1) / T); real ones run from the last down to the first.
    share = (t - 0.5) / path.timesteps if path.discrete else (path.last - t) / (path.last - path.first)
    parts = (share * size).floor().clamp(0, size - 1).sort(dim=1).values
    assert torch.equal(parts, torch.arange(size).double().expand(steps, size))
    assert not torch.equal(t[0], t[1])


def test_logit_normal_times_have_a_normal_logit() -> None:
    t = drawn(FLOW.but(time_density="logit-normal", density_mean=-0.3, density_std=0.8)).double()
    z = (t.logit() + 0.3) / 0.8
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-4
    assert abs(float(drawn(FLOW.but(time_density="logit-normal")).double().logit().mean())) < 0.02


@pytest.mark.parametrize("spec", [FLOW, Diffusion(schedule="ve", prediction="x0"), Diffusion(schedule="vp-linear")])
def test_log_normal_sigma_times_have_a_normal_logarithm_of_sigma_over_alpha(spec: Diffusion) -> None:
    path = build_path(spec)
    t = drawn(spec.but(time_density="log-normal-sigma"))
    at = path.exact(t)
    z = ((at.sigma / at.alpha).log() + 1.2) / 1.2
    inside = (t > path.first * 1.01) & (t < 0.999)
    assert inside.float().mean() > 0.999
    assert stats.kstest(z[inside].numpy(), "norm").pvalue > 1e-4
    assert math.isclose(float(z.std()), 1, abs_tol=0.02)


@pytest.mark.parametrize("spec", SPECS[1:5], ids=lambda spec: spec.time_density)
def test_other_steps_have_other_times(spec: Diffusion) -> None:
    one, two = drawn(spec, 100), drawn(spec, 100, first=100)
    assert (one == two).float().mean() < 0.2
