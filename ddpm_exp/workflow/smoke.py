"""The same experiment, small: every part of it runs within seconds on a CPU, and nothing is learnt."""

from __future__ import annotations

from dataclasses import replace

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.spec.experiment import Experiment

_STEPS = 4


def smoke(loaded: Loaded) -> Loaded:
    """`loaded` and its baseline shrunk, under names ending in `-smoke` so that their runs stay apart."""
    return replace(
        loaded,
        experiment=shrink(loaded.experiment),
        name=f"{loaded.name}-smoke",
        baseline=smoke(loaded.baseline) if loaded.baseline else None,
    )


def shrink(experiment: Experiment) -> Experiment:
    """Four steps of at most four images on 64 images, one narrow block per level, few sampling steps, little evaluation."""
    training, model, evaluation = experiment.training, experiment.model, experiment.evaluation
    return experiment.but(
        data=experiment.data.but(subset=min(64, experiment.data.subset or 64)),
        model=model.but(base_channels=model.groups * model.heads, blocks_per_level=1),
        training=training.but(
            images_per_step=min(4, training.images_per_step),
            duration=f"{_STEPS} steps",
            warmup="0 images",
            log_every="1 steps",
            checkpoint_every="2 steps",
        ),
        sampling=experiment.sampling.but(steps=min(3, experiment.sampling.steps)),
        evaluation=evaluation.but(every="2 steps", held_out=16, samples=min(20, evaluation.samples), grid_columns=2, fid=None),
        hardware=experiment.hardware.but(micro_batch=None, compile=False),
    )
