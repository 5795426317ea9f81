"""`ddpm-exp new`: the next numbered experiment file, a subclass with the decision's fields to fill in. Runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ddpm_exp.cli import completion
from ddpm_exp.cli.words import Json


def new(title: str, base: str | Path | None = None, folder: Path = Path("experiments")) -> Path:
    """Write the next `adr_NNNN.py` beside `base` (or into `folder`, from `Experiment` itself) and return its path."""
    from ddpm_exp.loading.scaffold import new_experiment

    return new_experiment(title, base, folder)


def command(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What is decided, in a few words.", show_default=False)],
    base: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE", help="Experiment to build on (the baseline), or a preset.", autocompletion=completion.bases
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the next experiment file: a subclass of --from with the decision's fields to fill in.

    \b
    ddpm-exp new "Fewer timesteps" --from experiments/adr_0001.py
    ddpm-exp new "The best of guide 001" --from BestQuality
    """
    from ddpm_exp.cli.output import print_json

    path = new(title, base)
    if as_json:
        print_json({"path": path})
        return
    typer.echo(f"wrote {path}")
    typer.echo(f"fill in what changes and why, then: ddpm-exp check {path}")
