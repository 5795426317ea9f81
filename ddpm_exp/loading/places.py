"""How files and lines are written in messages and origins."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
"""The folder of `ddpm_exp` itself: what is defined in it is a preset, never a baseline."""


def in_package(file: Path) -> bool:
    """Whether `file` is part of `ddpm_exp`."""
    return file.resolve().is_relative_to(PACKAGE)


def shown(file: Path) -> str:
    """`file` as short as it stays findable: from the package, from the working folder, or absolute."""
    whole = file.resolve()
    if whole.is_relative_to(Path.cwd()):
        return whole.relative_to(Path.cwd()).as_posix()
    return (whole.relative_to(PACKAGE.parent) if in_package(whole) else whole).as_posix()


def line_of(file: Path, line: int) -> str:
    """`experiments/adr_0002.py:12`."""
    return f"{shown(file)}:{line}"
