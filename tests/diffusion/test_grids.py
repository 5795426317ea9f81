"""Grids: every one runs from noise to data through distinct levels; each has the distances that its name promises."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.known_data import DIFFUSIONS

from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.levels import DATA
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.step import ratio
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError

GRIDS = ["trailing", "leading", "linspace", "quadratic", "karras"]
REAL = ["vp-linear", "vp-cosine", "rectified-flow", "ve"]


def times(diffusion: Diffusion, steps: int, grid: str) -> list[float]:
    return [level.time for level in levels(build_path(diffusion), steps, grid)]


@pytest.mark.parametrize("grid", GRIDS)
@given(timesteps=st.integers(2, 300), schedule=st.sampled_from(["linear", "cosine", "sigmoid"]), data=st.data())
@settings(max_examples=40, deadline=None)
def test_whole_times_fall_from_noise_to_data_without_repeating(timesteps: int, schedule: Any, data: Any, grid: str) -> None:
    steps = data.draw(st.integers(1, timesteps))
    found = times(Diffusion(schedule=schedule, timesteps=timesteps, beta_end=0.02), steps, grid)
    assert len(found) == steps + 1
    assert found[-1] == 0
    assert all(t > s and t == int(t) for t, s in itertools.pairwise(found))
    if grid != "leading":
        assert found[0] == timesteps


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 999])
@pytest.mark.parametrize("name", REAL)
def test_real_times_fall_from_noise_to_data_without_repeating(name: str, steps: int, grid: str) -> None:
    path = build_path(DIFFUSIONS[name])
    found = levels(path, steps, grid)
    assert len(found) == steps + 1
    assert found[-1] == DATA
    assert all(t.time > s.time and ratio(t) > ratio(s) for t, s in itertools.pairwise(found))
    assert found[-2].time >= path.first * (1 - 1e-9)
    if grid != "leading":
        assert found[0] == path.level(path.last)


@given(timesteps=st.integers(2, 400), data=st.data())
@settings(max_examples=60, deadline=None)
def test_trailing_times_are_evenly_spread(timesteps: int, data: Any) -> None:
    steps = data.draw(st.integers(1, timesteps))
    found = times(Diffusion(timesteps=timesteps), steps, "trailing")
    lengths = [t - s for t, s in itertools.pairwise(found)]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("steps", [1, 7, 50, 300, 1000])
def test_trailing_is_what_recorded_runs_were_sampled_with(steps: int) -> None:
    found = times(Diffusion(), steps, "trailing")
    assert found == [(2 * 1000 * left + steps) // (2 * steps) for left in range(steps, -1, -1)]


@pytest.mark.parametrize("steps", [10, 50, 100])
def test_grids_of_equal_distances_are_table_2_of_lin_et_al(steps: int) -> None:
    # There as indices for T = 1000, which are our times less 1.
    indices = {grid: [time - 1 for time in times(Diffusion(), steps, grid)[:-1]] for grid in GRIDS}
    assert indices["leading"] == (np.arange(steps) * (1000 // steps))[::-1].tolist()
    assert indices["trailing"] == (np.round(np.arange(1000, 0, -1000 / steps)) - 1).tolist()
    assert indices["linspace"] == np.round(np.linspace(0, 999, steps))[::-1].tolist()


def test_leading_leaves_the_noisiest_time_out() -> None:
    assert times(Diffusion(), 50, "leading")[0] == 981
    assert times(DIFFUSIONS["rectified-flow"], 50, "leading")[0] == pytest.approx(0.98, abs=1e-3)


@pytest.mark.parametrize("name", REAL)
def test_quadratic_times_are_evenly_spread_in_their_square_root(name: str) -> None:
    first = build_path(DIFFUSIONS[name]).first
    found = np.sqrt(np.array(times(DIFFUSIONS[name], 20, "quadratic")[:-1]) - first)
    assert np.diff(found) == pytest.approx(np.full(19, -found[0] / 19), rel=1e-6)


@pytest.mark.parametrize("name", ["ve", "vp-linear"])
def test_karras_levels_are_evenly_spread_in_the_seventh_root_of_sigma_over_alpha(name: str) -> None:
    diffusion = DIFFUSIONS[name].but(**({"beta_max": 15.0} if name == "vp-linear" else {}))
    roots = np.array([ratio(level) ** (1 / 7) for level in levels(build_path(diffusion), 18, "karras")[:-1]])
    assert np.diff(roots) == pytest.approx(np.full(17, (roots[-1] - roots[0]) / 17), rel=1e-5)


@pytest.mark.parametrize("sigma_max", [80.0, 300.0])
def test_karras_on_ve_is_edms_own_grid(sigma_max: float) -> None:
    # Karras et al. 2022, eq. 5, with the values of table 1.
    k = np.arange(18)
    expected = (sigma_max ** (1 / 7) + k / 17 * (0.002 ** (1 / 7) - sigma_max ** (1 / 7))) ** 7
    found = levels(build_path(DIFFUSIONS["ve"].but(sigma_max=sigma_max)), 18, "karras")
    assert [level.sigma for level in found] == pytest.approx([*expected, 0.0], rel=1e-6)


@pytest.mark.parametrize("name", ["cosine", "zero-snr", "vp-cosine", "rectified-flow"])
def test_karras_spends_one_level_only_beyond_80(name: str) -> None:
    found = [ratio(level) for level in levels(build_path(DIFFUSIONS[name]), 30, "karras")]
    assert found[0] > 1000
    assert 40 < found[1] < 80
    assert math.isfinite(found[1])


def test_karras_takes_the_nearest_whole_time() -> None:
    path = build_path(Diffusion())
    ratios = [ratio(path.level(t)) for t in range(1, 1001)]
    wishes = [(80 ** (1 / 7) + k / 9 * (ratios[0] ** (1 / 7) - 80 ** (1 / 7))) ** 7 for k in range(10)]
    nearest = [1 + int(np.abs(np.log(ratios) - math.log(wish)).argmin()) for wish in wishes]
    assert times(Diffusion(), 10, "karras") == [1000, *nearest[1:], 0]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [0, 51])
def test_more_steps_than_times_and_none_are_refused_with_the_fix(steps: int, grid: str) -> None:
    with pytest.raises(UserError, match=r"sampling\.steps <= 50") as caught:
        levels(build_path(Diffusion(timesteps=50)), steps, grid)
    assert caught.value.field == "sampling.steps"
    with pytest.raises(UserError, match="at least 1"):
        levels(build_path(DIFFUSIONS["ve"]), 0, grid)
