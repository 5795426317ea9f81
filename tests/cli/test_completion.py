"""What Tab offers, through the shell's own protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_exp.cli import completion


def test_the_shell_is_offered_experiments_after_run(folder: Path) -> None:
    environment = {**os.environ, "_DDPM_EXP_COMPLETE": "complete_bash", "COMP_WORDS": "ddpm-exp run exp", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-m", "ddpm_exp.cli"], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.stdout.split() == ["experiments/adr_0001.py", "experiments/adr_0002.py"]


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (lambda: completion.experiments("adr_0002"), ["adr_0002"]),
        (lambda: completion.experiments("./experi"), ["./experiments/"]),
        (lambda: completion.experiments("nowhere/"), []),
        (lambda: completion.bases("Fast"), ["Fastest"]),
        (lambda: completion.overrides("training.learn"), ["training.learning_rate="]),
        (lambda: completion.gpus("v100"), ["V100-16", "V100-32"]),
        (lambda: completion.run_directories("runs/adr"), ["runs/adr_0001/abc/0-1"]),
    ],
)
def test_words_are_completed_by_their_kind(folder: Path, offered: object, expected: list[str]) -> None:
    run = folder / "runs" / "adr_0001" / "abc" / "0-1"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text("")
    assert callable(offered)
    assert offered() == expected
