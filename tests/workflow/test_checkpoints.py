"""Which checkpoints a run keeps, and what is read from them: the last ones, and the best one where that is asked for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.tiny_experiment import Watching
from typer.testing import CliRunner

from ddpm_exp.checkpoints.store import BEST, checkpoints, images_of, load
from ddpm_exp.cli.main import app
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import UserError
from ddpm_exp.training.state import restore
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.load import load as load_run
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare
from ddpm_exp.workflow.run import Outcome, run_seed

ADR = "experiments/adr_0001.py"
UNSTEADY = ("training.learning_rate=0.1", "training.ema_half_life=8 images", "evaluation.every=2 steps", "training.keep_best=True")
"""Learns best at first, then gets worse."""


def _run(*overrides: str, display: Watching | None = None) -> Outcome:
    return run_seed(load_experiment(ADR, overrides), 0, RunOptions(), display or Watching())


def _images(run: Path, series: str = "") -> list[int]:
    return [images_of(path) for path in checkpoints(run / "checkpoints", series)]


@pytest.mark.parametrize("kept", [1, 3])
def test_as_many_of_the_last_checkpoints_are_kept_as_the_experiment_says(folder: Path, kept: int) -> None:
    done = _run(f"training.keep_checkpoints={kept}", "training.checkpoint_every=2 steps")
    assert _images(done.run) == [64, 80, 96][-kept:]
    assert not _images(done.run, BEST), "nobody asked for the best"
    assert RunDirectory.open(done.run).metrics.last("speed/checkpoint_seconds") is not None


def test_the_best_checkpoint_stays_and_is_the_network_that_was_measured(folder: Path) -> None:
    done = _run(*UNSTEADY, "training.keep_checkpoints=1", "training.checkpoint_every=3 steps")
    run = RunDirectory.open(done.run)
    measured = dict(run.metrics.series("val/denoising")[1:])
    best = min(measured, key=measured.__getitem__)
    assert _images(done.run) == [96] and best < 96, "the example does not get worse"
    assert _images(done.run, BEST)[-1] == best
    runtime = assemble(prepare(load_experiment(ADR, UNSTEADY), find_machine(RunOptions())), 0)
    restore(runtime.trainer, load(run.checkpoints / f"{BEST}{best:012d}.pt"))
    again = runtime.evaluator.evaluate(runtime.averaged(), "").values["val/denoising"]
    assert again == measured[best]
    assert (load_run(done.run, checkpoint="best").images_seen, load_run(done.run).images_seen) == (best, 96)
    drawn = CliRunner().invoke(app, ["sample", str(done.run), "-n", "1", "--best"])
    assert drawn.exit_code == 0 and f"after {best} images" in drawn.stdout


def test_a_run_that_was_stopped_keeps_the_same_best_one(folder: Path) -> None:
    display = Watching(on_progress=lambda images: os.kill(os.getpid(), signal.SIGTERM) if images == 72 else None)
    assert _run(*UNSTEADY, display=display).state == "interrupted"
    stopped = Path(_run(*UNSTEADY).run)
    once = _run(*UNSTEADY, "training.keep_checkpoints=3", "training.stop_after_bad_steps=19")
    assert once.run != stopped and _images(stopped, BEST) == _images(once.run, BEST)


def test_a_best_one_of_a_course_that_was_left_does_not_stand_in_the_way(folder: Path) -> None:
    done = _run(*UNSTEADY, "training.duration=6 steps")
    run = RunDirectory.open(done.run)
    best = _images(done.run, BEST)[-1]
    assert best == 16
    kept = run.checkpoints / f"{BEST}{best:012d}.pt"
    for ending in ("", ".sha256"):
        kept.with_name(f"{kept.name}{ending}").rename(kept.with_name(f"{BEST}{80:012d}.pt{ending}"))
    for path in checkpoints(run.checkpoints):
        path.unlink()
    run.set_status("interrupted")
    again = _run(*UNSTEADY, "training.duration=6 steps")
    assert again.run == done.run and _images(done.run, BEST) == [16]


def test_a_damaged_best_one_gives_way_to_the_best_before_it_with_a_warning(folder: Path) -> None:
    done = _run("training.keep_best=True", "evaluation.every=2 steps", "training.learning_rate=0.03")
    first, second = _images(done.run, BEST)
    path = done.run / "checkpoints" / f"{BEST}{second:012d}.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="truncated or damaged"):
        assert load_run(done.run, checkpoint="best").images_seen == first


def test_a_best_one_that_nobody_kept_is_an_error_that_says_what_to_do(undisturbed: Path) -> None:
    with pytest.raises(UserError, match="keep_best=True"):
        load_run(undisturbed, checkpoint="best")
    with pytest.raises(UserError, match="'last' or 'best'"):
        load_run(undisturbed, checkpoint="first")  # type: ignore[arg-type]
