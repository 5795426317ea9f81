"""Which runs an experiment still needs: every planned seed of both arms, with what each costs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.records.catalog import find_runs
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Prepared, find_machine, prepare
from ddpm_exp.workflow.smoke import smoke

FRESH = "fresh"
"""Fact in the status of a run that was begun with --fresh beside others of the same science."""

JobState = Literal["missing", "unfinished", "finished"]


@dataclass(frozen=True)
class Job:
    """One seed of one arm."""

    loaded: Loaded
    seed: int
    state: JobState
    run: Path | None
    images_left: int
    hours: float | None
    """Estimated from the speed of earlier runs of the same science; None if there are none."""


def jobs(loaded: Loaded, options: RunOptions) -> list[Job]:
    """Every planned seed of the baseline, then of the experiment. Reads the data sets' sizes and the run directories."""
    machine = find_machine(options)
    if options.smoke:
        loaded = smoke(loaded)
    arms = [arm for arm in (loaded.baseline, loaded) if arm is not None]
    return [
        _job(prepared, seed, options) for prepared in (prepare(arm, machine) for arm in arms) for seed in loaded.experiment.seeds
    ]


def next_seed(loaded: Loaded, options: RunOptions) -> int:
    """The first planned seed of the experiment itself whose run is missing or unfinished; the first if all are finished."""
    machine = find_machine(options)
    prepared = prepare(smoke(loaded) if options.smoke else loaded, machine)
    for seed in prepared.experiment.seeds:
        if _job(prepared, seed, options).state != "finished":
            return seed
    return prepared.experiment.seeds[0]


def find_run(loaded: Loaded, science_hash: str, seed: int, root: Path) -> RunDirectory | None:
    """The run to reuse or resume; None if there is none.

    First one that was begun with --fresh and interrupted, as going on with it was asked for; then a finished one, then
    the one that got furthest.
    """
    found = [run for run in find_runs(root, loaded.name, science_hash).runs if run.manifest.seed == seed]
    return max(found, key=_progress, default=None)


def _progress(run: RunDirectory) -> tuple[bool, bool, bool, int]:
    status = run.status()
    left_open = status.state in ("running", "interrupted")
    return left_open and status.facts.get(FRESH) is True, status.state == "finished", status.state == "running", status.images_seen


def _job(prepared: Prepared, seed: int, options: RunOptions) -> Job:
    total = prepared.units.total_images
    run = None if options.fresh else find_run(prepared.loaded, prepared.science_hash, seed, options.root)
    seen = run.status().images_seen if run else 0
    state: JobState = "missing" if run is None else "finished" if run.status().state == "finished" else "unfinished"
    left = 0 if state == "finished" else total - seen
    return Job(prepared.loaded, seed, state, run.path if run else None, left, _hours(prepared, left, options))


def _hours(prepared: Prepared, images_left: int, options: RunOptions) -> float | None:
    """`images_left` at the mean pace, evaluations included, of finished runs of the same science."""
    done = [run.status() for run in find_runs(options.root, prepared.loaded.name, prepared.science_hash).runs]
    seconds = sum(status.seconds for status in done if status.state == "finished")
    images = sum(status.images_seen for status in done if status.state == "finished")
    return images_left / images * seconds / 3600 if seconds and images else None


def go_on_command(loaded: Loaded, seed: int, options: RunOptions) -> str:
    """The command that resumes this run, without the time limit that this sitting had."""
    words = ["ddpm-exp", "run", str(loaded.path), *loaded.overrides, "--seed", str(seed)]
    words += ["--smoke"] if options.smoke else []
    words += ["--gpu", options.gpu] if options.gpu else []
    words += ["--memory-limit", f"{options.memory_limit}B"] if options.memory_limit else []
    words += ["--runs", str(options.root)] if options.root != Path("runs") else []
    words += ["--online"] if options.online else []
    return shlex.join(words)
