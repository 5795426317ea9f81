"""From experiments and run directories to the arms that `decisions` judges: which recorded runs belong to what."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.reading import read_arm
from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.records.amendments import AmendmentLog
from ddpm_exp.records.catalog import find_runs
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.identity import science_hash
from ddpm_exp.spec.training import Precision

_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")


def runs_of(loaded: Loaded, root: Path) -> dict[Precision, list[RunDirectory]]:
    """The recorded runs of exactly this experiment, by the precision they were resolved to."""
    hashes = {science_hash(loaded.experiment, precision): precision for precision in _PRECISIONS}
    found: dict[Precision, list[RunDirectory]] = {}
    for run in find_runs(root, loaded.name).runs:
        precision = hashes.get(run.manifest.science_hash)
        if precision is not None:
            found.setdefault(precision, []).append(run)
    return found


def arms_of(loaded: Loaded, root: Path) -> tuple[Arm, Arm | None]:
    """The experiment and its baseline in the one precision that has most finished runs of both together."""
    ours = runs_of(loaded, root)
    theirs = runs_of(loaded.baseline, root) if loaded.baseline else {}
    finished: Counter[Precision] = Counter()
    for runs in (ours, theirs):
        for precision, found in runs.items():
            finished[precision] += 1 + sum(_is_finished(run) for run in found)
    chosen: Precision = max(finished, key=lambda one: (finished[one], -_PRECISIONS.index(one)), default="fp32")
    seeds = loaded.experiment.seeds
    variant = _arm(loaded, chosen, ours.get(chosen, []), seeds, root)
    baseline = _arm(loaded.baseline, chosen, theirs.get(chosen, []), seeds, root) if loaded.baseline else None
    return variant, baseline


def arm_of_run(run: RunDirectory) -> Arm:
    """The single run at hand, as an arm that planned only its seed."""
    manifest = run.manifest
    return read_arm(
        [run],
        experiment_id=f"{manifest.experiment_id} seed {manifest.seed}",
        name=manifest.experiment,
        science_hash=manifest.science_hash,
        planned=(manifest.seed,),
    )


def _arm(loaded: Loaded, precision: Precision, runs: list[RunDirectory], seeds: tuple[int, ...], root: Path) -> Arm:
    science = science_hash(loaded.experiment, precision)
    return read_arm(
        runs,
        experiment_id=loaded.id,
        name=loaded.name,
        science_hash=science,
        planned=seeds,
        amendments=AmendmentLog(root, loaded.name, science).read(),
    )


def _is_finished(run: RunDirectory) -> bool:
    try:
        return run.status().state == "finished"
    except RunError:  # a damaged status: the arm lists the run with its damage
        return False
