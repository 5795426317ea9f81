"""A verdict needs every planned run, never comes from missing numbers, and follows the criteria to the letter."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.verdict import judge
from ddpm_exp.spec.decision import Criterion, Decision, metric
from ddpm_exp.spec.errors import UserError

Make = Callable[..., Arm]

BETTER, BASE = (0.080, 0.091, 0.086), (0.100, 0.110, 0.105)
DENOISING = metric("val/denoising")


def decide(*accept: Criterion, reject: tuple[Criterion, ...] = (), seeds: tuple[int, ...] = (0, 1, 2)) -> Decision:
    return Decision(title="Faster", context="c", chosen="d", seeds=seeds, accept_when=accept, reject_when=reject)


def arms(arm: Make, ours: tuple[float, ...] = BETTER, theirs: tuple[float, ...] = BASE, **facts: object) -> tuple[Arm, Arm]:
    return arm("adr_0002", {"val/denoising": ours}, **facts), arm("adr_0001", {"val/denoising": theirs}, **facts)


def test_accepted_when_all_criteria_hold(arm: Make) -> None:
    verdict = judge(decide(DENOISING.falls(by="5%"), DENOISING <= 0.2), *arms(arm))
    assert verdict.outcome == "accepted"
    assert (verdict.done, verdict.planned, verdict.hours) == (6, 6, 3.0)
    assert [judged.status for judged in verdict.criteria] == ["holds", "holds"]


def test_one_criterion_short_is_inconclusive_and_names_it(arm: Make) -> None:
    verdict = judge(decide(DENOISING.falls(by="5%"), DENOISING <= 0.001), *arms(arm))
    assert verdict.outcome == "inconclusive"
    assert "<= 0.001" in verdict.reasons[0]


def test_any_criterion_for_rejection_is_enough(arm: Make) -> None:
    reject = (DENOISING >= 99.0, DENOISING.rises())
    assert judge(decide(DENOISING.falls(), reject=reject), *arms(arm, BASE, BETTER)).outcome == "rejected"


def test_rejection_wins_over_acceptance_and_says_so(arm: Make) -> None:
    verdict = judge(decide(DENOISING.falls(), reject=(DENOISING <= 1.0,)), *arms(arm))
    assert verdict.outcome == "rejected"
    assert any("contradict" in reason for reason in verdict.reasons)


def test_nothing_is_accepted_without_a_criterion(arm: Make) -> None:
    assert judge(decide(), *arms(arm)).outcome == "inconclusive"
    assert judge(decide(reject=(DENOISING >= 1.0,)), *arms(arm)).outcome == "inconclusive"


@pytest.mark.parametrize("criteria", ["accept", "reject"])
def test_nothing_is_concluded_before_every_planned_seed_is_finished(arm: Make, criteria: str) -> None:
    seeds = tuple(range(5))
    overwhelming = (0.001, 0.0011, 0.0012, 0.0011)
    claim = DENOISING.falls()
    decision = decide(claim, seeds=seeds) if criteria == "accept" else decide(reject=(claim,), seeds=seeds)
    for found in range(5):
        variant = arm("adr_0002", {"val/denoising": overwhelming[:found]}, planned=seeds)
        baseline = arm("adr_0001", {"val/denoising": (1.0, 1.1, 1.2, 1.3, 1.4)}, planned=seeds)
        verdict = judge(decision, variant, baseline)
        assert verdict.outcome == "inconclusive"
        assert f"{found + 5} of 10 planned runs" in verdict.reasons[0]
        assert len(verdict.missing) == 5 - found
        assert verdict.criteria[0].status == "open"


def test_the_baseline_must_be_finished_too(arm: Make) -> None:
    variant = arm("adr_0002", {"val/denoising": BETTER})
    baseline = arm("adr_0001", {"val/denoising": BASE[:2]}, planned=(0, 1, 2))
    verdict = judge(decide(DENOISING.falls()), variant, baseline)
    assert verdict.outcome == "inconclusive"
    assert verdict.missing == ("ADR-0001, seed 2, has no run",)


def test_an_unneeded_baseline_is_not_waited_for(arm: Make) -> None:
    baseline = arm("adr_0001", {"val/denoising": ()}, planned=(0, 1, 2))
    variant = arm("adr_0002", {"val/denoising": BETTER}, initial={"val/denoising": (1.0, 1.01, 1.02)})
    assert judge(decide(DENOISING.falls(against="untrained")), variant, baseline).outcome == "accepted"


def test_an_unfinished_run_does_not_count_and_its_reason_is_told(arm: Make) -> None:
    variant, baseline = arms(arm)
    runs = (*variant.runs[:2], replace(variant.runs[2], state="failed", message="loss not finite\n  fix: lower the rate"))
    verdict = judge(decide(DENOISING.falls()), replace(variant, runs=runs), baseline)
    assert verdict.outcome == "inconclusive"
    assert verdict.missing == ("ADR-0002, seed 2, is failed (loss not finite fix: lower the rate)",)


def test_seeds_that_were_not_planned_are_not_used(arm: Make) -> None:
    decision = decide(DENOISING.falls(by=0.01))
    plain = judge(decision, *arms(arm))
    variant = arm("adr_0002", {"val/denoising": (*BETTER, 9.0, 9.0)}, planned=(0, 1, 2))
    verdict = judge(decision, variant, arms(arm)[1])
    assert verdict.accept == plain.accept
    assert any("2 run(s)" in caution for caution in verdict.cautions)


def test_of_a_repeated_seed_the_first_run_counts(arm: Make) -> None:
    variant, baseline = arms(arm, BASE)
    luckier = [
        replace(run, created="2025-07-01T00:00:00+00:00", series={"val/denoising": ((4096, 0.001 + run.seed / 1e4),)})
        for run in variant.runs
    ]
    repeated = replace(variant, runs=(*luckier, *variant.runs))
    decision = decide(DENOISING.falls())
    assert judge(decision, repeated, baseline).accept == judge(decision, variant, baseline).accept


def test_criteria_changed_after_runs_are_told(arm: Make) -> None:
    variant, baseline = arms(arm, criteria_hash="aaaa")
    decision = decide(DENOISING.falls())
    assert judge(decision, variant, baseline, criteria_hash="aaaa").cautions == ()
    assert "criteria changed after runs" in judge(decision, variant, baseline, criteria_hash="bbbb").cautions[0]


def test_noise_and_untrained_are_taken_from_the_same_run(arm: Make) -> None:
    finals = {"samples/coherence": (0.5, 0.52, 0.51)}
    start = {"samples/coherence": (0.02, 0.03, 0.01), "noise/samples/coherence": (0.001, 0.0, -0.001)}
    variant = arm("quickstart", finals, initial=start)
    coherence = metric("samples/coherence")
    verdict = judge(decide(coherence.rises(0.4, against="noise"), coherence.rises(0.4, against="untrained")), variant, None)
    assert verdict.outcome == "accepted"
    assert [judged.reference_mean for judged in verdict.accept] == pytest.approx([0.0, 0.02])


def test_a_criterion_at_a_point_is_judged_there(arm: Make) -> None:
    variant = arm("adr_0002", {"val/denoising": (9.0, 9.1, 9.2)}, initial={"val/denoising": (1.0, 1.0, 1.0)})
    runs = tuple(
        replace(run, series={"val/denoising": ((0, 1.0), (2048, 0.1 + run.seed / 100), (4096, 9.0))}) for run in variant.runs
    )
    early, late = metric("val/denoising", at="1 epoch") <= 0.2, metric("val/denoising") <= 0.2
    verdict = judge(decide(early, late), replace(variant, runs=runs), None)
    assert [judged.status for judged in verdict.accept] == ["holds", "fails"]


def test_a_missing_baseline_is_a_users_mistake(arm: Make) -> None:
    with pytest.raises(UserError, match="compares with a baseline"):
        judge(decide(DENOISING.falls()), arms(arm)[0], None)


def test_a_criterion_on_losses_that_do_not_compare_is_refused(arm: Make) -> None:
    config = {"data.kind": "digits", "diffusion.schedule": "cosine"}
    variant, baseline = arm("adr_0002", {"val/loss": BETTER}, config=config), arm("adr_0001", {"val/loss": BASE})
    baseline = replace(
        baseline, runs=tuple(replace(run, config={**config, "diffusion.schedule": "linear"}) for run in baseline.runs)
    )
    with pytest.raises(UserError, match="val/denoising"):
        judge(decide(metric("val/loss").falls()), variant, baseline)
    assert judge(decide(metric("val/loss") <= 1.0), variant, baseline).outcome == "accepted"


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 3), st.sampled_from([math.nan, math.inf, -math.inf]), st.booleans())
def test_numbers_that_are_missing_or_not_finite_never_decide(
    arm: Make, order: list[int], seed: int, bad: float, remove: bool
) -> None:
    ours = [0.010 + 0.001 * i for i in order]
    ours[seed] = bad
    claims = (DENOISING.falls(), DENOISING <= 1.0, DENOISING >= -1e300, DENOISING.no_worse("50%"))
    variant = arm("adr_0002", {"val/denoising": ours})
    if remove:
        runs = tuple(replace(run, series={}) if run.seed == seed else run for run in variant.runs)
        variant = replace(variant, runs=runs)
    baseline = arm("adr_0001", {"val/denoising": (1.0, 1.1, 1.2, 1.3)})
    for claim in claims:
        assert judge(decide(claim, seeds=(0, 1, 2, 3)), variant, baseline).outcome == "inconclusive"
        assert judge(decide(reject=(claim,), seeds=(0, 1, 2, 3)), variant, baseline).outcome == "inconclusive"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_in_which_seeds_were_run_changes_nothing(
    arm: Make, values: list[tuple[float, float]], dice: random.Random
) -> None:
    seeds = tuple(range(len(values)))
    ours = arm("adr_0002", {"val/denoising": [a for a, _ in values]})
    theirs = arm("adr_0001", {"val/denoising": [b for _, b in values]})
    decision = decide(DENOISING.falls(by="5%"), reject=(DENOISING.rises(),), seeds=seeds)
    mixed = replace(ours, runs=tuple(dice.sample(ours.runs, len(seeds))), planned=tuple(dice.sample(seeds, len(seeds))))
    assert judge(decision, mixed, theirs) == judge(decision, ours, theirs)


def test_false_acceptance_stays_within_the_confidence(arm: Make) -> None:
    dice, trials, accepted = random.Random(7), 600, 0
    decision = decide(DENOISING.falls(by="5%", confidence=0.9)).but(amendable=False)
    for _ in range(trials):
        theirs = tuple(dice.gauss(1, 0.05) for _ in range(3))
        ours = tuple(0.95 * dice.gauss(1, 0.05) for _ in range(3))
        accepted += judge(decision, *arms(arm, ours, theirs)).outcome == "accepted"
    assert abs(accepted / trials - 0.1) < 4 * math.sqrt(0.1 * 0.9 / trials)


def test_the_json_is_strict_and_complete(arm: Make) -> None:
    variant = arm("adr_0002", {"val/denoising": (0.1,)})
    verdict = judge(decide(DENOISING <= 1.0, seeds=(0,)), variant, None)
    values = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert values["outcome"] == "inconclusive"
    assert values["accept_when"][0]["status"] == "open"
    assert values["runs"] == {"done": 1, "planned": 1}


def test_several_criteria_for_rejection_share_their_error(arm: Make) -> None:
    """Holm: of three, one that holds leaves its part to the others; the second here holds at a half, and not at a third."""
    names = ("val/denoising", "val/reconstruction", "val/bits_per_dimension")
    # t of 2 degrees: 4.5 lies between t(1 - 0.05 / 2) = 4.30 and t(1 - 0.05 / 3) = 5.34; 8.0 beyond both.
    values = {
        name: tuple(t / math.sqrt(3) + one for one in (-1.0, 0.0, 1.0)) for name, t in zip(names, (8.0, 4.5, 0.0), strict=True)
    }
    variant = arm("adr_0002", values, amendable=False)
    claims = tuple(metric(name) >= 0.0 for name in names)
    three = judge(decide(reject=claims).but(amendable=False), variant, None)
    assert [judged.status for judged in three.reject] == ["holds", "holds", "open"]
    assert [judged.confidence for judged in three.reject] == pytest.approx([1 - 0.05 / 3, 1 - 0.05 / 2, 0.95])
    without = judge(decide(reject=(*claims[1:], metric("val/loss") >= 0.0)).but(amendable=False), variant, None)
    assert without.outcome == "inconclusive"


def test_any_of_five_false_criteria_rejects_no_more_often_than_one(arm: Make) -> None:
    """Each alone at 95 %, they did in 22 %."""
    dice, trials = random.Random(11), 500
    names = ("val/denoising", "val/reconstruction", "val/loss", "samples/coherence", "samples/prompt_distance")
    decision = decide(reject=tuple(metric(name) >= 0.0 for name in names)).but(amendable=False)
    rejected = sum(
        judge(decision, arm("a", {n: [dice.gauss(0, 1) for _ in range(3)] for n in names}, amendable=False), None).outcome
        == "rejected"
        for _ in range(trials)
    )
    assert rejected / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_runs_with_the_noise_that_all_seeds_had_once_are_told_of_where_it_matters(arm: Make) -> None:
    old, base = arms(arm, evaluation_noise="shared")
    assert "same noise in every seed" in judge(decide(DENOISING <= 1.0), old, None).cautions[0]
    assert judge(decide(DENOISING.falls()), old, base).cautions == ()
    assert judge(decide(metric("train/bad_steps") <= 5), arm("a", {"train/bad_steps": (0.0,) * 3}), None).cautions == ()


def test_runs_with_different_noise_are_no_arm_and_a_new_one_counts_in_place_of_an_old_one(arm: Make) -> None:
    new, base = arms(arm)
    old = [
        replace(run, evaluation_noise="shared", created="2024-01-01", path=run.path.with_name(f"{run.seed}-old"))
        for run in new.runs
    ]
    mixed = replace(new, runs=(old[0], *new.runs[1:]))
    with pytest.raises(UserError, match=r"(?s)seed 0 .*--fresh"):
        judge(decide(DENOISING <= 1.0), mixed, None)
    renewed = replace(new, runs=(*old, *new.runs))
    assert list(renewed.counted.values()) == list(new.counted.values())
    with pytest.raises(UserError, match="evaluation noise: 'shared' in adr_0002, 'per-seed' in adr_0001"):
        judge(decide(DENOISING.falls()), replace(new, runs=tuple(old)), base)
