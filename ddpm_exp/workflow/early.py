"""Early stopping of a recorded run: read from its metrics, so that it is the same however often the run was interrupted."""

from __future__ import annotations

from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.metrics import find_metric
from ddpm_exp.training.stopping import Early, early_end
from ddpm_exp.workflow.prepare import Prepared

STOPPED_EARLY = "stopped_early"
"""Fact in the status of a finished run: the images after which it ended before its time."""


def ended_early(prepared: Prepared, run: RunDirectory) -> Early | None:
    """Where `run` ends before its time, by what it has recorded; None if it does not, or not yet.

    Raises UserError where nothing of what is watched was evaluated.
    """
    training = prepared.experiment.training
    rule = training.stop_early
    if rule is None:
        return None
    better = find_metric(rule.metric).better
    assert better != "neither"  # the spec refuses such
    points = run.metrics.series(rule.metric)
    if not points and run.metrics.series("val/denoising"):
        raise UserError(
            "this experiment's evaluation does not measure what is to end the training",
            field="training.stop_early.metric",
            value=rule.metric,
            fix="set it to 'val/denoising', or ask evaluation for the measure",
        )
    early = early_end(
        points,
        patience_images=training.images(rule.patience, prepared.units.images_per_epoch),
        improvement=rule.improvement,
        better=better,
    )
    return early if early is not None and early.images < prepared.units.total_images else None


def in_words(prepared: Prepared, early: Early) -> str:
    """`stopped early after 9,600 of 40,000 images: val/denoising was best, 0.0312, at 4,800 images`."""
    rule = prepared.experiment.training.stop_early
    metric = "" if rule is None else rule.metric
    return (
        f"stopped early after {early.images:,} of {prepared.units.total_images:,} images: {metric} was best, {early.best:.4g}, "
        f"at {early.best_images:,} images"
    )
