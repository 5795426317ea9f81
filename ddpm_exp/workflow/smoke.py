"""The same experiment, small: every part of it runs within seconds on a CPU, and nothing is learnt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.spec.data import Data, training_images
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import MLP, EncoderDecoder, Model, UNet

_STEPS = 4
_FEWEST_CHANNELS = 8
_EXAMPLES = 64


def smoke(loaded: Loaded) -> Loaded:
    """`loaded` and its baseline shrunk, under names ending in `-smoke` so that their runs stay apart."""
    return replace(
        loaded,
        experiment=shrink(loaded.experiment),
        name=f"{loaded.name}-smoke",
        baseline=smoke(loaded.baseline) if loaded.baseline else None,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread meanwhile: networks this small gain nothing from more, which on a busy machine wait for each other
    several times as long as the whole run takes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def shrink(experiment: Experiment) -> Experiment:
    """Four steps of at most four examples on 64, a narrow and shallow network, few sampling steps, little evaluation."""
    training, evaluation = experiment.training, experiment.evaluation
    return experiment.but(
        data=experiment.data.but(subset=_subset(experiment.data)),
        model=_narrow(experiment.model),
        training=training.but(
            images_per_step=_few(training.images_per_step, experiment.hardware.devices),
            duration=f"{_STEPS} steps",
            warmup="0 images",
            log_every="1 steps",
            checkpoint_every="2 steps",
            init_from=None,
            init_weights="ema",
            stop_early=None,
            ema_snapshots=None if training.ema_snapshots is None else "1 steps",
            phases=tuple(phase.but(duration="1 steps") for phase in training.phases[: _STEPS - 1]),
        ),
        sampling=experiment.sampling.but(steps=min(3, experiment.sampling.steps), guide=None),
        evaluation=evaluation.but(
            every="2 steps",
            held_out=16,
            likelihood=min(4, evaluation.likelihood),
            likelihood_terms=2,
            samples=min(20, evaluation.samples),
            grid_columns=2,
            fid=None,
            fd=None,
        ),
        hardware=experiment.hardware.but(micro_batch=None, compile=False),
    )


def _few(images_per_step: int, devices: int) -> int:
    """About four, the same number on each device."""
    return max(1, min(4, images_per_step) // devices) * devices


def _narrow(model: Model) -> Model:
    """The same kind of network with the fewest features that its own rules allow, and one layer or block per level."""
    if isinstance(model, UNet):
        # The usual 32 groups would ask for 32 channels, which cost most of the time of the whole run.
        groups = min(model.groups, _FEWEST_CHANNELS)
        divisor = math.lcm(groups, model.heads)
        return model.but(base_channels=divisor * -(-_FEWEST_CHANNELS // divisor), groups=groups, blocks_per_level=1)
    if isinstance(model, EncoderDecoder):
        return model.but(hidden_dim=16)
    if isinstance(model, MLP):
        return model.but(hidden_dim=math.lcm(model.heads, _FEWEST_CHANNELS), layers=1)
    return model.but(width=math.lcm(model.heads, _FEWEST_CHANNELS), depth=1)


def _subset(data: Data) -> int | None:
    """At most 64 examples; of files without `subset` all, since they may hold fewer and are read whole in any case."""
    if data.subset is None:
        return _EXAMPLES if training_images(data) is not None else None
    return min(_EXAMPLES, data.subset)
