"""`run` on two devices from the command line: stopped by a signal, gone on with under torchrun, one process killed; and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch
from support.tiny_experiment import Watching, final_tensors, rows, write_tiny

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

_CHANGES = ("training.duration=120 steps", "training.log_every=20 steps", "evaluation.every=60 steps")
_PROGRAM = ("-m", "ddpm_exp.cli", "run", "experiments/adr_0001.py", "hardware.devices=2", *_CHANGES, "--seed", "0")
_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1")


@dataclass
class Story:
    """What happened to one run."""

    folder: Path
    stopped: subprocess.CompletedProcess[str]
    killed: subprocess.CompletedProcess[str]
    status_between: dict[str, object]

    @property
    def run(self) -> RunDirectory:
        (path,) = self.folder.glob("runs/adr_0001/*/*")
        return RunDirectory.open(path)


def _until_checkpoint(folder: Path, *words: str, number: int, rank: int | None) -> subprocess.CompletedProcess[str]:
    """Start python with `words` and send signal `number` after the next checkpoint: to the launcher, or to the process `rank`."""
    before = set(folder.glob("runs/*/*/*/checkpoints/*.pt"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "RANK", "LOCAL_RANK"))}
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not set(folder.glob("runs/*/*/*/checkpoints/*.pt")) - before:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.005)
    pid = process.pid if rank is None else _worker(process.pid, rank)
    os.kill(pid, number)
    printed, wrong = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, printed, wrong)


def _worker(launcher: int, rank: int) -> int:
    (found,) = [child.pid for child in psutil.Process(launcher).children() if child.environ().get("RANK") == str(rank)]
    return int(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("two")
    write_tiny(made / "experiments")
    return made


@pytest.fixture(scope="module")
def story(folder: Path) -> Story:
    stopped = _until_checkpoint(folder, *_PROGRAM, number=signal.SIGTERM, rank=None)
    (path,) = folder.glob("runs/adr_0001/*/*")
    status = RunDirectory.open(path).status()
    between = {"state": status.state, "message": status.message, "images": status.images_seen}
    killed = _until_checkpoint(folder, *_TORCHRUN, *_PROGRAM, number=signal.SIGKILL, rank=1)
    return Story(folder, stopped, killed, between)


def test_a_signal_stops_all_processes_after_a_checkpoint_and_says_how_to_go_on(story: Story) -> None:
    assert story.stopped.returncode == 130, story.stopped.stderr
    assert story.stopped.stderr == ""
    assert story.stopped.stdout.count("recording to") == 1, "one process speaks"
    assert "go on with: ddpm-exp run experiments/adr_0001.py hardware.devices=2" in story.stopped.stdout
    assert story.status_between["state"] == "interrupted"
    assert str(story.status_between["message"]).startswith("asked to stop by SIGTERM")
    assert story.status_between["images"]


def test_after_a_process_is_killed_torchrun_starts_all_again_and_they_go_on_from_the_last_checkpoint(story: Story) -> None:
    assert story.killed.returncode == 0, story.killed.stderr
    assert story.killed.stdout.count("resuming ") == 2
    assert "another process of this run has ended" in story.killed.stderr
    assert story.run.status().state == "finished"


def test_a_run_on_two_devices_stopped_and_killed_is_the_run_on_one_to_rounding(
    story: Story, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(folder)
    loaded = load_experiment("experiments/adr_0001.py", _CHANGES)
    alone = run_seed(loaded, 0, RunOptions(root=tmp_path), Watching()).run
    ours, theirs = rows(story.run.path), rows(alone)
    assert [images for images, _ in ours] == [images for images, _ in theirs], "no gap, no duplicate"
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=2e-3, abs=2e-3)
    one, other = final_tensors(story.run.path), final_tensors(alone)
    assert one.keys() == other.keys()
    weights = [(one[name].flatten(), other[name].flatten()) for name in one if name.startswith((".network.", ".ema."))]
    ours_whole, theirs_whole = (torch.cat(parts).double() for parts in zip(*weights, strict=True))
    # One by one they may differ more: AdamW moves a weight whose gradient is nothing but rounding as far as any other.
    assert float((ours_whole - theirs_whole).norm() / theirs_whole.norm()) < 2e-3
