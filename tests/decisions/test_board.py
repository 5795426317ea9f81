"""The board has a row for every decision, whatever state its runs are in."""

from __future__ import annotations

from collections.abc import Callable

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.board import board_row, sorted_board
from ddpm_exp.spec.decision import Decision, metric

Make = Callable[..., Arm]

DECISION = Decision(title="Faster", context="c", chosen="d", accept_when=(metric("val/denoising").falls(),))


def test_a_row_shows_verdict_effect_runs_and_hours(arm: Make) -> None:
    ours, theirs = arm("a", {"val/denoising": (0.080, 0.091, 0.086)}), arm("b", {"val/denoising": (0.100, 0.110, 0.105)})
    row = board_row("ADR-0002", DECISION, ours, theirs)
    assert (row.verdict, row.done, row.planned, row.hours, row.note) == ("accepted", 6, 6, 3.0, "")
    assert row.effect == "val/denoising -0.01933 [-0.02048, -0.01819]"
    assert row.to_json()["experiment_id"] == "ADR-0002"


def test_a_decision_without_runs_has_a_row_that_says_what_is_missing(arm: Make) -> None:
    ours, theirs = (arm(name, {"val/denoising": ()}, planned=(0, 1, 2)) for name in ("a", "b"))
    row = board_row("ADR-0002", DECISION, ours, theirs)
    assert (row.verdict, row.effect, row.done, row.planned) == ("inconclusive", "n/a", 0, 6)
    assert "A, seed 0, has no run" in row.note


def test_a_decision_that_cannot_be_judged_has_a_row_with_the_reason(arm: Make) -> None:
    ours = arm("a", {"val/denoising": (0.1, 0.2, 0.3)}, data_fingerprint="aaaa")
    theirs = arm("b", {"val/denoising": (0.1, 0.2, 0.3)}, data_fingerprint="bbbb")
    row = board_row("ADR-0002", DECISION, ours, theirs)
    assert row.verdict == "refused"
    assert "data fingerprint" in row.note


def test_rows_are_in_order_of_their_ids(arm: Make) -> None:
    ours = arm("a", {"val/denoising": (0.1, 0.2, 0.3)})
    rows = [board_row(identity, DECISION, ours, None) for identity in ("ADR-0010", "ADR-0002")]
    assert [row.experiment_id for row in sorted_board(rows)] == ["ADR-0002", "ADR-0010"]
