"""Shares and counts over seeds: exact where seeds are alike, wide enough where they are not, and never certain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from ddpm_exp.decisions.judged import Judged, judge_criterion
from ddpm_exp.decisions.tallies import Tally
from ddpm_exp.spec.decision import Criterion, metric

ACCURACY, SKIPPED = metric("samples/class_accuracy"), metric("train/bad_steps")


def judged(
    criterion: Criterion, values: Sequence[float], reference: Sequence[float] | None = None, *, of: float | None = 200.0
) -> Judged:
    others = None if reference is None else dict(enumerate(reference))
    sizes = dict.fromkeys(range(len(values)), of)
    return judge_criterion(criterion, dict(enumerate(values)), others, out_of=sizes, reference_out_of=sizes)


def test_seeds_that_agree_have_the_exact_binomial_bound_of_all_their_samples() -> None:
    """All of 400: Clopper and Pearson's lower bound at 95 % is 0.05^(1/400), which half the error of a 90 % bound is."""
    assert Tally((1.0, 1.0), (200, 200)).bounds(0.9) == pytest.approx((0.05 ** (1 / 400), 1.0))
    assert Tally((0.0, 0.0), (200, 200)).bounds(0.9) == pytest.approx((0.0, 1 - 0.05 ** (1 / 400)))
    low, high = Tally((0.9, 0.9), (10, 10)).bounds(0.95)  # 18 of 20; their table says 0.683 to 0.988 for 95 % both ways
    assert (low, high) == pytest.approx((0.6830, 0.9877), abs=1e-4)


def test_runs_without_events_have_the_exact_poisson_bound() -> None:
    """None in three runs: at most -ln(0.05) / 3 each at 95 % (Garwood 1936)."""
    assert Tally((0.0, 0.0, 0.0), None).bounds(0.9) == pytest.approx((0.0, -math.log(0.05) / 3))


def test_bounds_of_a_share_are_those_of_its_complement_turned_round() -> None:
    shares, of = (0.97, 0.99, 0.94), (200, 200, 198)
    low, high = Tally(shares, of).bounds(0.95)
    assert Tally(tuple(1 - share for share in shares), of).bounds(0.95) == pytest.approx((1 - high, 1 - low))
    assert 0 < low < sum(shares) / 3 < high < 1


def test_seeds_that_differ_widen_the_bound_that_the_binomial_alone_gives() -> None:
    alike, apart = (Tally(shares, (2000, 2000, 2000)).bounds(0.95)[0] for shares in ((0.9, 0.9, 0.9), (0.85, 0.9, 0.95)))
    assert alike > 0.88 and apart < 0.85


def test_a_miss_more_in_one_run_is_no_spread() -> None:
    low, high = Tally((1.0, 0.995), (200, 200)).bounds(0.95)
    assert 0.95 < low < 0.985 and high == 1.0


def test_one_run_says_nothing_about_others() -> None:
    assert Tally((1.0,), (200,)).bounds(0.95) == (-math.inf, math.inf)
    assert judged(ACCURACY >= 0.1, [1.0]).status == "open"


def test_equal_shares_are_not_certain() -> None:
    """Two runs with 197 of 200 each have no spread, and were taken for certainly above 0.98: falsely in 10 %."""
    outcome = judged(ACCURACY >= 0.98, [0.985, 0.985])
    assert outcome.status == "open" and outcome.method == "binomial, t of log-odds"
    assert outcome.interval is not None and outcome.interval[0] < 0 < outcome.interval[1]
    assert judged(ACCURACY >= 0.9, [0.985, 0.985]).status == "holds"
    assert judged(ACCURACY >= 0.98, [0.985, 0.985], of=20_000).status == "holds"


def test_equal_shares_of_two_arms_are_not_certainly_equal() -> None:
    alike = [0.9, 0.9, 0.9]
    assert judged(ACCURACY.no_worse(0.01), alike, alike).status == "open"
    assert judged(ACCURACY.no_worse(0.1), alike, alike).status == "holds"
    assert judged(ACCURACY.rises(), [0.905] * 3, alike).status == "open"
    assert judged(ACCURACY.rises(by="5%"), [0.99] * 3, [0.5] * 3).status == "holds"
    assert judged(ACCURACY.falls(), [0.99] * 3, [0.5] * 3).status == "fails"


def test_a_share_of_nobody_knows_how_many_is_not_judged() -> None:
    outcome = judged(ACCURACY >= 0.1, [0.9, 0.9], of=None)
    assert outcome.status == "open" and "of how many" in outcome.reason


def test_no_event_in_any_run_is_no_proof_that_there_never_is_one() -> None:
    assert judged(SKIPPED <= 0, [0.0, 0.0, 0.0]).status == "open"
    assert judged(SKIPPED <= 2, [0.0, 0.0, 0.0]).status == "holds"
    assert judged(SKIPPED >= 1, [9.0, 9.0, 9.0]).status == "holds"


@pytest.mark.parametrize("spread", [0.0, 0.005, 0.01])
@pytest.mark.parametrize("seeds", [2, 3])
def test_a_share_is_said_to_exceed_its_truth_no_more_often_than_the_confidence_allows(seeds: int, spread: float) -> None:
    rng, trials, p = np.random.default_rng(5), 1500, 0.98
    size = p * (1 - p) / spread**2 - 1 if spread else math.inf
    found = 0
    for _ in range(trials):
        truth = rng.beta(p * size, (1 - p) * size, seeds) if spread else np.full(seeds, p)
        found += judged(p <= ACCURACY, rng.binomial(200, truth) / 200).status == "holds"
    assert found / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
