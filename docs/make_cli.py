"""Writes docs/cli.md from the program's own `--help`; with `--check`, only says whether the page is current."""

from __future__ import annotations

import sys
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")

_HEAD = """# Command line

Written by `python docs/make_cli.py` from the program itself; change the help texts in `ddpm_exp/cli/`, not this page.

Every command is also a Python function with the same name: `from ddpm_exp.cli.check import check`, and so on for
`new`, `probe`, `show`, `diff`, `run`, `lr_find`, `compare`, `decide`, `board`, `sample`, `evaluate`, `export`, `runs` and
`doctor`. It takes the same words, returns the facts as objects and raises `ddpm_exp.spec.errors.UserError` where the program
would exit with 1 or 2.

With `--json` a command prints one JSON document on standard output; a mistake is then
`{"error": {"field": ..., "value": ..., "rule": ..., "fix": ..., "origin": ...}}`.

`ddpm-exp --install-completion` teaches your shell to complete commands, experiments, runs and override paths.
"""


def commands() -> list[tuple[str, str]]:
    """Name and first help sentence of every command, in the program's order."""
    from ddpm_exp.cli.main import app

    found = []
    for command in app.registered_commands:
        assert command.name is not None
        assert command.callback is not None
        paragraph = (command.callback.__doc__ or "").split("\n\n")[0]
        found.append((command.name, " ".join(paragraph.split())))
    return found


def page() -> str:
    """The whole page as Markdown."""
    from typer.testing import CliRunner

    from ddpm_exp.cli.main import app

    def help_of(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--help"], prog_name="ddpm-exp", env={"COLUMNS": "100"})
        return f"```text\n{done.stdout.strip()}\n```\n"

    sections = [f"## ddpm-exp {name}\n\n{help_of(name)}" for name, _ in commands()]
    return "\n".join([_HEAD, help_of(), *sections])


def main() -> int:
    """Write the page, or with `--check` compare it."""
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        print("docs/cli.md is current" if current else "docs/cli.md is out of date: run python docs/make_cli.py")
        return 0 if current else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
