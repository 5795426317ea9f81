"""The statistics agree with published examples, and their confidence is what it says."""

from __future__ import annotations

import math
import random

import pytest

from ddpm_exp.decisions import statistics

# Student's own example (Biometrika 6, 1908, table on soporifics, by A. R. Cushny and A. R. Peebles): extra hours of
# sleep of ten patients under two drugs.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_paired_t_gives_the_textbook_interval() -> None:
    estimate = statistics.paired(SECOND, FIRST)
    assert estimate.mean == pytest.approx(1.58)
    assert estimate.degrees == 9
    assert estimate.mean / estimate.standard_error == pytest.approx(4.0621, abs=1e-4)
    assert estimate.interval(0.95) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


def test_welch_gives_the_textbook_interval() -> None:
    estimate = statistics.welch(FIRST, SECOND)
    assert estimate.mean / estimate.standard_error == pytest.approx(-1.8608, abs=1e-4)
    assert estimate.degrees == pytest.approx(17.776, abs=1e-3)
    assert estimate.interval(0.95) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)


def test_one_sided_bounds_use_the_table_of_t() -> None:
    estimate = statistics.one_sample([1.0, 2.0, 3.0])
    low, high = estimate.bounds(0.95)
    reach = 2.919986 / math.sqrt(3)  # t(0.95, 2 degrees) = 2.920 in every table
    assert (low, high) == pytest.approx((2 - reach, 2 + reach), abs=1e-6)


def test_a_relative_contrast_equals_the_same_test_on_scaled_values() -> None:
    scaled = [0.9 * value for value in FIRST]
    assert statistics.paired(SECOND, FIRST, factor=0.9) == statistics.paired(SECOND, scaled)
    assert statistics.welch(SECOND, FIRST, factor=0.9).bounds(0.9) == pytest.approx(statistics.welch(SECOND, scaled).bounds(0.9))


@pytest.mark.parametrize(
    "estimate", [statistics.one_sample([1.0]), statistics.paired([1.0], [2.0]), statistics.welch([1.0], FIRST)]
)
def test_one_value_bounds_nothing(estimate: statistics.Estimate) -> None:
    assert estimate.bounds(0.95) == (-math.inf, math.inf)


def test_rounding_in_float64_is_not_a_spread() -> None:
    reference = [0.3, 0.7, 1.1]
    estimate = statistics.paired([value - 0.1 for value in reference], reference)
    assert estimate.exact
    assert estimate.bounds(0.95) == pytest.approx((-0.1, -0.1))
    assert statistics.welch([0.1 + 0.2] * 2, [0.3] * 2).mean == 0.0


def test_spreads_far_below_one_are_not_taken_for_rounding() -> None:
    assert not statistics.one_sample([1e-9, 2e-9]).exact
    assert statistics.welch([1e-200, 2e-200], [3e-200, 5e-200]).degrees > 0


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [math.inf, 1.0]])
def test_no_mean_without_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        statistics.one_sample(values)


def _false_claims(level: float, trials: int, *, seeds: int, method: str, factor: float) -> float:
    """Share of trials that support mean(v) < factor * mean(r) at `level` where both are equal: the worst true case."""
    random_numbers = random.Random(20250609)
    found = 0
    for _ in range(trials):
        shared = [random_numbers.gauss(0, 0.05) for _ in range(seeds)]
        reference = [1 + common + random_numbers.gauss(0, 0.02) for common in shared]
        values = [factor * (1 + common) + random_numbers.gauss(0, 0.06) for common in shared]
        if method == "welch":
            random_numbers.shuffle(values)
            values = [factor + random_numbers.gauss(0, 0.06) for _ in values]
            estimate = statistics.welch(values, reference, factor=factor)
        else:
            estimate = statistics.paired(values, reference, factor=factor)
        found += estimate.bounds(level)[1] < 0
    return found / trials


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("factor", [1.0, 0.9, 1.05])
def test_pairs_support_a_false_claim_as_often_as_the_confidence_allows(seeds: int, factor: float) -> None:
    trials = 4000
    share = _false_claims(0.95, trials, seeds=seeds, method="paired", factor=factor)
    error = math.sqrt(0.05 * 0.95 / trials)
    assert abs(share - 0.05) < 4 * error


def test_welch_supports_a_false_claim_no_more_often_than_the_confidence_allows() -> None:
    trials = 4000
    share = _false_claims(0.95, trials, seeds=4, method="welch", factor=0.9)
    assert 0.02 < share < 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials)
