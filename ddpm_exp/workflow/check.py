"""What can be said about an experiment without a GPU: parameters, plans, advice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddpm_exp.evaluation import packages
from ddpm_exp.loading.diff import Change, diff_experiments
from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.memory.evaluating import costs_at_end
from ddpm_exp.memory.rows import PlanRow
from ddpm_exp.spec.advice.advise import advise, advise_change
from ddpm_exp.spec.advice.rule import Advice
from ddpm_exp.spec.data import ImageFolder
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.vectors import Points, Sequences
from ddpm_exp.workflow.data_places import missing_shards
from ddpm_exp.workflow.kept_plans import sized
from ddpm_exp.workflow.kept_speeds import with_speed
from ddpm_exp.workflow.named_gpu import refusal


@dataclass(frozen=True)
class Checked:
    """A valid experiment and what there is to know about it before it runs."""

    loaded: Loaded
    changes: tuple[Change, ...]
    plans: list[PlanRow]
    advice: tuple[Advice, ...]
    parameters: int | None
    not_here: dict[str, str]
    """Fields that name a file or a folder which is not on this machine; a run needs it, a check does not."""

    places: tuple[str, ...] = ()
    """Where the training images of a folder or of shards would be and why, with the GPUs that it holds for."""

    not_installed: dict[str, str] = field(default_factory=dict)
    """Fields that need a package which is not installed, with the command that installs it."""

    costs_at_end: tuple[str, ...] = ()
    """What is drawn and measured once, when a run is complete."""


def check(loaded: Loaded, gpus: Sequence[str], *, use_kept: bool = True) -> Checked:
    """Plan for each of `gpus` (catalogue names) and collect advice. Touches no device and reads no data set.

    What takes seconds comes from the cache where all that decides it is as it was (see `sized`), unless not `use_kept`. Speeds
    that a probe measured replace estimated ones in either case (see `with_speed`): they are no estimates to make anew.
    Raises UserError where the experiment names a GPU that cannot hold it, and where a table or the condition's part of the
    data, which a plan needs, is not as the experiment says.
    """
    experiment, baseline = loaded.experiment, loaded.baseline
    own = experiment.hardware.gpu
    wanted = [find_gpu(name) for name in dict.fromkeys([*([own] if own else []), *gpus])]
    found = sized(experiment, wanted, use_kept=use_kept)
    plans = [with_speed(experiment, row) for row in found.plans]
    reason = plans[0].reason if plans else None
    if reason is not None and (own or (reason.field or "").startswith(("data.", "condition."))):
        raise refusal(reason, loaded)
    advice = advise(experiment, host_cores=os.cpu_count())
    return Checked(
        loaded,
        diff_experiments(baseline.experiment, experiment) if baseline else (),
        plans,
        advice + (advise_change(baseline.experiment, experiment) if baseline else ()),
        found.parameters,
        {name: path for name, path in _places(experiment).items() if not Path(path).expanduser().exists()}
        | missing_shards(experiment),
        found.places,
        _not_installed(experiment),
        costs_at_end(experiment),
    )


def _not_installed(experiment: Experiment) -> dict[str, str]:
    absent = packages.missing() if experiment.evaluation.fd is not None else ()
    return {"evaluation.fd": packages.command(absent)} if absent else {}


def _places(experiment: Experiment) -> dict[str, str]:
    """Files and folders that the experiment names, by field, but for those that a plan reads."""
    data = experiment.data
    named: dict[str, str | None] = {
        "data.root": data.root if isinstance(data, ImageFolder) else None,
        "data.source": data.source if isinstance(data, Sequences | Points) and data.source.endswith((".npy", ".npz")) else None,
        "training.init_from": experiment.training.init_from,
        "sampling.guide": experiment.sampling.guide,
    }
    return {field: path for field, path in named.items() if path is not None}
