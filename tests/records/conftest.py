"""Runs to record into, and an environment without anybody's W&B settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.nobodys_wandb import nobodys_wandb  # noqa: F401 - a fixture for this folder
from support.records_setup import make_run

from ddpm_exp.records.run_directory import RunDirectory


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Makes runs under `tmp_path/runs`."""
    return lambda **changes: make_run(tmp_path / "runs", **changes)


@pytest.fixture
def run(new_run: Callable[..., RunDirectory]) -> RunDirectory:
    """One run that has just begun."""
    return new_run()
