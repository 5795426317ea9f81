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


def command(root: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """Print a run's or experiment's metrics beside its baseline's."""
