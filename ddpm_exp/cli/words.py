"""The arguments and options that several commands share, declared once so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ddpm_exp.cli import completion

Json = Annotated[bool, typer.Option("--json", help="Print the facts as one JSON document, for programs.")]

Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of the run directories.")]

ExperimentWord = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Experiment: its file, its stem (adr_0002) or its number (2).",
        show_default=False,
        autocompletion=completion.experiments,
    ),
]

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATH=VALUE]...",
        help="Changes to the experiment, such as training.learning_rate=3e-4.",
        show_default=False,
        autocompletion=completion.overrides,
    ),
]

RunWord = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Run directory, as 'ddpm-exp runs' lists them.",
        show_default=False,
        autocompletion=completion.run_directories,
    ),
]

Amend = Annotated[
    str | None,
    typer.Option("--amend", metavar="WHY", help="Add the file's new seeds to those planned before runs were made, and record why."),
]

MemoryLimit = Annotated[
    str | None,
    typer.Option("--memory-limit", metavar="AMOUNT", help="Use no more of the GPU than this, such as 15GiB: a smaller card."),
]

Raw = Annotated[bool, typer.Option("--raw", help="The last weights in place of the average.")]

SigmaRel = Annotated[
    float | None,
    typer.Option(
        "--sigma-rel",
        metavar="WIDTH",
        help="An average of this relative width, made from what training.ema_snapshots kept.",
    ),
]

Force = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]

DEFAULT_RUNS = Path("runs")


def bytes_of(limit: str | None) -> int | None:
    """What `--memory-limit` says. Raises UserError where it is no amount of memory."""
    from ddpm_exp.spec.amounts import memory_bytes

    return None if limit is None else memory_bytes(limit, "--memory-limit")
