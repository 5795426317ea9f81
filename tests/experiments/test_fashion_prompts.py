"""The prompts experiment asks a classifier whether samples show what held-out wording asked for, within one GPU's minutes."""

from __future__ import annotations

from pathlib import Path

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.advice import advise

LOADED = load_experiment(Path(__file__).parents[2] / "experiments" / "fashion_prompts.py")


def test_it_is_judged_by_the_classifier_on_prompts_never_trained_on() -> None:
    experiment = LOADED.experiment
    assert experiment.condition.kind == "prompt"
    assert experiment.condition.held_out_templates
    assert experiment.evaluation.classifier
    assert experiment.decision is not None
    bounds = {criterion.metric: criterion.value for criterion in experiment.decision.accept_when}
    assert bounds["samples/class_accuracy"] == 0.8


def test_two_seeds_are_planned_so_that_a_verdict_is_possible() -> None:
    assert len(LOADED.experiment.seeds) >= 2


def test_the_only_advice_follows_from_its_shortness() -> None:
    assert [advice.field for advice in advise(LOADED.experiment, host_cores=2)] == ["training.duration", "training.warmup"]
