"""The diff of two experiments holds what differs, all of it, and nothing else."""

from __future__ import annotations

from ddpm_exp.loading.diff import Change, diff, diff_experiments
from ddpm_exp.loading.overrides import apply_overrides
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.decision import Decision
from ddpm_exp.spec.experiment import Experiment

BASE = Experiment()


def test_equal_experiments_have_no_diff():
    assert diff_experiments(BASE, Experiment()) == ()


def test_a_change_has_its_path_and_both_values():
    changed = apply_overrides(BASE, ["training.learning_rate=1e-3", "model.multipliers=1,2,2", "hardware.gpu=T4"])
    assert diff_experiments(BASE, changed) == (
        Change("model.multipliers", [1, 2, 2, 2], [1, 2, 2]),
        Change("training.learning_rate", 2e-4, 1e-3),
        Change("hardware.gpu", None, "T4"),
    )


def test_a_change_of_kind_shows_its_fields():
    changes = diff_experiments(BASE, BASE.but(condition=ClassLabels(dropout=0.2)))
    assert changes == (
        Change("condition.kind", "none", "class"),
        Change("condition.dropout", None, 0.2),
        Change("condition.by", None, "embedding"),
    )


def test_a_piece_that_appears_shows_its_fields():
    changes = diff_experiments(BASE, apply_overrides(BASE, ["evaluation.fid.images=1000"]))
    assert changes == (Change("evaluation.fid.images", None, 1000), Change("evaluation.fid.metrics", None, ["fid"]))


def test_how_an_experiment_is_judged_is_no_difference():
    assert diff_experiments(BASE, BASE.but(decision=Decision(title="t", context="c", chosen="d"))) == ()


def test_true_is_not_one_but_one_is_one_point_nought():
    assert diff({"a": 1, "b": 1}, {"a": True, "b": 1.0}) == (Change("a", 1, True),)
