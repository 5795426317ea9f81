"""Small, complete manifests and runs for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddpm_exp.records.manifest import Manifest, Units
from ddpm_exp.records.run_directory import RunDirectory


def make_manifest(**changes: Any) -> Manifest:
    """A manifest of seed 3 of ADR-0002, with `changes`."""
    values: dict[str, Any] = {
        "experiment": "adr_0002",
        "experiment_id": "ADR-0002",
        "science_hash": "0123456789ab",
        "seed": 3,
        "units": Units(images_per_step=8, images_per_epoch=80, total_images=800),
        "config": {"training.learning_rate": 1e-3, "model.multipliers": [1, 2], "hardware.gpu": None},
        "diff": [{"path": "training.learning_rate", "before": 2e-4, "after": 1e-3}],
        "sources": {"adr_0002.py": "class B(A):\n    pass\n", "adr_0001.py": "class A(Experiment):\n    pass\n"},
        "baseline_id": "ADR-0001",
    }
    return Manifest(**(values | changes))


def make_run(root: Path, **changes: Any) -> RunDirectory:
    """A run under `root` that has just begun."""
    manifest = make_manifest(**changes)
    return RunDirectory.create(root, manifest.experiment, manifest.science_hash, manifest.seed, manifest)
