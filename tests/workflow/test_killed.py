"""Runs that are killed where nobody expects it, and given again."""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from support.programs import start_program
from support.tiny_experiment import write_tiny

from ddpm_exp.checkpoints.store import BEST, latest, save

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kill_resume.py"
OFTEN = ("training.checkpoint_every=1 steps", "training.keep_best=True")


@pytest.fixture(scope="module")
def kill_resume() -> ModuleType:
    """The benchmark that kills twenty times."""
    spec = importlib.util.spec_from_file_location("kill_resume", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_resume"] = module
    spec.loader.exec_module(module)
    return module


def test_runs_killed_at_random_moments_and_while_a_checkpoint_is_written_end_in_the_same_bits(
    tmp_path: Path, kill_resume: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(folder: Path) -> object:
        write_tiny(folder / "experiments")
        monkeypatch.chdir(folder)
        return start_program("run", "experiments/adr_0001.py", *OFTEN)

    def new(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    expected, seconds = kill_resume.undisturbed(new("undisturbed"), start)
    chance, found = random.Random(), []
    for number in range(20):
        writing, moment = bool(found), chance.uniform(0.0, seconds * 0.6)
        one = kill_resume.killed(new(str(number)), start, moment, writing=writing, expected=expected)
        if one is not None:
            found.append(one)
        if len(found) == 2:
            break
    assert len(found) == 2, "no run was killed in time"
    assert [one["differs"] for one in found] == [[], []]
    assert found[1]["while_writing"] and found[1]["commands_until_finished"] > 1


def test_what_differs_is_seen(kill_resume: ModuleType, undisturbed: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "b" / "c" / "d", tmp_path / "e" / "f" / "g" / "h"
    for copy in (first, second):
        shutil.copytree(undisturbed, copy)
        found = latest(copy / "checkpoints")
        assert found is not None
        if copy == second:
            ema = found[1].tensors["ema"]
            name = next(iter(ema))
            ema[name] = torch.nextafter(ema[name], torch.tensor(9.0))
            save(copy / "checkpoints", found[1])
        save(copy / "checkpoints", found[1], series=BEST)
    assert kill_resume.differences(first, first) == []
    assert len(kill_resume.differences(first, second)) == 2
