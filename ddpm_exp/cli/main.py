"""The program `ddpm-exp`: its commands, and what happens when one of them fails. Does no work of its own.

Command modules import Typer alone; torch, wandb, pydantic and rich are imported by the functions that use them,
so that `--help` answers in a quarter of a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from ddpm_exp.cli import (
    board,
    check,
    compare,
    decide,
    diff,
    doctor,
    evaluate,
    export,
    failures,
    lr_find,
    new,
    probe,
    run,
    runs,
    sample,
    show,
)
from ddpm_exp.spec.errors import UserError

# The common parent of Typer's usage errors has no public name in Typer; it is the second parent of its public `BadParameter`.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])


class Commands(TyperGroup):
    """All commands, with this project's messages and exit codes in place of Typer's."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names. Raises `UserError` with the nearest name."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise failures.unknown_command(args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; interruption and a vanished reader end it in one line or none."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if os.environ.get("RANK", "0") == "0":  # of several processes one says so
                typer.echo("interrupted", err=True)
            raise typer.Exit(failures.INTERRUPTED) from None
        except BrokenPipeError:
            failures.hush_broken_pipe()
            raise typer.Exit(failures.PIPE_CLOSED) from None
        except OSError as error:
            known = failures.from_machine(error)
            if known is None:
                raise
            raise known from error

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Parse `args` (default: the process's), run, and exit with 0, 1, 2, 3, 4 or 130."""
        words = sys.argv[1:] if args is None else list(args)
        as_json = "--json" in words
        options["standalone_mode"] = False
        try:
            sys.exit(super().main(words, *rest, **options))
        except _UsageError as error:
            mistake: UserError = failures.from_usage(error)
        except UserError as error:
            mistake = error
        except typer.Abort:
            sys.exit(1)
        if not failures.said_elsewhere(mistake):
            failures.report(mistake, as_json=as_json)
        sys.exit(mistake.exit_code)


app = typer.Typer(
    name="ddpm-exp",
    cls=Commands,
    # Plain help: rich would read the brackets of "[path=value ...]" as markup, and costs a third of the start.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)

app.command("new", short_help="Write the next experiment file.")(new.command)
app.command("check", short_help="Validate; show diff, memory plan and advice.")(check.command)
app.command("probe", short_help="Find the micro-batch on this GPU.")(probe.command)
app.command("show", short_help="Print every value and what set it.")(show.command)
app.command("diff", short_help="Print what differs between two.")(diff.command)
app.command("run", short_help="Train, evaluate and record.")(run.command)
app.command("lr-find", short_help="Find a learning rate by a range test.")(lr_find.command)
app.command("compare", short_help="Print metrics beside the baseline's.")(compare.command)
app.command("decide", short_help="Give the verdict; write its page.")(decide.command)
app.command("board", short_help="List all decisions.")(board.command)
app.command("sample", short_help="Draw from a recorded run.")(sample.command)
app.command("evaluate", short_help="Measure images of a recorded run.")(evaluate.command)
app.command("export", short_help="Write a run's network for others.")(export.command)
app.command("runs", short_help="List the runs on this disk.")(runs.command)
app.command("doctor", short_help="Say what works on this machine.")(doctor.command)


def _version(asked: bool) -> None:
    if asked:
        from ddpm_exp import __version__

        typer.echo(f"ddpm-exp {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Diffusion experiments as typed Python files: checked, sized, trained, judged, recorded.

    Start with 'ddpm-exp run experiments/quickstart.py'; 'ddpm-exp doctor' says what this machine can do.

    An experiment is named by its file (experiments/adr_0002.py), its stem (adr_0002) or its number (2).

    Exit codes: 0 done or accepted, 1 failed, 2 wrong input, 3 inconclusive, 4 rejected, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Entry point of the program `ddpm-exp`."""
    typer.main.get_command(app).main(prog_name="ddpm-exp")
