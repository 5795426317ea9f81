"""Distances of tables, sequences and clouds: zero for the same, known numbers for what is known, blind to the order of points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.evaluation.vectors import correlation_error, features, sliced_wasserstein


def _normal(count: int, dimensions: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dimensions, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 10), st.integers(0, 1000))
def test_a_set_has_no_distance_to_itself_in_any_order_and_some_to_another(count: int, dimensions: int, seed: int) -> None:
    rows = _normal(count, dimensions, seed)
    shuffled = rows[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]
    assert sliced_wasserstein(rows, shuffled) == pytest.approx(0.0, abs=1e-12)
    other = rows.clone()
    other[0] += 0.1
    assert sliced_wasserstein(rows, other) > 1e-4


@pytest.mark.parametrize("shift", [0.0, 0.5, -3.0])
@pytest.mark.parametrize("rows", [_normal(300, 1), torch.zeros(1, 1, dtype=torch.float64)], ids=["normal", "point"])
def test_in_one_dimension_the_distance_of_a_shifted_set_is_the_shift(rows: torch.Tensor, shift: float) -> None:
    assert sliced_wasserstein(rows, rows + shift) == pytest.approx(abs(shift))


def _w2(first: np.ndarray, second: np.ndarray) -> float:
    """Of sets of numbers: each repeated until both have as many, then paired in order."""
    whole = math.lcm(len(first), len(second))
    ours, theirs = (np.sort(np.repeat(side, whole // len(side))) for side in (first, second))
    return float(np.sqrt(np.mean((ours - theirs) ** 2)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_in_one_dimension_the_distance_is_that_of_the_best_pairing_also_of_unequal_numbers(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal(n) ** 3, rng.standard_normal(m)
    found = sliced_wasserstein(torch.from_numpy(first)[:, None], torch.from_numpy(second)[:, None])
    assert found == pytest.approx(_w2(first, second), rel=1e-12)


def test_no_quantile_is_interpolated() -> None:
    """Interpolated order statistics gave 0.559 for the first and 3.47 for the second."""
    assert sliced_wasserstein(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])) == pytest.approx(0.5**0.5, rel=1e-12)
    rows = _normal(200, 2)
    outlier = rows.clone()
    outlier[0] = 100.0
    assert sliced_wasserstein(rows, outlier) == pytest.approx(6.88, abs=0.03)


def test_the_tail_of_a_skewed_set_counts_in_full() -> None:
    """Interpolated order statistics lost more than a third of it."""
    first, second = _normal(200, 1).exp(), _normal(1000, 1, seed=1).exp()
    exact = _w2(first[:, 0].numpy(), second[:, 0].numpy())
    assert sliced_wasserstein(first, second) == pytest.approx(exact, rel=1e-12)
    at = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    interpolated = (torch.quantile(first[:, 0], at) - torch.quantile(second[:, 0], at)).square().mean().sqrt()
    assert float(interpolated) < 0.9 * exact


def test_in_many_dimensions_it_is_the_shift_over_the_root_of_their_number() -> None:
    # The mean square of one coordinate of a random unit vector is 1 / F.
    rows, shift = _normal(200, 20), torch.full((20,), 0.7, dtype=torch.float64)
    assert sliced_wasserstein(rows, rows + shift) == pytest.approx(0.7, rel=0.15)
    assert sliced_wasserstein(rows, rows + 2 * shift) == pytest.approx(2 * sliced_wasserstein(rows, rows + shift))


def test_two_gaussians_have_their_closed_form_distance() -> None:
    # W2^2 = (m - n)^2 + (s - t)^2 in one dimension, here with 4,000 and 3,000 samples.
    first, second = 1.0 + 2.0 * _normal(4000, 1), -0.5 + 0.5 * _normal(3000, 1, seed=1)
    assert sliced_wasserstein(first, second) == pytest.approx(math.hypot(1.5, 1.5), rel=0.03)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 100.0), st.integers(1, 6))
def test_the_distance_is_in_the_features_own_unit_and_the_same_both_ways(scale: float, dimensions: int) -> None:
    first, second = _normal(30, dimensions), _normal(50, dimensions, seed=1) + 0.3
    distance = sliced_wasserstein(first, second)
    assert sliced_wasserstein(scale * first, scale * second) == pytest.approx(scale * distance)
    assert sliced_wasserstein(second, first) == pytest.approx(distance)


def test_a_distance_does_not_depend_on_what_was_drawn_before() -> None:
    first, second = _normal(30, 5), _normal(30, 5, seed=1)
    before = sliced_wasserstein(first, second)
    torch.manual_seed(123)
    assert sliced_wasserstein(first, second) == before


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(2, 40), st.integers(0, 1000))
def test_clouds_are_the_same_whatever_the_order_of_their_points(dimensions: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    clouds = torch.randn(4, dimensions, count, generator=generator)
    shuffled = clouds[:, :, torch.randperm(count, generator=generator)]
    torch.testing.assert_close(features(shuffled, "points"), features(clouds, "points"), rtol=0, atol=1e-12)
    moved = clouds.clone()
    moved[:, 0, 0] += 0.5
    assert not torch.allclose(features(moved, "points"), features(clouds, "points"))


def test_rows_and_sequences_are_told_by_their_elements_in_order() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(features(x, "sequence"), x.double().flatten(1))
    assert torch.equal(features(x[0], "vector"), x[0].double())


def test_the_error_of_correlations_is_their_mean_difference() -> None:
    rows = _normal(2000, 3)
    rows[:, 1] = rows[:, 0]
    flipped = rows * torch.tensor([1.0, -1.0, 1.0])
    # Of three pairs, (0, 1) turns from 1 to -1, (0, 2) stays, and (1, 2) changes its sign.
    small = abs(float(torch.corrcoef(rows.T)[1, 2]))
    assert correlation_error(rows, flipped) == pytest.approx((2 + 2 * small) / 3)
    assert correlation_error(rows, 3 * rows + 5) == pytest.approx(0.0, abs=1e-12)


def test_features_that_do_not_vary_have_no_correlation_and_are_left_out() -> None:
    rows = _normal(100, 3)
    rows[:, 2] = 1.0
    rows[0, 2] += 1e-12  # as rounding would
    assert math.isfinite(correlation_error(rows, _normal(100, 3, seed=1)))
    assert correlation_error(rows, _normal(100, 3, seed=1)) == pytest.approx(
        correlation_error(rows[:, :2], _normal(100, 3, seed=1)[:, :2])
    )
    assert correlation_error(torch.ones(10, 2), torch.ones(10, 2)) == 0.0


def test_long_sequences_are_correlated_at_even_steps_of_their_features() -> None:
    first, second = _normal(20, 3000), _normal(20, 3000, seed=1)
    chosen = torch.linspace(0, 2999, 1024, dtype=torch.float64).round().long()
    assert correlation_error(first, second) == correlation_error(first[:, chosen], second[:, chosen])
