"""The runs on this disk. Finds and filters them; a damaged directory is a finding, never a crash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddpm_exp.records.run_directory import MANIFEST, STATUS, RunDirectory
from ddpm_exp.spec.errors import UserError

RUNS = Path("runs")


@dataclass(frozen=True)
class Problem:
    """A directory that cannot be (wholly) read."""

    path: Path
    message: str
    """What is wrong and what to do."""


@dataclass(frozen=True)
class Found:
    """Readable runs, oldest first, and what could not be read."""

    runs: list[RunDirectory]
    problems: list[Problem]


def find_runs(root: Path | str = RUNS, name: str | None = None, science_hash: str | None = None) -> Found:
    """All runs under `root`, of one experiment or of one science hash if asked. No folder is no run.

    A run whose manifest cannot be read is a problem only; one with a damaged status or metrics is a problem and, as
    its manifest is sound, also a run.
    """
    runs: list[RunDirectory] = []
    problems: list[Problem] = []
    for path in sorted(Path(root).glob(f"{_literal(name)}/{_literal(science_hash)}/*")):
        if not path.is_dir() or path.name.startswith("."):
            continue
        try:
            run = RunDirectory.open(path)
        except UserError as error:
            problems.append(Problem(path, _unfinished(path) or str(error)))
            continue
        runs.append(run)
        problems += [Problem(path, message) for message in _troubles(run)]
    runs.sort(key=lambda run: (run.manifest.created, str(run.path)))
    return Found(runs, problems)


def _literal(part: str | None) -> str:
    return "*" if part is None else "".join(f"[{letter}]" if letter in "*?[" else letter for letter in part)


def _unfinished(path: Path) -> str | None:
    """The words for a directory whose creation was cut off: it has a status but never got a manifest."""
    if (path / STATUS).exists() and not (path / MANIFEST).exists():
        return f"{path}: the run was stopped before it began (no manifest)\n  fix: delete the directory"
    return None


def _troubles(run: RunDirectory) -> list[str]:
    troubles = []
    try:
        run.status()
    except UserError as error:
        troubles.append(str(error))
    try:
        damage = run.metrics.damage()
        run.metrics.read()
        if damage:
            troubles.append(damage)
    except UserError as error:
        troubles.append(str(error))
    return troubles
