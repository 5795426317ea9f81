"""A criterion holds, fails or stays open exactly where the numbers say so."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.decisions.judged import Judged, judge_criterion
from ddpm_exp.spec.decision import Criterion, metric

DENOISING, COHERENCE = metric("val/denoising"), metric("samples/coherence")
BASE = (0.100, 0.110, 0.105)

finite = st.floats(-1e3, 1e3).filter(lambda value: value == 0 or abs(value) > 1e-6)
pairs = st.lists(st.tuples(finite, finite), min_size=1, max_size=6)


def judged(criterion: Criterion, values: Sequence[float | None], reference: Sequence[float | None] | None = None) -> Judged:
    return judge_criterion(criterion, dict(enumerate(values)), dict(enumerate(reference)) if reference is not None else None)


@pytest.mark.parametrize(
    ("criterion", "values", "status"),
    [
        (DENOISING.falls(by=0.01), (0.080, 0.091, 0.086), "holds"),
        (DENOISING.falls(by=0.03), (0.080, 0.091, 0.086), "fails"),
        (DENOISING.falls(by=0.0195), (0.080, 0.091, 0.086), "open"),
        (DENOISING.falls(by="10%"), (0.080, 0.091, 0.086), "holds"),
        (DENOISING.falls(by="30%"), (0.080, 0.091, 0.086), "fails"),
        (DENOISING.falls(), (0.1001, 0.1101, 0.1049), "open"),
        (DENOISING.rises(by=0.01), (0.120, 0.131, 0.126), "holds"),
        (DENOISING.rises(by=0.01), (0.080, 0.091, 0.086), "fails"),
        (DENOISING.no_worse(by="5%"), (0.101, 0.111, 0.107), "holds"),
        (DENOISING.no_worse(by="5%"), (0.120, 0.131, 0.126), "fails"),
        (COHERENCE.no_worse(by="5%"), (0.099, 0.109, 0.103), "holds"),
        (COHERENCE.no_worse(by="5%"), (0.080, 0.091, 0.086), "fails"),
        (COHERENCE.no_worse(by=0.01), (0.200, 0.300, 0.400), "holds"),
    ],
)
def test_a_criterion_against_a_reference(criterion: Criterion, values: tuple[float, ...], status: str) -> None:
    assert judged(criterion, values, BASE).status == status


@pytest.mark.parametrize(
    ("criterion", "status"),
    [(DENOISING <= 0.2, "holds"), (DENOISING <= 0.106, "open"), (DENOISING <= 0.05, "fails"), (DENOISING >= 0.05, "holds")],
)
def test_a_criterion_against_a_bound(criterion: Criterion, status: str) -> None:
    assert judged(criterion, BASE).status == status


def test_one_seed_is_never_enough() -> None:
    outcome = judged(DENOISING.falls(), [0.001], [1.0])
    assert outcome.status == "open"
    assert outcome.difference == pytest.approx(-0.999)
    assert outcome.interval is None
    assert "at least two seeds" in outcome.reason


def test_no_difference_at_all_is_stated_and_is_no_fall() -> None:
    outcome = judged(DENOISING.falls(), BASE, BASE)
    assert outcome.status == "fails"
    assert "exactly zero" in outcome.reason
    assert judged(DENOISING.falls(by=1e-300), BASE, BASE).status == "fails"
    assert judged(DENOISING.no_worse(by=0.0), BASE, BASE).status == "holds"


def test_identical_values_are_compared_with_a_bound_exactly() -> None:
    """Measured numbers that agree in every bit come from runs that did the same; those in steps have `test_tallies`."""
    memory = metric("memory/peak_bytes")
    assert judged(memory <= 1e9, [1e9, 1e9, 1e9]).status == "holds"
    assert judged(memory <= 1e9, [2e9, 2e9, 2e9]).status == "fails"
    assert "identical" in judged(memory <= 1e9, [1e9, 1e9, 1e9]).reason


def test_a_share_of_zero_or_less_is_no_margin() -> None:
    outcome = judged(COHERENCE.rises(by="10%"), [0.5, 0.6], [-0.01, 0.02])
    assert outcome.status == "open"
    assert "above zero" in outcome.reason


def test_different_seeds_are_compared_as_independent_arms() -> None:
    values, reference = dict(enumerate((0.080, 0.091, 0.086))), {7: 0.100, 8: 0.110, 9: 0.105}
    assert judge_criterion(DENOISING.falls(), values, reference).method == "Welch t"
    assert judge_criterion(DENOISING.falls(), values, dict(enumerate(reference.values()))).method == "paired t"


@pytest.mark.parametrize("side", ["value", "reference"])
def test_a_missing_value_leaves_the_criterion_open(side: str) -> None:
    good: list[float | None] = [0.001, 0.002, 0.001]
    bad: list[float | None] = [1.0, 1.1, 1.2]
    (good if side == "value" else bad)[1] = None
    outcome = judged(DENOISING.falls(), good, bad)
    assert outcome.status == "open"
    assert "seed 1" in outcome.reason


def test_withheld_numbers_are_shown_and_conclude_nothing() -> None:
    outcome = judge_criterion(DENOISING.falls(), {0: 0.01, 1: 0.011}, {0: 1.0, 1: 1.1}, withheld="2 of 3 planned runs")
    assert (outcome.status, outcome.reason) == ("open", "2 of 3 planned runs")
    assert outcome.interval is not None


@settings(max_examples=40, deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_seeds_changes_nothing(values: list[tuple[float, float]], dice: random.Random) -> None:
    seeds = list(range(len(values)))
    shuffled = dice.sample(seeds, len(seeds))
    criterion = DENOISING.falls(by=0.1)
    straight = judge_criterion(criterion, {s: values[s][0] for s in seeds}, {s: values[s][1] for s in seeds})
    mixed = judge_criterion(criterion, {s: values[s][0] for s in shuffled}, {s: values[s][1] for s in reversed(shuffled)})
    relabelled = judge_criterion(
        criterion, {i: values[s][0] for i, s in enumerate(shuffled)}, {i: values[s][1] for i, s in enumerate(shuffled)}
    )
    assert straight == mixed == relabelled


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_swapping_the_arms_flips_the_sign(values: list[tuple[float, float]]) -> None:
    ours, theirs = [a for a, _ in values], [b for _, b in values]
    there, back = judged(DENOISING.falls(), ours, theirs), judged(DENOISING.falls(), theirs, ours)
    assert there.difference is not None and back.difference is not None
    assert there.difference == -back.difference
    if there.interval and back.interval:
        assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert not (there.status == "holds" and back.status == "holds")
    assert there.status == judged(DENOISING.rises(), theirs, ours).status


@settings(max_examples=40, deadline=None)
@given(pairs, st.sampled_from(["falls", "rises", "no_worse"]), st.floats(0, 0.5))
def test_what_holds_does_not_fail_with_an_easier_margin(values: list[tuple[float, float]], kind: str, by: float) -> None:
    ours, theirs = [a for a, _ in values], [b for _, b in values]
    easier, harder = (0.0, by) if kind != "no_worse" else (by, 0.0)
    marks = [judged(getattr(DENOISING, kind)(by=margin), ours, theirs).status for margin in (easier, harder)]
    assert marks != ["fails", "holds"]


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_the_json_is_strict(values: list[tuple[float, float]]) -> None:
    outcome = judged(DENOISING.falls(by="5%"), [a for a, _ in values], [b for _, b in values])
    json.dumps(outcome.to_json(), allow_nan=False)
