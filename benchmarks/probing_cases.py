"""What benchmarks/probing.py tries: experiments and cards, and an experiment made ready as `run` would, on random images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from ddpm_exp.data.datasets import load
from ddpm_exp.data.examples import Examples, Splits, split
from ddpm_exp.data.image_values import with_values
from ddpm_exp.data.shapes import shape_of, value_names
from ddpm_exp.loading.loaded import Loaded, load_experiment
from ddpm_exp.memory.estimate import estimate
from ddpm_exp.memory.fitting import micro_batches
from ddpm_exp.memory.plan import plan as make_plan
from ddpm_exp.memory.probe import allowed
from ddpm_exp.models.fused import OLDEST
from ddpm_exp.spec.amounts import memory_bytes
from ddpm_exp.spec.data import class_count, family_of, training_images
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.identity import science_hash
from ddpm_exp.spec.plan import Plan
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Machine, Prepared, find_machine, lengths
from ddpm_exp.workflow.smoke import smoke

ROOT = Path(__file__).parents[1]
DDPM = "benchmarks/ddpm_cifar10.py"
SHIPPED = tuple(f"experiments/{file.name}" for file in sorted((ROOT / "experiments").glob("*.py")))
CARDS = ("T4", "V100-16", "V100-32", "A100-40")
_SHARD_IMAGES = 50_000
"""Of shards, whose number only their files tell: as many as CIFAR-10 has."""

MANY = "training.images_per_step=5040"
"""So many images that memory binds, and that a step has many divisors."""

AUTO = "training.precision=auto"
"""What the card computes best, where the experiment says bf16, which older cards do not have."""


class Case(NamedTuple):
    """One process."""

    file: str
    overrides: tuple[str, ...] = ()
    card: str | None = None
    memory_limit: str | None = None
    over: bool = False
    """Train with more than the card's plan instead of it."""


PROBES = (
    Case(DDPM),
    Case(DDPM, ("training.images_per_step=1024",)),
    Case(DDPM, ("training.images_per_step=1024",), memory_limit="15GiB"),
    Case(DDPM, ("training.images_per_step=1024", "training.precision=fp32"), memory_limit="15GiB"),
    Case("experiments/fashion_flow.py"),
    Case("experiments/quickstart.py"),
)

PLANNED: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((file, ()) for file in SHIPPED),
    (DDPM, (AUTO,)),
    (DDPM, (AUTO, MANY)),
    (DDPM, (AUTO, MANY, "model.checkpointing=true")),
    ("experiments/fashion_prompts.py", (MANY,)),
    ("experiments/fashion_words.py", (MANY,)),
    ("experiments/fashion_flow.py", ("training.images_per_step=10080", "model.width=512")),
)
"""What `check` plans for each card. Of the shipped ones, whole steps fit everywhere; the others are there for memory to bind."""


def prepared(case: Case, dry: bool) -> Prepared:
    """The experiment with data that stands in for its own, planned as `check` and `run` do."""
    loaded = load_experiment(ROOT / case.file, case.overrides)
    if case.card is not None and find_gpu(case.card).capability < OLDEST:
        loaded = _with(loaded, loaded.experiment.but(hardware=loaded.experiment.hardware.but(fused_kernels=False)))
    experiment = loaded.experiment
    if dry:
        machine = Machine(find_gpu(case.card or "cpu"), "cpu", {})
    else:
        limit = None if case.memory_limit is None else memory_bytes(case.memory_limit, "--memory-limit")
        machine = find_machine(RunOptions(gpu=case.card, memory_limit=limit))
    plan = make_plan(experiment, machine.gpu, device="cuda" if machine.gpu.name != "cpu" else "cpu")
    if case.over:
        loaded, plan = _beyond(loaded, machine, plan)
    experiment = loaded.experiment
    if dry:
        loaded = smoke(loaded)
        experiment = loaded.experiment
        step = experiment.training.images_per_step
        slices = {"images_per_step": step, "micro_batch": step, "accumulation": 1, "devices": 1}
        plan = plan.but(device="cpu", precision="fp32", **slices)
    splits = splits_of(experiment)
    units = lengths(experiment, splits.training_images)
    return Prepared(loaded, machine, plan, splits, units, science_hash(experiment, plan.precision))


def _with(loaded: Loaded, experiment: Experiment) -> Loaded:
    return replace(loaded, experiment=experiment)


def binding(loaded: Loaded, machine: Machine, plan: Plan) -> str:
    """What keeps the plan's micro-batch from being larger."""
    share = plan.images_per_step // plan.devices
    if plan.micro_batch == share:
        return "images per step"
    if loaded.experiment.hardware.micro_batch is not None:
        return "hardware.micro_batch"
    half_more = _larger(plan)
    expected = estimate(loaded.experiment, machine.gpu, plan.precision, half_more)
    return "memory" if expected.peak_bytes > allowed(loaded.experiment, plan) else "divisors"


def _larger(plan: Plan) -> int:
    return -(-plan.micro_batch * 3 // 2)


def _beyond(loaded: Loaded, machine: Machine, plan: Plan) -> tuple[Loaded, Plan]:
    """One and a half times the plan's micro-batch, in a step that is accumulated from two of them; or the next larger divisor."""
    if binding(loaded, machine, plan) == "divisors":
        micro = min(size for size in micro_batches(loaded.experiment) if size > plan.micro_batch)
        return loaded, plan.but(micro_batch=micro, accumulation=plan.images_per_step // plan.devices // micro)
    micro = _larger(plan)
    experiment = loaded.experiment
    changed = experiment.but(training=experiment.training.but(images_per_step=2 * micro))
    return _with(loaded, changed), plan.but(images_per_step=2 * micro, micro_batch=micro, accumulation=2, devices=1)


def splits_of(experiment: Experiment) -> Splits:
    """Random images, or the data itself where it is made up or small."""
    if family_of(experiment.data) != "image" or experiment.data.kind == "digits":
        return load(experiment.data, experiment.condition)
    count = training_images(experiment.data) or experiment.data.subset or _SHARD_IMAGES
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count + 512, *shape_of(experiment.data)), generator=generator, dtype=torch.uint8)
    classes = class_count(experiment.data) or 10
    names, labels = tuple(f"some {chr(97 + k)}" for k in range(classes)), torch.arange(len(pixels)) % classes
    parts = (Examples(pixels[:count], labels[:count], names), Examples(pixels[count:], labels[count:], names))
    train, held_out, facts = with_values(value_names(experiment.condition), *parts)
    return split(train, held_out, facts)
