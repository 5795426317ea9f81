"""A run that left the finite numbers goes back to its last good checkpoint with half the rate, and gives up after three times."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from support.going_back import strike, struck_run
from support.processes import in_processes
from support.tiny_experiment import Watching, assert_same_tensors, final_tensors, happened, rows, write_tiny

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.going_back import MOST
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import Outcome, run_seed

WATCHED = 'stop_after_bad_steps=2, log_every="1 steps", checkpoint_every="2 steps", rate="constant", warmup="0 steps"'
BACK = f'training = training.but({WATCHED}, remedy="rollback")'
# Without a memory of squared gradients, Adam divides by a gradient that may be tiny: the weights leave all bounds within ten steps.
DIVERGING = "learning_rate=0.1, gradient_clip=None, betas=(0.9, 0.0), keep_checkpoints=4"


def run(*lines: str, display: Watching | None = None, root: str = "runs") -> Outcome:
    write_tiny(Path("experiments"), *lines)
    return run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(root=Path(root)), display or Watching())


def test_a_run_goes_back_to_the_last_good_checkpoint_with_half_the_rate_and_tells_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    display = Watching()
    monkeypatch.setattr(Trainer, "step", strike(56))
    done = run(BACK, display=display)
    found = RunDirectory.open(done.run)
    (event,) = happened(done.run)
    assert (done.state, event.kind, event.images, event.facts["to_images"], event.facts["bad_loss"]) == (
        ("finished", "rollback", 72, 48, 1)  # the first of the two is in the log before
    )
    assert "2 steps in a row had a loss that was not finite: back from 72 to 48 images, and on with 0.5 times" in event.text
    assert f"warning: {event.text}" in display.lines
    rates = found.metrics.series("train/learning_rate")
    assert [images for images, _ in rates] == list(range(8, 104, 8)), "each point is recorded once"
    assert all(rate == (1e-3 if images <= 48 else 0.5e-3) for images, rate in rates)
    assert not any(values.get("train/bad_steps") for _, values in rows(done.run))
    assert (found.path / "metrics.tail-1.jsonl").is_file()
    assert final_tensors(done.run)[".rollbacks"] == 1


def test_a_run_that_went_back_resumes_to_the_same_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "step", strike(56))
    straight = run(BACK, root="straight")
    monkeypatch.setattr(Trainer, "step", strike(56))

    def stop(images: int) -> None:
        if images in (72, 88):
            os.kill(os.getpid(), signal.SIGTERM)

    first = run(BACK, display=Watching(on_progress=stop))
    assert first.state == "interrupted" and len(happened(first.run)) == 1
    while (done := run(BACK)).state == "interrupted":
        pass
    assert done.run == first.run
    assert_same_tensors(done.run, straight.run)
    assert rows(done.run) == rows(straight.run)


def test_a_training_that_diverges_at_every_rate_stops_after_three_times_and_says_why(folder: Path) -> None:
    diverging = f"training = training.but({DIVERGING})"
    with pytest.raises(RunError, match="went back 3 times already; the last good checkpoint is ") as caught:
        run('training = training.but(duration="60 steps")', 'evaluation = evaluation.but(every="60 steps")', BACK, diverging)
    (path,) = Path("runs").glob("*/*/*")
    events = happened(path)
    assert [event.facts["rate_factor"] for event in events] == [0.5, 0.25, 0.125] and len(events) == MOST
    assert caught.value.value == 0.1 / 8
    assert RunDirectory.open(path).status().state == "failed"


def test_a_run_that_stops_names_cause_rate_and_the_last_good_checkpoint(folder: Path) -> None:
    with pytest.raises(RunError, match=r"2 steps in a row had a .* that was not finite") as caught:
        run(BACK.replace(', remedy="rollback"', ""), f"training = training.but({DIVERGING})")
    (path,) = Path("runs").glob("*/*/*")
    error = caught.value
    assert (error.field, error.value) == ("training.learning_rate", 0.1)
    said = Path(str(error.fix).split("the last good checkpoint is ")[1])
    assert said in (path / "checkpoints").glob("*.pt")
    assert all(bool(value.isfinite().all()) for value in torch.load(said, weights_only=True)["tensors"]["network"].values())
    assert not happened(path)


def test_two_processes_go_back_together_as_one_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(Path("experiments"), BACK)
    told, nothing = in_processes(2, struck_run, str(folder), 56)
    monkeypatch.setattr(Trainer, "step", strike(56))
    alone = run(BACK)
    assert nothing is None and told["state"] == "finished"
    assert told["events"] == [event.text for event in happened(alone.run)]
    assert told["final"][".rollbacks"] == 1
    losses = [[values["train/loss"] for _, values in found if "train/loss" in values] for found in (told["rows"], rows(alone.run))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert [images for images, _ in told["rows"]] == [images for images, _ in rows(alone.run)]
