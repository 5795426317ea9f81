"""`ddpm-exp show`: every resolved value of an experiment and, on request, what set it. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ddpm_exp.cli.words import ExperimentWord, Json, Overrides


@dataclass(frozen=True)
class Shown:
    """One resolved value."""

    path: str
    """Dotted path of the field."""

    value: Any
    """In JSON's types."""

    origin: str
    """`experiments/adr_0002.py:12`, `override training.learning_rate=3e-4` or `default`."""


def show(file: str | Path, overrides: Sequence[str] = ()) -> list[Shown]:
    """Every resolved value of the experiment, in the order of its fields. Raises `UserError` for an invalid one."""
    from ddpm_exp.loading.loaded import load_experiment, resolve
    from ddpm_exp.spec.identity import flat

    loaded = load_experiment(resolve(str(file)), overrides)
    values = flat(loaded.experiment)
    return [Shown(path, value, loaded.origins.get(path, "default")) for path, value in values.items()]


def command(
    file: ExperimentWord,
    overrides: Overrides = None,
    why: Annotated[bool, typer.Option("--why", help="Show the file and line, or the override, that set each value.")] = False,
    as_json: Json = False,
) -> None:
    """Print every resolved value of an experiment; with --why, what set it.

    \b
    ddpm-exp show adr_0002 --why
    ddpm-exp show 2 training.learning_rate=3e-4 --why
    """
    from ddpm_exp.cli.amounts import config_text
    from ddpm_exp.cli.output import console, print_json, table

    rows = show(file, overrides or ())
    if as_json:
        document: dict[str, Any] = {"values": {row.path: row.value for row in rows}}
        if why:
            document["origins"] = {row.path: row.origin for row in rows}
        print_json(document)
        return
    from rich.text import Text

    grid = table("field", "value", *(["set at"] if why else []))
    for row in rows:
        style = "" if row.origin == "default" else "bold"
        cells = [Text(row.path, style), Text(config_text(row.value), style)]
        grid.add_row(*cells, *([Text(row.origin, "dim" if row.origin == "default" else "")] if why else []))
    console().print(grid)
