"""`ddpm-exp diff`: what differs between two experiments or recorded runs. Compares settings, not results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddpm_exp.cli import completion
from ddpm_exp.cli.words import Json

if TYPE_CHECKING:
    from ddpm_exp.loading.diff import Change


def settings(word: str) -> dict[str, Any]:
    """Flat dotted settings of an experiment (file, stem or number) or of a run directory, without its judgement."""
    from ddpm_exp.spec.base import Role
    from ddpm_exp.spec.experiment import Experiment
    from ddpm_exp.spec.identity import flat

    if Path(word).is_dir():
        from ddpm_exp.records.run_directory import RunDirectory

        judgement = tuple(name for name in Experiment.model_fields if Experiment.role_of(name) is Role.JUDGEMENT)
        recorded = RunDirectory.open(Path(word)).manifest.config
        return {path: value for path, value in recorded.items() if path.split(".")[0] not in judgement}
    from ddpm_exp.loading.loaded import load_experiment, resolve

    return flat(load_experiment(resolve(word)).experiment, roles=frozenset({Role.SCIENCE, Role.EXECUTION}))


def diff(a: str | Path, b: str | Path) -> tuple[Change, ...]:
    """Every setting in which `b` differs from `a`. Raises `UserError` or `RunError` where one cannot be read."""
    from ddpm_exp.loading.diff import diff as changes

    return changes(settings(str(a)), settings(str(b)))


def _markdown(changes: tuple[Change, ...], a: str, b: str) -> str:
    from ddpm_exp.cli.amounts import config_text

    def cell(value: Any) -> str:
        return f"`{config_text(value)}`".replace("|", "\\|")

    rows = [f"| `{change.path}` | {cell(change.before)} | {cell(change.after)} |" for change in changes]
    return "\n".join([f"| field | {a} | {b} |", "|---|---|---|", *rows])


Word = Annotated[
    str,
    typer.Argument(
        help="Experiment (file, stem or number) or run directory.",
        show_default=False,
        autocompletion=completion.experiments_or_runs,
    ),
]


def command(
    a: Word,
    b: Word,
    md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """Print what differs between two experiments or runs.

    \b
    ddpm-exp diff 1 2
    ddpm-exp diff adr_0002 runs/adr_0002/3f9c0a1b2c3d/0-5e6f7a8b
    """
    from ddpm_exp.cli.output import console, print_json, say

    changes = diff(a, b)
    if as_json:
        print_json({"a": a, "b": b, "changes": changes})
        return
    if md:
        typer.echo(_markdown(changes, a, b))
        return
    screen = console()
    if not changes:
        say(screen, f"{a} and {b} have the same settings")
        return
    screen.print(changes_table(changes, a, b))


def changes_table(changes: tuple[Change, ...], before: str, after: str) -> Any:
    """A rich table of `changes` with `before` and `after` as the names of the two sides."""
    from rich.text import Text

    from ddpm_exp.cli.amounts import config_text
    from ddpm_exp.cli.output import table

    grid = table("field", before, after)
    for change in changes:
        grid.add_row(Text(change.path), Text(config_text(change.before), "red"), Text(config_text(change.after), "green"))
    return grid
