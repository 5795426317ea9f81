"""The science hash changes with everything that is learnt or measured, and with nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.catalog import find_runs
from ddpm_exp.spec.base import Role, Spec
from ddpm_exp.spec.condition import ClassLabels, ContinuousValues, ImageCondition, Prompts
from ddpm_exp.spec.data import CIFAR10, Digits, FashionMNIST, ImageFolder, Shards
from ddpm_exp.spec.decision import Decision, metric
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import FD, FID, Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import SCHEMA_VERSION, criteria_hash, flat, science, science_hash
from ddpm_exp.spec.model import MLP, DiT, EncoderDecoder, UNet
from ddpm_exp.spec.phases import Phase
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.stopping import EarlyStopping
from ddpm_exp.spec.training import Training
from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table

FIRST_HASH = "a74c9ac03d1e"
"""Of `Experiment()` when `ddim` was the default sampler."""

RECORDED_RUNS = Path(__file__).parents[2] / "benchmarks" / "results" / "runs"

EXECUTION = {
    "data.root (FashionMNIST)",
    "data.root (CIFAR10)",
    "data.cache (Shards)",
    *(f"model.checkpointing ({name})" for name in ("UNet", "EncoderDecoder", "MLP", "DiT")),
    "training.checkpoint_every (Training)",
    "training.log_every (Training)",
    "training.ema_snapshots (Training)",
    "training.keep_checkpoints (Training)",
    "training.keep_best (Training)",
    "evaluation.fid.weights (FID)",
    *(
        f"hardware.{name} (Hardware)"
        for name in (
            "gpu",
            "devices",
            "shard",
            "micro_batch",
            "headroom",
            "workers",
            "compile",
            "cuda_graph",
            "fused_kernels",
            "data_in",
            "deterministic",
        )
    ),
    *(f"tracking.{name} (Tracking)" for name in ("wandb", "project", "entity", "tags")),
}
"""Every field that is not science; a new one must be added here by a person who thought about it."""

FULL = Experiment().but(evaluation=Evaluation(fid=FID(), fd=FD()), training=Training(stop_early=EarlyStopping()))
STARTS = [
    FULL.but(data=data, condition=condition)
    for data, condition in (
        (Digits(image_size=16), ClassLabels()),
        (FashionMNIST(), Prompts()),
        (CIFAR10(), Prompts()),
        (ImageFolder(root="/images"), ClassLabels()),
        (Shards(train="/shards/{0..3}.tar"), ClassLabels()),
        (Digits(image_size=16), ImageCondition()),
        (Digits(image_size=16), ContinuousValues()),
    )
]
STARTS += [
    FULL.but(data=data, model=model, evaluation=Evaluation())
    for data, model in (
        (Table(), MLP()),
        (Gaussians(), MLP()),
        (Sequences(), DiT()),
        (Points(), DiT()),
        (Digits(image_size=16), EncoderDecoder()),
    )
]


def altered(spec: Spec, path: list[str]) -> Spec:
    """`spec` with another value at `path`, whatever the rules say: only the hash is asked."""
    name, *rest = path
    value = altered(getattr(spec, name), rest) if rest else "another value"
    return spec.model_copy(update={name: value})


def fields(spec: Spec, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """Every path below `spec` with its label, "data.root (CIFAR10)"."""
    found = []
    for name in type(spec).model_fields:
        path, value = (*prefix, name), getattr(spec, name)
        below = fields(value, path) if isinstance(value, Spec) else [(path, f"{'.'.join(path)} ({type(spec).__name__})")]
        found += below
    return found


@pytest.mark.parametrize("start", STARTS, ids=lambda start: f"{start.data.kind}-{start.model.kind}-{start.condition.kind}")
def test_the_hash_changes_with_every_science_field_and_no_other(start):
    before = science_hash(start, "fp32")
    changed = {label for path, label in fields(start) if science_hash(altered(start, list(path)), "fp32") != before}
    everything = {label for _, label in fields(start)}
    judged = {"decision (Experiment)", "baseline (Experiment)"}
    resolved = {"training.precision (Training)"}  # enters as what `auto` resolves to
    assert everything - changed == (EXECUTION & everything) | judged | resolved


def test_the_hash_changes_with_the_resolved_precision():
    assert science_hash(FULL, "fp32") != science_hash(FULL, "bf16")
    assert science(FULL, "bf16")["training.precision"] == "bf16"


def test_the_hash_does_not_depend_on_the_class_or_on_how_a_value_was_written():
    class Variant(Experiment):
        sampling = Sampling(guidance_scale=1)

    assert science_hash(Variant(), "fp32") == science_hash(Experiment(), "fp32")


def test_a_default_that_was_changed_is_hashed_as_a_choice() -> None:
    """An experiment that names the first default keeps the hash that its runs have; one that follows the new one has another."""
    followed, named = Experiment(), Experiment(sampling=Sampling(sampler="ddim"))
    assert followed.sampling.sampler == "dpm++3m-sde"
    assert science_hash(named, "fp32") == FIRST_HASH
    assert science_hash(followed, "fp32") != FIRST_HASH


def test_the_hash_of_today_is_the_hash_of_tomorrow():
    assert science_hash(Experiment(), "fp32") == science_hash(Experiment(), "fp32")
    assert len(science_hash(Experiment(), "fp32")) == 12


RECORDED_DEFAULTS = Path(__file__).with_name("defaults.json")


def test_a_default_changes_only_together_with_the_schema_version():
    """Defaults do not enter the hash: changing one would make different science look the same. UPDATE_SNAPSHOTS=1 records anew."""
    images, vectors = (Digits, FashionMNIST, CIFAR10), (Table, Sequences, Points, Gaussians)
    conditions = (ClassLabels, Prompts, ImageCondition, ContinuousValues)
    networks = (UNet, EncoderDecoder, MLP, DiT)
    pieces = (*images, *vectors, *conditions, *networks, Diffusion, Training, Sampling, Evaluation, FID, FD, EarlyStopping, Phase)
    today = {
        f"{piece.__name__}.{name}": json.loads(json.dumps(piece.first_default(name)))
        for piece in pieces
        for name, field in piece.model_fields.items()
        if piece.role_of(name) is Role.SCIENCE and not isinstance(field.default, Spec) and not field.is_required()
    }
    if os.environ.get("UPDATE_SNAPSHOTS"):
        RECORDED_DEFAULTS.write_text(json.dumps({"schema": SCHEMA_VERSION, "defaults": today}, indent=2, sort_keys=True) + "\n")
    recorded = json.loads(RECORDED_DEFAULTS.read_text())
    moved = {name for name, value in recorded["defaults"].items() if today.get(name) != value}
    assert not moved or recorded["schema"] != SCHEMA_VERSION


def test_the_shipped_decision_keeps_its_hash():
    """Recorded runs of ADR-0001 and ADR-0002 are found by these; they change only if what is learnt or measured changes."""
    folder = Path(__file__).parents[2] / "experiments"
    hashes = {name: science_hash(load_experiment(folder / f"{name}.py").experiment, "bf16") for name in ("adr_0001", "adr_0002")}
    recorded = {run.manifest.experiment: run.manifest.science_hash for run in find_runs(RECORDED_RUNS).runs}
    assert hashes == {name: recorded[name] for name in hashes}


def test_flat_keys_are_dotted_and_values_plain():
    values = flat(FULL)
    assert values["evaluation.fid.images"] == 50_000
    assert values["model.multipliers"] == [1, 2, 2, 2]
    assert "decision.title" not in values
    assert not any(key.startswith(("hardware", "tracking")) for key in flat(FULL, roles=frozenset({Role.SCIENCE})))


def test_the_criteria_hash_changes_with_seeds_and_criteria_and_not_with_prose():
    decision = Decision(title="t", context="c", chosen="d", accept_when=(metric("val/denoising").falls(),))
    start = criteria_hash(Experiment(decision=decision))
    assert criteria_hash(Experiment()) is None
    assert criteria_hash(Experiment(decision=decision.but(title="other", context="other"))) == start
    for change in ({"seeds": (0, 1)}, {"accept_when": ()}, {"reject_when": (metric("val/denoising").rises(),)}):
        assert criteria_hash(Experiment(decision=decision.but(**change))) != start
