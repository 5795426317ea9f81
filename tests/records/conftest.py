"""Runs to record into, and an environment without anybody's W&B settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
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


@pytest.fixture(scope="package", autouse=True)
def _nobodys_wandb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No login, no settings and no caches of the user who runs the tests, whose folders stay untouched."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, home)
        patch.setenv("NETRC", f"{home}/netrc")
        yield
