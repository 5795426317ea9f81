"""Arms for the tests of this room, made from plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ddpm_exp.decisions.arm import Arm, Run

TOTAL = 4096
CONFIG: dict[str, Any] = {
    "data.kind": "digits",
    "data.subset": None,
    "diffusion.schedule": "linear",
    "diffusion.timesteps": 1000,
    "evaluation.every": "10 epochs",
    "evaluation.held_out": 1024,
    "training.learning_rate": 2e-4,
}


def make_arm(
    name: str,
    finals: Mapping[str, Sequence[float]],
    *,
    seeds: Sequence[int] | None = None,
    planned: Sequence[int] | None = None,
    initial: Mapping[str, Sequence[float]] | None = None,
    **facts: Any,
) -> Arm:
    """An arm whose run i ends with finals[metric][i] and began with initial[metric][i]."""
    count = max((len(values) for values in finals.values()), default=0)
    seeds = tuple(range(count)) if seeds is None else tuple(seeds)
    initial = initial or {}
    runs = []
    for index, seed in enumerate(seeds):
        series = {
            metric: (
                *(((0, initial[metric][index]),) if metric in initial else ()),
                *(((TOTAL, finals[metric][index]),) if metric in finals else ()),
            )
            for metric in {**finals, **initial}
        }
        values: dict[str, Any] = {
            "state": "finished",
            "images_seen": TOTAL,
            "hours": 0.5,
            "gpu": "cpu",
            "torch": "2.14.1",
            "created": f"2025-06-{10 + index:02d}T08:00:00+00:00",
            "science_hash": "a" * 12,
            "data_fingerprint": "feedbeef00000000",
            "config": CONFIG,
            "units": {"images_per_step": 8, "images_per_epoch": 2048, "total_images": TOTAL},
            "series": series,
        }
        values.update(facts)
        runs.append(Run(path=Path(f"/data/runs/{name}/{'a' * 12}/{seed}-{index:08x}"), seed=seed, **values))
    plan = seeds if planned is None else tuple(planned)
    identity = name.upper().replace("_", "-")
    return Arm(identity, name, values["science_hash"] if runs else "a" * 12, plan, tuple(runs))


@pytest.fixture(scope="session")
def arm() -> Callable[..., Arm]:
    """Builds an arm from plain numbers: see `make_arm`."""
    return make_arm
