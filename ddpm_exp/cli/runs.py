"""`ddpm-exp runs`: the runs on this disk, damaged ones included. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddpm_exp.cli.words import DEFAULT_RUNS, Json, Runs

if TYPE_CHECKING:
    from ddpm_exp.records.catalog import Problem
    from ddpm_exp.records.run_directory import RunDirectory


@dataclass(frozen=True)
class RunRow:
    """One recorded run."""

    experiment: str
    seed: int
    state: str
    images: int
    """Images seen."""
    total: int
    """Images of the whole training."""
    loss: float | None
    """The last recorded training loss."""
    path: Path

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1."""
        return self.images / self.total if self.total else 0.0


def runs(root: Path = DEFAULT_RUNS) -> tuple[list[RunRow], list[Problem]]:
    """All runs under `root` by experiment and seed, and the directories that cannot be read, each with the reason."""
    from ddpm_exp.records.catalog import find_runs

    found = find_runs(root)
    rows = [_row(run) for run in found.runs]
    return sorted(rows, key=lambda row: (row.experiment, row.seed, str(row.path))), list(found.problems)


def _row(run: RunDirectory) -> RunRow:
    """A run's row; where its status or metrics are damaged (a problem of its own in the list) it says `damaged`."""
    from ddpm_exp.spec.errors import UserError

    manifest = run.manifest
    total, state, images, loss = manifest.units.total_images, "damaged", 0, None
    try:
        status = run.status()
        state, images, total = status.state, status.images_seen, status.total_images or total
        loss = run.metrics.last("train/loss")
    except UserError:
        state = "damaged"
    return RunRow(manifest.experiment, manifest.seed, state, images, total, loss, run.path)


_STYLES = {"finished": "green", "running": "cyan", "interrupted": "yellow", "failed": "red", "damaged": "red"}


def command(root: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """List the runs on this disk: experiment, seed, state, progress, last loss, where. Damaged ones are listed below."""
    from rich.text import Text

    from ddpm_exp.cli.amounts import value_text
    from ddpm_exp.cli.output import console, print_json, say, table

    rows, problems = runs(root)
    if as_json:
        print_json({"runs": [{**vars(row), "progress": row.progress} for row in rows], "problems": problems})
        return
    screen = console()
    if not rows and not problems:
        say(screen, f"no runs under {root}/ yet; start with: ddpm-exp run experiments/quickstart.py")
        return
    if rows:
        grid = table("experiment", "seed", "state", "progress", "last loss", "path", right=("seed", "progress", "last loss"))
        for row in rows:
            state = Text(row.state, _STYLES.get(row.state, ""))
            done = f"{100 * row.progress:.0f} %"
            grid.add_row(Text(row.experiment), str(row.seed), state, done, value_text(row.loss), Text(str(row.path)))
        screen.print(grid)
    for problem in problems:
        say(screen, f"problem: {problem.message}", "red")
