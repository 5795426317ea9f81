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


def command(
    root: Runs = DEFAULT_RUNS,
    experiments: Annotated[
        Path, typer.Option("--experiments", metavar="DIR", help="Folder of the experiment files.")
    ] = EXPERIMENTS,
    md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """List all decisions: status, verdict, main effect with its interval, runs done and planned, hours."""
    from ddpm_exp.cli.output import console, print_json, say
    from ddpm_exp.reports.markdown import board_markdown
    from ddpm_exp.reports.table import board_table

    rows = board(experiments, root)
    if as_json:
        print_json({"decisions": rows})
    elif md:
        typer.echo(board_markdown(rows), nl=False)
    elif rows:
        console().print(board_table(rows))
    else:
        say(console(), f'no decisions in {experiments}/ yet; begin with: ddpm-exp new "TITLE"')
