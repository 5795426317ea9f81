"""Snapshots of averages in a run directory, and the average of any length that is made from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ddpm_exp.checkpoints.store import Checkpoint, checkpoints, images_of, load, save
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import UserError
from ddpm_exp.training.posthoc import TRACKED, combine, mixed, profile
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.recorded import Recorded, Weights

FOLDER = "ema"

_MOST_MISFIT = 0.1
"""A combination whose profile is further than this from the one that was asked for is another average."""

_ALL = 10**9


def keep_averages(prepared: Prepared, trainer: Trainer, run: RunDirectory, *, ends: bool) -> None:
    """Write a snapshot if one is due after the images that `trainer` has seen, or if training `ends` here."""
    training = prepared.experiment.training
    if training.ema_snapshots is None:
        return
    if not ends and trainer.images_seen % training.images(training.ema_snapshots, prepared.units.images_per_epoch):
        return
    states = {width: average.network.state_dict() for width, average in trainer.tracked.items()}
    # Those of more images are of a course that the run left: they go, and are made again.
    save(run.path / FOLDER, Checkpoint(trainer.images_seen, dict(states)), keep=_ALL)


def average_of(recorded: Recorded, sigma_rel: float) -> Weights:
    """The power-function average of relative width `sigma_rel` after the images of the last snapshot.

    Raises UserError where the run kept no snapshots, and where theirs make no average of this width.
    """
    kept, weights = _combination(recorded, sigma_rel)
    return Weights(mixed(_states(kept), weights), averaged=True, images_seen=images_of(kept[-1][0]))


def require_average(recorded: Recorded, sigma_rel: float) -> None:
    """Raise UserError where `average_of` would; reads no tensors."""
    _combination(recorded, sigma_rel)


def _combination(recorded: Recorded, sigma_rel: float) -> tuple[list[tuple[Path, float]], Sequence[float]]:
    """The snapshots (file and width), in order, and the weight of each."""
    if not 0.001 < sigma_rel < 0.28:
        raise UserError("a relative width lies between 0.001 and 0.28", field="sigma_rel", value=sigma_rel, fix="take 0.05 to 0.20")
    paths = checkpoints(recorded.run.path / FOLDER)
    if not paths:
        raise UserError(
            "this run kept no snapshots of averages",
            field="sigma_rel",
            value=sigma_rel,
            fix="train with training.ema_snapshots = '1 epochs', or leave sigma_rel out",
        )
    last = images_of(paths[-1])
    kept = [(path, width) for path in paths for width in TRACKED]
    found = combine([profile(images_of(path), width) for path, width in kept], profile(last, sigma_rel))
    if found.misfit > _MOST_MISFIT:
        raise UserError(
            f"the {len(paths)} snapshots of this run make an average of this width only with an error of {found.misfit:.0%} of its "
            "profile",
            field="sigma_rel",
            value=sigma_rel,
            fix="take a width nearer to 0.05 to 0.10, or train with a smaller training.ema_snapshots",
        )
    return kept, found.weights


def _states(kept: list[tuple[Path, float]]) -> Iterator[Mapping[str, Tensor]]:
    """One after the other: together they may be many times the network. Each file is read once."""
    path, tensors = None, {}
    for file, width in kept:
        if file != path:
            path, tensors = file, load(file).tensors
        yield tensors[str(width)]
