"""A folder with tiny experiments, one undisturbed run of one of them, and an environment without anybody's W&B settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from support.nobodys_wandb import nobodys_wandb  # noqa: F401 - a fixture for this folder
from support.tiny_experiment import Watching, write_tiny, write_variant
from typer.testing import CliRunner

from ddpm_exp.cli.main import app
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small lose more by sharing work among threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with experiments/adr_0001.py."""
    write_tiny(tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="package")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of seed 0 of adr_0001.py, trained in one sitting."""
    place = tmp_path_factory.mktemp("undisturbed")
    loaded = load_experiment(write_tiny(place / "experiments"))
    done = run_seed(loaded, 0, RunOptions(root=place / "runs"), Watching())
    assert done.state == "finished"
    return done.run


class BothArms(NamedTuple):
    """A folder in which `run 2 --all` did what was missing."""

    folder: Path
    begun_before: Path
    """The run of seed 0 of the variant, which had been stopped at its beginning."""

    outcomes: list[dict[str, Any]]
    """What the program printed about each run."""


@pytest.fixture(scope="package")
def both_arms(tmp_path_factory: pytest.TempPathFactory) -> BothArms:
    """Two seeds of adr_0001.py and of adr_0002.py, recorded by the command line."""
    place = tmp_path_factory.mktemp("both")
    write_tiny(place / "experiments")
    write_variant(place / "experiments")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        begun = run_seed(load_experiment("experiments/adr_0002.py"), 0, RunOptions(max_hours=0.0), Watching())
        assert begun.state == "interrupted"
        done = CliRunner().invoke(app, ["run", "2", "--all", "--json"])
    assert done.exit_code == 0, done.stderr
    return BothArms(place, begun.run, json.loads(done.stdout)["runs"])
