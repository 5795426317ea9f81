"""The processes of a `run`, as its launcher started them: connected for its duration, the first deciding what is run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import torch

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.ranks.environment import launched, require_agreement, restarted
from ddpm_exp.ranks.ranks import SINGLE, Ranks, joined
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import follow_seed


@contextlib.contextmanager
def started(experiment: Experiment, options: RunOptions) -> Iterator[tuple[Ranks, RunOptions]]:
    """This process among those of the run, and the options that hold for it. Raises UserError where `hardware.devices`, the
    launcher and the machine do not agree.

    A run that was begun with --fresh goes on when its processes are started again after one of them died.
    """
    on_gpus = torch.cuda.is_available() and (options.gpu or "").lower() != "cpu"
    place = launched()
    ranks = SINGLE if place is None else Ranks(*place)
    require_agreement(ranks, experiment, gpus=torch.cuda.device_count() if on_gpus else 0)
    if restarted():
        options = replace(options, fresh=False)
    with joined(ranks, "cuda" if on_gpus else "cpu") as connected:
        yield connected, options


def follow_all(loaded: Loaded, options: RunOptions, ranks: Ranks) -> None:
    """Take part in every run that the first process starts."""
    while (job := ranks.share(None)) is not None:
        arm = loaded.baseline if job["baseline"] else loaded
        assert arm is not None  # the first process has read the same file
        follow_seed(arm, int(job["seed"]), options, ranks)
