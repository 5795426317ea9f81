"""A symptom is printed and recorded once, in events, status and the run's page, however often the run is interrupted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.going_back import strike
from support.tiny_experiment import Watching, write_tiny

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

OFTEN = 'training = training.but(duration="16 steps", log_every="1 steps", checkpoint_every="1 steps", gradient_clip=None)'


def test_a_symptom_is_told_once_and_kept_with_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(folder / "experiments", OFTEN, 'evaluation = evaluation.but(every="16 steps")', "decision = None")
    monkeypatch.setattr(Trainer, "step", strike(96, 10.0))
    loaded, second = load_experiment("experiments/adr_0001.py"), Watching()

    def stop(images: int) -> None:
        if images == 112:
            os.kill(os.getpid(), signal.SIGTERM)

    first = Watching(on_progress=stop)
    assert run_seed(loaded, 0, RunOptions(), first).state == "interrupted"
    done = run_seed(loaded, 0, RunOptions(), second)
    run = RunDirectory.open(done.run)
    (event,) = [event for event in run.events.read() if event.facts == {"symptom": "loss spike"}]
    assert (event.kind, event.images) == ("symptom", 104)
    assert event.text.startswith("loss spike at 104 images: train/loss is ") and "Guide 001" in event.text
    assert f"warning: {event.text}" in first.lines and "loss spike" not in second.text
    assert "loss spike" in run.status().facts["symptoms"]
    assert event.text in (run.path / "adr.md").read_text()
