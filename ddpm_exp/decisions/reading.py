"""From run directories to the arm that they make: what a verdict needs of each. Judges nothing, and repairs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ddpm_exp.decisions.arm import Arm, Run
from ddpm_exp.records.amendments import Amendment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError


def read_arm(
    directories: Sequence[RunDirectory],
    *,
    experiment_id: str,
    name: str,
    science_hash: str,
    planned: tuple[int, ...],
    amendments: tuple[Amendment, ...] = (),
) -> Arm:
    """The arm that these run directories make. A damaged one is listed as such and does not count."""
    runs = tuple(read_run(directory) for directory in directories)
    return Arm(experiment_id, name, science_hash, planned, runs, amendments)


def read_run(directory: RunDirectory) -> Run:
    """What a verdict needs of `directory`; state `damaged` and the reason where status or metrics cannot be read."""
    manifest = directory.manifest
    device = manifest.host.get("device") or {}
    decision = manifest.decision or {}
    run = Run(
        path=directory.path,
        seed=manifest.seed,
        state="damaged",
        gpu=str(device.get("name") or manifest.plan.get("gpu") or "not recorded"),
        torch=manifest.packages.get("torch", "not recorded"),
        created=manifest.created,
        science_hash=manifest.science_hash,
        criteria_hash=manifest.criteria_hash,
        planned_seeds=tuple(decision.get("seeds", ())),
        amendable=decision.get("amendable", True),
        evaluation_noise=manifest.evaluation_noise,
        data_fingerprint=manifest.data_fingerprint,
        config=manifest.config,
        units=manifest.units.model_dump(),
    )
    series: dict[str, dict[int, float]] = {}
    try:
        status = directory.status()
        for row in directory.metrics.read():
            for metric, value in row.values.items():
                series.setdefault(metric, {})[row.images] = value
    except RunError as error:
        return replace(run, message=str(error))
    return replace(
        run,
        state=status.state,
        message=status.message,
        images_seen=status.images_seen,
        stopped_early="stopped_early" in status.facts,
        hours=status.seconds / 3600 or None,
        series={metric: tuple(sorted(points.items())) for metric, points in series.items()},
    )
