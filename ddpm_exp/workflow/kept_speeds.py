"""Training speeds that probes measured, kept where `check` finds them without a GPU. Takes no torch."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ddpm_exp.memory.rows import PlanRow, Speed
from ddpm_exp.records.cache import Kept, source_digest, version_of
from ddpm_exp.spec.data import Data, ImageFolder, Shards
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.vectors import Table
from ddpm_exp.workflow.compiling import choose
from ddpm_exp.workflow.kept_plans import facts_of, torch_build

KEPT = Kept("speeds")

_FORM = TypeAdapter(Speed)

_OF_HARDWARE = (
    "micro_batch",
    "headroom",
    "shard",
    "data_in",
    "workers",
    "cuda_graph",
    "fused_kernels",
    "deterministic",
)
"""Devices and compilation are the plan's."""


def keep(experiment: Experiment, plan: Plan, speed: Speed) -> None:
    """Keep what was measured of `plan` on its GPU, in place of what was measured before."""
    KEPT.keep(key_of(experiment, plan), _FORM.dump_python(speed, mode="json"))


def with_speed(experiment: Experiment, row: PlanRow) -> PlanRow:
    """`row` with its times at the speed that was kept for its plan; unchanged without one, and where its file is damaged."""
    if row.plan is None or row.timing is None:
        return row
    answer = KEPT.find(key_of(experiment, row.plan))
    if answer is None:
        return row
    with suppress(ValidationError):
        speed = _FORM.validate_python(answer)
        seconds = row.timing.at_speed(speed.images_per_second * row.plan.devices).training_seconds
        return row.measured(replace(speed, unlike=unlike(experiment, row.plan, seconds)))
    return row


def unlike(experiment: Experiment, plan: Plan, training_seconds: float | None) -> str:
    """In what a run's steps differ from those that a probe of `plan` times, in words; empty where in nothing.

    `training_seconds`: of the whole training at the probe's speed, by which a run chooses whether to compile; None: not known.
    """
    found = []
    if plan.devices > 1:
        found.append(f"measured on one of {plan.devices} GPUs, without what they say to each other")
    if not plan.compile and training_seconds is not None and choose(experiment, training_seconds).compile:
        found.append("measured without compiling, which a run of this length does")
    return "; ".join(found)


def key_of(experiment: Experiment, plan: Plan) -> dict[str, Any]:
    """Everything that decides how fast `plan`'s steps are, as far as it is known without a GPU, in JSON's types."""
    data, hardware = experiment.data, experiment.hardware
    return steps_of(experiment, plan) | {
        "data": _data(data),
        "hardware": {name: getattr(hardware, name) for name in _OF_HARDWARE},
        "gpu": plan.gpu,
        "torch": [version_of("torch"), torch_build(), version_of("triton")],
        "allocator": allocator_settings(),
        "package": source_digest(),
    }


def steps_of(experiment: Experiment, plan: Plan) -> dict[str, Any]:
    """What is computed in a step, in JSON's types: of the training no rates and no lengths. Phases do not count: the whole task is
    what is measured."""
    training = experiment.training
    return {
        "model": experiment.model.model_dump(mode="json"),
        "condition": experiment.condition.model_dump(mode="json"),
        "diffusion": experiment.diffusion.model_dump(mode="json"),
        "training": {
            "optimizer": training.optimizer,
            "tf32": training.tf32,
            "averages": training.averages,
            "snapshots": training.ema_snapshots is not None,
            "clips": training.gradient_clip is not None,
        },
        "plan": {name: getattr(plan, name) for name in ("precision", "compile", "images_per_step", "devices")},
    }


def allocator_settings() -> list[str | None]:
    """What the environment tells torch's allocator."""
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING")
    return [os.environ.get(name) for name in names]


def _data(data: Data) -> Any:
    """Of data in files also what says which, as their number decides where images are, and a table's columns its width."""
    if isinstance(data, ImageFolder | Shards | Table):
        return [data.model_dump(mode="json"), facts_of(data)]
    return data.model_dump(mode="json", exclude={"subset", "subset_seed", "root"})
