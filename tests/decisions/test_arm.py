"""An arm is what its run directories say, seed by seed, and nothing beyond the asked point of training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddpm_exp.decisions.arm import Arm, seeds_in_words
from ddpm_exp.decisions.reading import read_arm
from ddpm_exp.records.manifest import Manifest, Units
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import UserError

Make = Callable[..., Arm]

HASH = "0123456789ab"


def record(root: Path, seed: int, rows: dict[int, dict[str, float]], state: Any = "finished") -> RunDirectory:
    """A real run directory with these rows."""
    manifest = Manifest(
        experiment="adr_0002",
        experiment_id="ADR-0002",
        science_hash=HASH,
        seed=seed,
        units=Units(images_per_step=8, images_per_epoch=2048, total_images=4096),
        config={"data.kind": "digits"},
        data_fingerprint="feedbeef",
        packages={"torch": "2.14.1"},
        host={"device": {"name": "NVIDIA H100"}},
    )
    run = RunDirectory.create(root / "runs", "adr_0002", HASH, seed, manifest)
    for images, values in rows.items():
        run.metrics.append(images, values)
    run.set_status(state, images_seen=4096, seconds=1800.0)
    return run


def read(*runs: RunDirectory, planned: tuple[int, ...] = (0, 1)) -> Arm:
    return read_arm(runs, experiment_id="ADR-0002", name="adr_0002", science_hash=HASH, planned=planned)


def test_run_directories_become_an_arm(tmp_path: Path) -> None:
    rows = {0: {"val/denoising": 1.0}, 2048: {"val/denoising": 0.5}, 4096: {"val/denoising": 0.25, "train/loss": 0.1}}
    arm = read(record(tmp_path, 1, rows), record(tmp_path, 0, rows))
    assert arm.values("val/denoising") == {0: 0.25, 1: 0.25}
    assert arm.values("val/denoising", "1 epoch") == {0: 0.5, 1: 0.5}
    assert arm.values_before_training("val/denoising") == {0: 1.0, 1: 1.0}
    assert (arm.images, arm.hours, arm.missing, arm.complete) == (8192, 1.0, (), True)
    assert arm.metrics == ("train/loss", "val/denoising")
    run = arm.counted[0]
    assert (run.gpu, run.torch, run.data_fingerprint) == ("NVIDIA H100", "2.14.1", "feedbeef")
    assert run.place == f"runs/adr_0002/{HASH}/{run.path.name}"


@pytest.mark.parametrize("state", ["interrupted", "failed", "running"])
def test_only_finished_runs_count(tmp_path: Path, state: str) -> None:
    arm = read(record(tmp_path, 0, {4096: {"val/denoising": 1.0}}), record(tmp_path, 1, {4096: {"val/denoising": 1.0}}, state))
    assert arm.missing == (1,)
    assert [run.seed for run in arm.extra] == [1]


def test_a_damaged_run_is_listed_and_does_not_count(tmp_path: Path) -> None:
    good, bad = (record(tmp_path, seed, {0: {"val/denoising": 1.0}, 4096: {"val/denoising": 0.5}}) for seed in (0, 1))
    bad.metrics.path.write_text("garbage\n" + bad.metrics.path.read_text())
    arm = read(good, bad)
    assert arm.missing == (1,)
    assert arm.extra[0].state == "damaged"
    assert "line 1" in arm.extra[0].message


def test_a_number_that_was_not_finite_is_missing(tmp_path: Path) -> None:
    arm = read(record(tmp_path, 0, {4096: {"val/denoising": math.nan}}), record(tmp_path, 1, {4096: {"val/denoising": 0.5}}))
    assert arm.values("val/denoising") == {0: None, 1: 0.5}


def test_evaluated_metrics_count_only_where_they_were_evaluated(arm: Make) -> None:
    variant = arm("adr_0002", {"val/denoising": (0.1,)}, initial={"val/denoising": (1.0,)})
    assert variant.values("val/denoising", "1 epoch") == {0: None}
    assert variant.values("val/denoising", "2 epochs") == {0: 0.1}


def test_metrics_recorded_throughout_are_taken_last_by_then_and_never_later(arm: Make) -> None:
    variant = arm("adr_0002", {"train/loss": (0.1,)})
    runs = (replace(variant.runs[0], series={"train/loss": ((0, 9.0), (2000, 0.5), (2100, 0.4))}),)
    variant = replace(variant, runs=runs)
    assert variant.values("train/loss", "1 epoch") == {0: 0.5}
    assert variant.values("train/loss") == {0: 0.4}
    assert variant.values("train/loss", "100 images") == {0: None}


def test_a_point_in_steps_follows_each_arms_own_step(arm: Make) -> None:
    variant = arm("adr_0002", {"val/denoising": (0.1,)}, units={"images_per_step": 4, "images_per_epoch": 8, "total_images": 4096})
    assert variant.counted[0].images_at("1024 steps") == 4096
    assert variant.counted[0].images_at("3 epochs") == 24


def test_runs_of_two_experiments_are_no_arm(arm: Make) -> None:
    one = arm("adr_0002", {"val/denoising": (0.1,)})
    with pytest.raises(UserError, match="runs of one experiment only"):
        Arm("ADR-0002", "adr_0002", "b" * 12, (0,), one.runs)


def test_seeds_are_read_aloud() -> None:
    assert [seeds_in_words(seeds) for seeds in ((), (2,), (0, 1, 2))] == ["no seeds", "seed 2", "seeds 0, 1 and 2"]


def test_of_how_many_a_share_is_one_is_as_recorded_else_as_asked_for(arm: Make) -> None:
    accuracy, noise = "samples/class_accuracy", "noise/samples/class_accuracy"
    old = arm("a", {accuracy: (0.5,)}, config={"evaluation.samples": 200})
    new = arm("a", {accuracy: (0.5,), "samples/judged": (198.0,)}, initial={noise: (0.1,), "noise/samples/judged": (198.0,)})
    assert [one.out_of(accuracy) for one in (old, new)] == [{0: 200}, {0: 198.0}]
    assert new.out_of_before_training(noise) == {0: 198.0}
    assert arm("a", {accuracy: (0.5,)}, config={}).out_of(accuracy) == {0: None}
    assert (new.out_of("speed/throttled"), new.out_of("val/denoising")) == ({0: 1.0}, {0: None})


def test_a_run_says_what_it_was_planned_with_and_which_noise_it_was_evaluated_with(tmp_path: Path) -> None:
    plain = record(tmp_path, 0, {4096: {"val/denoising": 0.5}})
    decided = plain.manifest.but(decision={"seeds": [0, 1], "amendable": False}, evaluation_noise="per-seed")
    known, unknown = (read(RunDirectory(plain.path, manifest)).runs[0] for manifest in (decided, plain.manifest))
    assert (known.planned_seeds, known.amendable, known.evaluation_noise) == ((0, 1), False, "per-seed")
    assert (unknown.planned_seeds, unknown.amendable, unknown.evaluation_noise) == ((), True, "shared")
