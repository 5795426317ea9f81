"""`ddpm-exp run` as a process of its own: signals and a full disk end it with one message, an exit code and everything kept."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.programs import start_program
from support.tiny_experiment import assert_same_tensors, rows
from typer.testing import CliRunner

from ddpm_exp.checkpoints.store import latest
from ddpm_exp.cli.main import app
from ddpm_exp.records.run_directory import RunDirectory

WORDS = ("run", "experiments/adr_0001.py")
LONG = "training.duration=1000000 steps"


def _only_run() -> RunDirectory:
    (path,) = Path().glob("runs/adr_0001/*/*")
    return RunDirectory.open(path)


def _run_until(*words: str, then: Callable[[int], None], checkpoints: int = 1) -> tuple[int | None, str, str]:
    """Start the program, do `then(pid)` once it has that many checkpoints, and see its exit code and what it printed."""
    process = start_program(*words)
    deadline = time.monotonic() + 60
    while len(list(Path().glob("runs/*/*/*/checkpoints/*.pt"))) < checkpoints:
        assert process.is_alive() and time.monotonic() < deadline, Path("stderr").read_text()
        time.sleep(0.005)
    assert process.pid is not None
    then(process.pid)
    process.join(60)
    return process.exitcode, Path("stdout").read_text(), Path("stderr").read_text()


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGTERM, "asked to stop by SIGTERM"), (signal.SIGINT, "interrupted by Ctrl-C")]
)
def test_a_signal_ends_the_program_with_130_and_the_command_that_goes_on(folder: Path, number: int, reason: str) -> None:
    code, printed, wrong = _run_until(*WORDS, LONG, then=lambda pid: os.kill(pid, number))
    assert (code, wrong) == (130, "")
    run = _only_run()
    status = run.status()
    assert status.state == "interrupted"
    assert status.message.startswith(f"{reason}; go on with: ddpm-exp run")
    found = re.search(r"^go on with: ddpm-exp (.+)$", printed, re.MULTILINE)
    assert found is not None
    again = CliRunner().invoke(app, [*shlex.split(found[1]), "--max-hours", "1e-9"], env={"COLUMNS": "200"})
    assert again.exit_code == 0
    assert f"resuming {run.path} at {status.images_seen:,} images" in again.stdout


def test_a_killed_program_ends_the_same_when_the_same_command_is_given_again(folder: Path, undisturbed: Path) -> None:
    code, _, _ = _run_until(*WORDS, then=lambda pid: os.kill(pid, signal.SIGKILL))
    assert code == -signal.SIGKILL
    run = _only_run()
    assert run.status().state == "interrupted", "its process is gone"
    again = CliRunner().invoke(app, WORDS, env={"COLUMNS": "200"})
    assert again.exit_code == 0
    assert f"resuming {run.path} at " in again.stdout
    assert_same_tensors(_only_run().path, undisturbed)
    assert rows(run.path) == rows(undisturbed), "no gap, no duplicate"


def test_a_disk_that_fills_up_ends_the_run_with_one_message_and_keeps_what_was_written(folder: Path) -> None:
    # A limit on the size of files stands for the disk: writing beyond it fails, after a part has been written.
    limit = (50_000, resource.RLIM_INFINITY)
    code, printed, wrong = _run_until(
        *WORDS, LONG, then=lambda pid: resource.prlimit(pid, resource.RLIMIT_FSIZE, limit), checkpoints=2
    )
    assert code == 1, printed + wrong
    assert wrong.count("error:") == 1 and "Traceback" not in printed + wrong
    assert re.search(r"fix: free (some|disk) space", wrong)
    run = _only_run()
    assert run.status().state == "failed"
    assert not list(run.path.rglob("*.tmp"))
    found = latest(run.checkpoints, on_broken=lambda error: pytest.fail(str(error)))
    assert found is not None and found[0].stat().st_size > limit[0]
    assert run.metrics.damage() is None and run.metrics.last("train/loss") is not None
    again = CliRunner().invoke(app, [*WORDS, LONG, "--max-hours", "1e-9"], env={"COLUMNS": "200"})
    assert again.exit_code == 0
    assert f"resuming {run.path} at {found[1].images_seen:,} images" in again.stdout
