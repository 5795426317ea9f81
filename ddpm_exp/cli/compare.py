"""`ddpm-exp compare`: the numbers of two arms side by side. Decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddpm_exp.cli import completion
from ddpm_exp.cli.words import DEFAULT_RUNS, Json, Runs

if TYPE_CHECKING:
    from ddpm_exp.reports.comparison import Comparison


def compare(a: str | Path, b: str | Path | None = None, root: Path = DEFAULT_RUNS) -> Comparison:
    """Metrics of `a` and of `b` (default: the baseline of `a`): experiment files, ADR numbers or run directories.

    Raises `UserError` where data or evaluation settings differ, and says which.
    """
    from ddpm_exp.workflow.judge import compare as compare_arms
    from ddpm_exp.workflow.options import RunOptions

    return compare_arms(str(a), None if b is None else str(b), RunOptions(root=root))


def command(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="Experiment (file, stem or number) or run directory.",
            show_default=False,
            autocompletion=completion.experiments_or_runs,
        ),
    ],
    b: Annotated[
        str | None,
        typer.Argument(
            metavar="B",
            help="What to compare with. Default: the baseline of A.",
            show_default=False,
            autocompletion=completion.experiments_or_runs,
        ),
    ] = None,
    root: Runs = DEFAULT_RUNS,
    md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """Print the metrics of an experiment or run beside its baseline's: n, mean, difference with its interval.

    Arms that differ in data or in how they are evaluated do not compare: the error says in what they differ.
    """
    from ddpm_exp.cli.output import console, print_json, say
    from ddpm_exp.reports.markdown import comparison_markdown
    from ddpm_exp.reports.table import comparison_table

    comparison = compare(a, b, root)
    if as_json:
        print_json(comparison)
        return
    if md:
        typer.echo(comparison_markdown(comparison), nl=False)
        return
    screen = console()
    if comparison.rows:
        screen.print(comparison_table(comparison))
        return
    say(screen, f"nothing to compare: {comparison.a} has no finished run")
    for note in comparison.notes:
        say(screen, note)
