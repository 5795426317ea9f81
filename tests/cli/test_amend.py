"""Seeds added to an experiment after its runs: refused by `run` and `decide`, until an amendment says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.manifest import Manifest, Units
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.identity import science_hash

Program = Callable[..., SimpleNamespace]


def record(seed: int) -> None:
    """A finished run of experiments/adr_0001.py as it is now, without the training."""
    loaded = load_experiment("experiments/adr_0001.py")
    science, decision = science_hash(loaded.experiment, "fp32"), loaded.experiment.decision
    assert decision is not None
    manifest = Manifest(
        experiment=loaded.name,
        experiment_id=loaded.id,
        science_hash=science,
        seed=seed,
        units=Units(images_per_step=10, images_per_epoch=40, total_images=40),
        evaluation_noise="per-seed",
        decision=decision.model_dump(mode="json"),
        created=f"2025-06-{10 + seed}T08:00:00+00:00",
    )
    run = RunDirectory.create(Path("runs"), loaded.name, science, seed, manifest)
    run.metrics.append(40, {"val/denoising": 1.0 + seed / 10})
    run.set_status("finished", images_seen=40)


@pytest.fixture
def grown(folder: Path) -> Path:
    """The experiment's file, with a seed more than its two runs were planned with."""
    file = folder / "experiments" / "adr_0001.py"
    record(0)
    record(1)
    file.write_text(file.read_text().replace("seeds=(0, 1)", "seeds=(0, 1, 2)"))
    return file


@pytest.mark.parametrize(
    "words", [["decide", "1"], ["run", "1", "--all"], ["run", "1", "--seed", "2"], ["run", "1", "--amend", " "]], ids=" ".join
)
def test_added_seeds_are_refused_without_a_reason(grown: Path, program: Program, words: list[str]) -> None:
    refused = program(*words)
    assert refused.exit_code == 2 and "--amend" in refused.stderr
    assert len(list(Path("runs").glob("adr_0001/*/*-*"))) == 2


def test_the_verdict_and_the_page_show_the_amendment(grown: Path, program: Program) -> None:
    assert program("decide", "1", "--amend", "one more").exit_code == 3
    record(2)
    done = program("decide", "1")
    assert done.exit_code == 0 and "seeds 0, 1 to 0, 1, 2 (one more); look 2 may spend 18.75 %" in done.stdout
    assert "(one more)" in next(Path("docs/adr").glob("0001-*.md")).read_text()
    verdict = json.loads(program("decide", "1", "--json").stdout)["verdict"]
    assert (verdict["look"], verdict["error_share"], len(verdict["amendments"])) == (2, 0.1875, 1)


def test_the_same_command_goes_on_and_amends_once(grown: Path, program: Program) -> None:
    record(2)
    for _ in range(2):
        done = program("run", "1", "--all", "--amend", "one more")
        assert done.exit_code == 0 and "nothing is missing" in done.stdout
    assert len(json.loads(program("decide", "1", "--json").stdout)["verdict"]["amendments"]) == 1


def test_there_is_nothing_to_amend_before_a_run_nor_without_a_new_seed(folder: Path, program: Program) -> None:
    early = program("run", "1", "--amend", "too soon")
    assert early.exit_code == 2 and "no run was made yet" in early.stderr
    record(0)
    late = program("decide", "1", "--amend", "nothing new")
    assert late.exit_code == 2 and "the seeds are those that were planned" in late.stderr
    plain = folder / "experiments" / "plain.py"
    plain.write_text("from adr_0001 import Tiny\n\n\nclass Plain(Tiny):\n    decision = None\n")
    done = program("run", "plain", "--amend", "why not")
    assert done.exit_code == 2 and "plans no seeds" in done.stderr
