"""A manifest and a run to record into, and an environment without anybody's W&B settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ddpm_exp.records.manifest import Manifest, Units
from ddpm_exp.records.run_directory import RunDirectory

HASH = "0123456789ab"


def make_manifest(**changes: Any) -> Manifest:
    """A small, complete manifest."""
    values: dict[str, Any] = {
        "experiment": "adr_0002",
        "experiment_id": "ADR-0002",
        "science_hash": HASH,
        "seed": 3,
        "units": Units(images_per_step=8, images_per_epoch=80, total_images=800),
        "config": {"training.learning_rate": 1e-3, "model.multipliers": [1, 2], "hardware.gpu": None},
        "diff": [{"path": "training.learning_rate", "before": 2e-4, "after": 1e-3}],
        "sources": {"adr_0002.py": "class B(A):\n    pass\n", "adr_0001.py": "class A(Experiment):\n    pass\n"},
        "baseline_id": "ADR-0001",
    }
    return Manifest(**(values | changes))


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Makes runs under `tmp_path/runs`."""

    def make(**changes: Any) -> RunDirectory:
        manifest = make_manifest(**changes)
        return RunDirectory.create(tmp_path / "runs", manifest.experiment, manifest.science_hash, manifest.seed, manifest)

    return make


@pytest.fixture
def run(new_run: Callable[..., RunDirectory]) -> RunDirectory:
    """One run that has just begun."""
    return new_run()


@pytest.fixture(scope="session", autouse=True)
def _nobodys_wandb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No login, no settings and no caches of the user who runs the tests, whose folders stay untouched."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        import os

        for name in list(os.environ):
            if name.startswith("WANDB_"):
                patch.delenv(name)
        for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(home))
        patch.setenv("NETRC", str(home / "netrc"))
        yield
