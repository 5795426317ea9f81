"""The decision of guide 004, as the two experiments that are shipped: complete, and judged by what a machine can check."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddpm_exp.loading.diff import diff_experiments
from ddpm_exp.loading.loaded import Loaded, load_experiment
from ddpm_exp.models.build import build_network
from ddpm_exp.spec.data import shape_of
from ddpm_exp.spec.decision import Decision
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.schedule import covered_log_snr

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def variant() -> Loaded:
    return load_experiment(EXPERIMENTS / "adr_0002.py")


@pytest.fixture(scope="module")
def baseline() -> Loaded:
    return load_experiment(EXPERIMENTS / "adr_0001.py")


def _decision(loaded: Loaded) -> Decision:
    assert loaded.experiment.decision is not None
    return loaded.experiment.decision


def test_the_difference_is_what_guide_004_lists(variant: Loaded, baseline: Loaded) -> None:
    found = {change.path: (change.before, change.after) for change in diff_experiments(baseline.experiment, variant.experiment)}
    assert found == {
        "diffusion.timesteps": (500, 200),
        "sampling.steps": (125, 50),
        "training.learning_rate": (5e-6, 5e-5),
        "training.images_per_step": (4, 8),
        "model.base_channels": (128, 96),
        "model.time_embedding": (256, 192),
        "evaluation.every": ("10 epochs", "5 epochs"),
        "training.checkpoint_every": ("20 epochs", "10 epochs"),
    }


def test_the_baseline_is_the_parent(variant: Loaded, baseline: Loaded) -> None:
    assert variant.baseline is not None
    assert (variant.baseline.id, baseline.id, baseline.baseline) == ("ADR-0001", "ADR-0001", None)


def test_both_train_on_2048_fashion_images_with_prompts(variant: Loaded, baseline: Loaded) -> None:
    for experiment in (variant.experiment, baseline.experiment):
        assert (experiment.data.kind, experiment.data.image_size, experiment.data.subset) == ("fashion-mnist", 32, 2048)
        assert experiment.condition.kind == "prompt"


def test_sampling_keeps_the_ratio_of_four(variant: Loaded, baseline: Loaded) -> None:
    for experiment in (variant.experiment, baseline.experiment):
        assert experiment.diffusion.timesteps == 4 * experiment.sampling.steps


def test_the_record_is_complete(variant: Loaded) -> None:
    record = _decision(variant)
    assert (record.date, record.status) == ("2025-06-09", "proposed")
    assert [entry.outcome for entry in record.alternatives] == ["rejected", "rejected", "rejected", "deferred"]
    assert all(entry.description and entry.reason for entry in record.alternatives)
    told = record.consequences
    assert [len(part) for part in (told.positive, told.negative, told.risks, told.mitigations)] == [5, 4, 3, 4]
    for value in ("500", "200", "5e-6", "5e-5", "128", "96", "256", "192", "every 5 epochs", "every 10"):
        assert value in record.chosen


def test_each_of_the_four_success_metrics_is_a_criterion(variant: Loaded) -> None:
    found = [(c.metric, c.kind, c.against, c.at_point) for c in _decision(variant).accept_when if c.value is None]
    bounds = [(c.metric, c.kind, c.at_point) for c in _decision(variant).accept_when if c.value is not None]
    assert found == [
        ("samples/coherence", "rises", "noise", "20 epochs"),
        ("val/denoising_fall_per_epoch", "rises", "baseline", None),
    ]
    assert bounds == [("samples/prompt_distance", "at_least", None), ("samples/coherence_of_real", "at_least", "50 epochs")]
    assert [c.metric for c in _decision(variant).reject_when] == ["train/bad_steps", "val/denoising"]


def test_no_criterion_compares_losses_of_two_schedules(variant: Loaded, baseline: Loaded) -> None:
    for record in (_decision(variant), _decision(baseline)):
        assert not {c.metric for c in (*record.accept_when, *record.reject_when)} & {"train/loss", "val/loss"}


def test_criteria_in_mid_training_fall_on_evaluations_of_both_arms(variant: Loaded, baseline: Loaded) -> None:
    points = [c.at_point for c in _decision(variant).accept_when if c.at_point]
    for experiment in (variant.experiment, baseline.experiment):
        every = experiment.training.images(experiment.evaluation.every, 2048)
        assert all(experiment.training.images(point, 2048) % every == 0 for point in points)


def test_200_timesteps_cover_the_noise_levels_of_every_arm(variant: Loaded, baseline: Loaded) -> None:
    low, high = covered_log_snr(variant.experiment.diffusion)
    assert f"{low:.2f}" == "-1.88"
    levels = variant.experiment.evaluation.log_snr
    assert levels == baseline.experiment.evaluation.log_snr == Evaluation().log_snr
    assert low <= min(levels) and max(levels) <= high


def test_the_record_states_the_real_parameter_reduction(variant: Loaded, baseline: Loaded) -> None:
    """Guide 004 says 25 %; widths go squared into the parameters."""
    before, after = (
        sum(weight.numel() for weight in build_network(e.model, (), shape_of(e.data)).parameters())
        for e in (baseline.experiment, variant.experiment)
    )
    said = f"{(1 - after / before) * 100:.0f} % fewer ({before / 1e6:.1f} M to {after / 1e6:.1f} M)"
    assert said in _decision(variant).chosen
