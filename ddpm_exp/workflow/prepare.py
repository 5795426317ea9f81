"""From a loaded experiment to everything known before the first step: data, plan, lengths in images, identity."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import psutil
import torch
from pydantic_core import PydanticCustomError

from ddpm_exp.data.conditions import build_conditions
from ddpm_exp.data.datasets import load, require
from ddpm_exp.data.examples import Splits
from ddpm_exp.data.place import ANY, Room, room_for
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.evaluation.fidelity import fewest
from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.memory.device import this_machine
from ddpm_exp.memory.limit import held_to
from ddpm_exp.memory.plan import plan as make_plan
from ddpm_exp.records.manifest import Units
from ddpm_exp.spec.condition import Condition, parts_of
from ddpm_exp.spec.data import Data
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, Hardware, find_gpu, gpu_names
from ddpm_exp.spec.identity import science_hash
from ddpm_exp.spec.phases import phase_ends
from ddpm_exp.spec.plan import Plan
from ddpm_exp.workflow.named_gpu import require_named_gpu
from ddpm_exp.workflow.options import RunOptions


@dataclass(frozen=True)
class Machine:
    """Where the run happens."""

    gpu: Gpu
    """The memory and precisions to plan for: the machine's own, or a smaller catalogue GPU that was asked for."""

    device: Literal["cpu", "cuda"]
    facts: dict[str, Any]
    """For the manifest: name, driver, versions."""

    limit_bytes: int | None = None
    """What the process is held to, where a smaller card is emulated on a larger one; None: nothing is emulated."""

    def held_to_limit(self) -> AbstractContextManager[None]:
        """While a run lasts: what it would not get on the emulated card, it does not get."""
        return held_to(self.limit_bytes, self.gpu, torch.device(self.device))

    @property
    def visible(self) -> int:
        """GPUs that this process may use; 0 where it runs on the processor."""
        return torch.cuda.device_count() if self.device == "cuda" else 0


@dataclass(frozen=True)
class Prepared:
    """An experiment with its data at hand, planned for one machine."""

    loaded: Loaded
    machine: Machine
    plan: Plan
    splits: Splits
    units: Units
    science_hash: str

    @property
    def experiment(self) -> Experiment:
        """What the file and the overrides say."""
        return self.loaded.experiment

    @property
    def whole_task(self) -> Prepared:
        """The same without phases: what memory, time and rates are measured on, as it is the largest and the longest part."""
        experiment = self.experiment
        if not experiment.training.phases:
            return self
        whole = experiment.but(training=experiment.training.but(phases=()))
        return replace(self, loaded=replace(self.loaded, experiment=whole))


def find_machine(options: RunOptions) -> Machine:
    """This machine, limited to `options.gpu` and `options.memory_limit` if they are given. Raises UserError for what it is not
    or cannot be."""
    gpu, device, facts = this_machine()
    found = Machine(gpu, device, facts) if options.gpu is None else _named(options.gpu, gpu, device, facts)
    if options.memory_limit is None:
        return found
    return _limited(found, options.memory_limit)


def _named(name: str, gpu: Gpu, device: Literal["cpu", "cuda"], facts: dict[str, Any]) -> Machine:
    """The machine as if its GPU were the one called `name`."""
    try:
        wanted = find_gpu(name)
    except KeyError:
        raise UserError(f"a GPU is one of {', '.join(gpu_names())}", field="--gpu", value=name, fix="choose one of these") from None
    if wanted.name == "cpu":
        limit = gpu if device == "cpu" else wanted
        return Machine(limit, "cpu", facts)
    if device == "cpu":
        raise UserError(
            "this machine has no GPU that torch can use",
            field="--gpu",
            value=name,
            fix="leave --gpu out to run on the CPU, use `ddpm-exp check --gpu` to plan only, and `ddpm-exp doctor` to see why",
        )
    if wanted.name == gpu.name:
        return Machine(gpu, device, facts)
    if wanted.usable_bytes > gpu.usable_bytes:
        raise UserError(
            f"{wanted.name} has more memory than this machine's {gpu.name}", field="--gpu", value=name, fix="leave it out"
        )
    missing = [kind for kind in wanted.precisions if kind not in gpu.precisions]
    if missing:
        raise UserError(f"{gpu.name} lacks {', '.join(missing)}", field="--gpu", value=name, fix="leave it out")
    return Machine(wanted, device, facts, limit_bytes=wanted.usable_bytes)


def _limited(found: Machine, limit: int) -> Machine:
    """The same with no more than `limit` bytes of memory."""
    if found.device == "cpu":
        raise UserError(
            "only a GPU's memory can be limited, and this runs on the processor",
            field="--memory-limit",
            value=f"{limit:,} bytes",
            fix="leave it out; `ddpm-exp check --gpu` plans for any GPU without one",
        )
    if limit > found.gpu.usable_bytes:
        raise UserError(
            f"{found.gpu.name} has {found.gpu.usable_bytes:,} bytes, which is less",
            field="--memory-limit",
            value=f"{limit:,} bytes",
            fix="leave it out, or name less",
        )
    return replace(found, gpu=found.gpu._replace(usable_bytes=limit), limit_bytes=limit)


@lru_cache(maxsize=2)
def load_data(data: Data, condition: Condition, room: Room = ANY, workers: int = 0) -> Splits:
    """The examples, read once per process; training images beyond `room` stay in their files."""
    return load(data, condition, room, workers)


def room_on(machine: Machine, hardware: Hardware) -> Room:
    """How many bytes of training images may be decoded there."""
    device_bytes = machine.gpu.usable_bytes if machine.device == "cuda" else None
    processes = min(hardware.devices, max(1, machine.visible))
    host_bytes = psutil.virtual_memory().total // processes
    return room_for(hardware.data_in, device_bytes=device_bytes, host_bytes=host_bytes)


def prepare(loaded: Loaded, machine: Machine) -> Prepared:
    """Check what the run needs, read the data, plan. Raises UserError before anything is written."""
    experiment = loaded.experiment
    require(experiment.data, experiment.condition)
    require_named_gpu(loaded)
    _require_held_out_wording(experiment)
    _require_extractors(experiment)
    splits = load_data(experiment.data, experiment.condition, room_on(machine, experiment.hardware), experiment.hardware.workers)
    _require_reals(experiment, splits)
    build_conditions(experiment.condition, splits.facts, uniform)
    plan = make_plan(experiment, machine.gpu, device=machine.device)
    units = lengths(experiment, splits.training_images)
    return Prepared(loaded, machine, plan, splits, units, science_hash(experiment, plan.precision))


def lengths(experiment: Experiment, images_per_epoch: int) -> Units:
    """Steps and epochs as images, for this experiment's data."""
    training = experiment.training
    total = training.images(training.duration, images_per_epoch)
    try:
        phase_ends(training, images_per_epoch)
    except PydanticCustomError as error:  # amounts in epochs of data whose size only its files tell
        context = error.context or {}
        raise UserError(context["rule"], field=context["field"], value=context["value"], fix=context["fix"]) from None
    return Units(images_per_step=training.images_per_step, images_per_epoch=images_per_epoch, total_images=total)


def _require_extractors(experiment: Experiment) -> None:
    """Raise UserError where what extracts features is not on this machine."""
    from ddpm_exp.evaluation.extractors import efficientnet, find_weights

    if experiment.evaluation.fid is not None:
        find_weights(experiment.evaluation.fid)
    if experiment.evaluation.fd is not None:
        efficientnet()


def _require_reals(experiment: Experiment, splits: Splits) -> None:
    fd = experiment.evaluation.fd
    needed = 0 if fd is None else fewest(fd.metrics)
    if len(splits.held_out) < needed:
        raise UserError(
            f"distances are to the held-out images, of which there must be {needed} at least, and the data hold out "
            f"{len(splits.held_out)}",
            field="evaluation.fd",
            fix="hold more images out, or set evaluation.fd to None",
        )


def _require_held_out_wording(experiment: Experiment) -> None:
    for part in parts_of(experiment.condition):
        if part.kind == "prompt" and not part.held_out_templates:
            raise UserError(
                "evaluation draws its samples from wording that training never saw, so prompts need at least one held-out template",
                field="condition.held_out_templates",
                value=part.held_out_templates,
                fix="name one, such as 'my new {} today', or leave the field out for the default ones",
            )
