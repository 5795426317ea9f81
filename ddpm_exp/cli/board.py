"""`ddpm-exp board`: every decision on one screen. Reads experiments and recorded runs only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddpm_exp.cli.words import DEFAULT_RUNS, Json, Runs

if TYPE_CHECKING:
    from ddpm_exp.decisions.board import BoardRow

EXPERIMENTS = Path("experiments")


def board(experiments: Path = EXPERIMENTS, root: Path = DEFAULT_RUNS) -> list[BoardRow]:
    """One row for each experiment with a decision: status, verdict, effect, runs, hours."""
    from ddpm_exp.workflow.judge import board as rows
    from ddpm_exp.workflow.options import RunOptions

    return rows(experiments, RunOptions(root=root))


def command(root: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """List all decisions: status, verdict, effect, runs, hours."""
