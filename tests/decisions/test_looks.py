"""Seeds that are added later spend error that was kept back for them, by an amendment or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.looks import amendment, error_share, in_words
from ddpm_exp.decisions.page import Page, write_page
from ddpm_exp.decisions.verdict import judge
from ddpm_exp.records.amendments import Amendment
from ddpm_exp.spec.decision import Decision, metric
from ddpm_exp.spec.errors import UserError

Make = Callable[..., Arm]

CLAIM = metric("val/denoising") <= 0.1
VALUES = (0.08, 0.09, 0.085, 0.088, 0.091)


def decide(seeds: int, **changes: object) -> Decision:
    given = {"title": "t", "context": "c", "chosen": "d", "accept_when": (CLAIM,), "seeds": tuple(range(seeds))}
    return Decision.model_validate(given | changes)


def planned(arm: Make, count: int, plan: tuple[int, ...], **facts: object) -> Arm:
    """Runs of the first `count` seeds, made when `plan` was the plan."""
    return arm("a", {"val/denoising": VALUES[:count]}, planned_seeds=plan, **facts)


def test_all_looks_together_spend_the_error_once() -> None:
    assert error_share(1) == 0.75
    assert 1 - 1e-6 < sum(map(error_share, range(1, 12))) < 1


def test_the_first_look_keeps_error_back_unless_the_seeds_are_final(arm: Make) -> None:
    open_ended = judge(decide(3), planned(arm, 3, (0, 1, 2)), None)
    final = judge(decide(3, amendable=False), planned(arm, 3, (0, 1, 2), amendable=False), None)
    assert [found.accept[0].confidence for found in (open_ended, final)] == pytest.approx([0.9625, 0.95])
    assert (open_ended.error_share, final.error_share) == (0.75, 1.0)


def test_seeds_cannot_be_called_final_after_runs_were_made(arm: Make) -> None:
    assert judge(decide(3, amendable=False), planned(arm, 3, (0, 1, 2)), None).error_share == 0.75


def test_added_seeds_are_refused_with_the_command_that_amends(arm: Make) -> None:
    with pytest.raises(UserError) as caught:
        judge(decide(5), planned(arm, 5, (0, 1)), None)
    text = str(caught.value)
    assert "seeds 2, 3 and 4 came to the plan (0, 1) after runs were made" in text
    assert 'ddpm-exp decide a --amend "why"' in text and "18.75 %" in text


def test_an_amended_plan_is_judged_with_what_is_left_of_the_error(arm: Make) -> None:
    variant, decision = planned(arm, 5, (0, 1)), decide(5)
    added = amendment(decision, variant, "the first two differ")
    assert (added.before, added.after, added.look, added.error_share) == ((0, 1), (0, 1, 2, 3, 4), 2, 0.1875)
    verdict = judge(decision, replace(variant, amendments=(added,)), None)
    assert (verdict.look, verdict.outcome, verdict.accept[0].confidence) == (2, "accepted", pytest.approx(1 - 0.05 * 0.1875))
    assert verdict.to_json()["amendments"][0]["why"] == "the first two differ"


def test_the_page_tells_of_amendments_and_of_what_a_look_may_spend(arm: Make) -> None:
    variant, decision = planned(arm, 5, (0, 1)), decide(5)
    variant = replace(variant, amendments=(amendment(decision, variant, "the first two differ"),))
    page = write_page(Page("ADR-0001", "experiments/a.py", decision, judge(decision, variant, None), variant))
    assert "Seeds added after runs were made:\n\n- amended on " in page
    assert "seeds 0, 1 to 0, 1, 2, 3, 4 (the first two differ); look 2 may spend 18.75 % of each criterion's error" in page
    assert "Look 2 may spend 18.75 % of each criterion's error; earlier looks had their parts." in page


def test_one_seed_could_not_be_judged_and_was_no_look(arm: Make) -> None:
    variant, decision = planned(arm, 3, (0,)), decide(3)
    added = amendment(decision, variant, "one was for trying")
    assert (added.look, added.error_share) == (1, 0.75)
    assert judge(decision, replace(variant, amendments=(added,)), None).look == 1


def test_planned_seeds_cannot_be_taken_out(arm: Make) -> None:
    with pytest.raises(UserError, match="seeds 3 and 4 of the plan") as caught:
        judge(decide(3), planned(arm, 3, (0, 1, 2, 3, 4)), None)
    assert "(0, 1, 2, 3, 4)" in str(caught.value.fix)


def test_final_seeds_are_not_amended(arm: Make) -> None:
    with pytest.raises(UserError, match="these seeds are final"):
        judge(decide(5, amendable=False), planned(arm, 5, (0, 1), amendable=False), None)


def test_seeds_that_were_final_when_runs_were_made_stay_so(arm: Make) -> None:
    with pytest.raises(UserError, match="these seeds are final"):
        judge(decide(5), planned(arm, 5, (0, 1), amendable=False), None)


def test_runs_of_no_plan_bind_nobody(arm: Make) -> None:
    assert judge(decide(5), planned(arm, 5, ()), None).outcome == "accepted"


def test_an_amendment_is_read_aloud() -> None:
    made = Amendment(created="2025-06-09T08:00:00+00:00", why="w", before=(0, 1), after=(0, 1, 2), look=2, error_share=0.1875)
    assert in_words(made).startswith("amended on 2025-06-09: seeds 0, 1 to 0, 1, 2 (w); look 2")
