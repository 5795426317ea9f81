"""The same experiment, small: every part of it runs within seconds on a CPU, and nothing is learnt."""

from __future__ import annotations

import math
from dataclasses import replace

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.spec.data import Data
from ddpm_exp.spec.experiment import Experiment

_STEPS = 4
_FEWEST_CHANNELS = 8
_IMAGES = 64


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
    divisor = math.lcm(model.groups, model.heads)
    return experiment.but(
        data=experiment.data.but(subset=_subset(experiment.data)),
        model=model.but(base_channels=divisor * -(-_FEWEST_CHANNELS // divisor), blocks_per_level=1),
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


def _subset(data: Data) -> int | None:
    """At most 64 images; of a folder without `subset` all, since it may hold fewer and is read whole in any case."""
    if data.subset is None:
        return None if data.kind == "folder" else _IMAGES
    return min(_IMAGES, data.subset)
