"""Where output goes: rich on standard output, JSON for programs, errors on standard error. Formats no command's facts."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import typer

from ddpm_exp.spec.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_COLUMNS = 160
"""Width of tables where nobody looks at a terminal: wide enough that no path or name is cut."""


def console(*, stderr: bool = False) -> Console:
    """A rich console; wide where the output is a pipe or a file, without colour there."""
    import os

    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            """Rich would exit with 1, which means a failed run here; the program's own ending is left to `main`."""
            raise BrokenPipeError

    screen = Screen(stderr=stderr, highlight=False)
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen = Screen(stderr=stderr, highlight=False, width=PIPE_COLUMNS)
    return screen


def table(*columns: str, title: str | None = None, right: tuple[str, ...] = ()) -> Table:
    """A table in the one style of all commands; columns named in `right` hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(title=title, box=SIMPLE_HEAD, title_justify="left", show_edge=False, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def say(screen: Console, text: str, style: str | None = None) -> None:
    """Print `text` as it is: brackets are no markup, and a path is never broken by a line end."""
    screen.print(text, style=style, markup=False, soft_wrap=True)


@runtime_checkable
class HasJson(Protocol):
    """An object that knows its own plain values."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""


def plain(value: Any) -> Any:
    """`value` in JSON's types: dataclasses, named tuples, specs and errors as objects, NaN and infinities as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, UserError):
        return {key: plain(getattr(value, key)) for key in ("field", "value", "rule", "fix", "origin")}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, HasJson):
        return plain(value.to_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))
