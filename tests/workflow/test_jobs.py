"""Which runs an experiment needs, in which order, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest
from support.tiny_experiment import Watching, write_variant

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.workflow.jobs import jobs, next_seed
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

VARIANT = "experiments/adr_0002.py"


class BothArms(Protocol):
    """Of the fixture `both_arms`."""

    folder: Path
    begun_before: Path
    outcomes: list[dict[str, Any]]


@pytest.fixture
def arms(folder: Path) -> Path:
    """The working folder with both experiments."""
    write_variant(folder / "experiments")
    return folder


def test_the_baseline_comes_first_and_costs_follow_the_pace_of_finished_runs(arms: Path) -> None:
    variant = load_experiment(VARIANT)
    assert variant.baseline is not None
    first = jobs(variant, RunOptions())
    assert [(job.loaded.id, job.seed, job.state, job.images_left, job.hours) for job in first] == [
        (name, seed, "missing", 96, None) for name in ("ADR-0001", "ADR-0002") for seed in (0, 1)
    ]
    finished = run_seed(variant.baseline, 0, RunOptions(), Watching())
    run_seed(variant, 0, RunOptions(max_hours=0.0), Watching())
    after = jobs(variant, RunOptions())
    assert [(job.state, job.images_left) for job in after] == [
        ("finished", 0),
        ("missing", 96),
        ("unfinished", 96),
        ("missing", 96),
    ]
    assert after[1].hours == pytest.approx(RunDirectory.open(finished.run).status().seconds / 3600)
    assert [job.hours for job in after[2:]] == [None, None], "nothing of that science has been timed"
    assert next_seed(variant, RunOptions()) == 0
    assert next_seed(variant.baseline, RunOptions()) == 1
    assert {job.state for job in jobs(variant, RunOptions(fresh=True))} == {"missing"}


def test_all_does_both_arms_and_goes_on_with_what_was_begun(both_arms: BothArms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(both_arms.folder)
    runs = [RunDirectory.open(outcome["run"]) for outcome in both_arms.outcomes]
    assert [(run.manifest.experiment_id, run.manifest.seed, run.manifest.job_type) for run in runs] == [
        ("ADR-0001", 0, "baseline"),
        ("ADR-0001", 1, "baseline"),
        ("ADR-0002", 0, "variant"),
        ("ADR-0002", 1, "variant"),
    ]
    assert runs[2].path == both_arms.begun_before
    assert {run.status().state for run in runs} == {"finished"}
    assert {job.state for job in jobs(load_experiment(VARIANT), RunOptions())} == {"finished"}
    assert "2 of 2 planned runs are finished" in (runs[3].path / "adr.md").read_text()
