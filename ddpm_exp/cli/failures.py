"""From an exception to one clear message and an exit code. Bugs of ours keep their traceback."""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer

from ddpm_exp.spec.errors import RunError, UserError, UserErrors

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells number it: 128 + SIGINT."""

PIPE_CLOSED = 141
"""Exit code when the reader of our output has gone: 128 + SIGPIPE. Not 0, which `decide | head` would read as accepted."""

_MACHINE = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again; what was written before is kept"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again; what was written before is kept"),
    errno.EROFS: ("the disk is read-only", "choose another folder with --runs"),
    errno.EACCES: ("no permission", "change the permissions, or choose another folder"),
    errno.EPERM: ("no permission", "change the permissions, or choose another folder"),
    errno.EIO: ("the disk does not answer properly (input/output error)", "check the disk, or choose another folder"),
    errno.ENAMETOOLONG: ("the file name is too long", "choose a shorter folder or experiment name"),
}


def report(error: UserError, *, as_json: bool) -> None:
    """Print `error`: as text on standard error, or as `{"error": {...}}` on standard output."""
    from ddpm_exp.cli.output import print_json

    if as_json:
        print_json(as_document(error))
        return
    for single in error.errors if isinstance(error, UserErrors) else [error]:
        head = typer.style("error:", fg=typer.colors.RED, bold=True)
        typer.echo(f"{head} {single}", err=True)


def said_elsewhere(error: UserError) -> bool:
    """Whether another process of the same run prints the same or the cause: what is wrong with an experiment, the first on each
    host; that processes are lost, the first of all."""
    from ddpm_exp.ranks.lost import Lost

    if isinstance(error, Lost):
        return os.environ.get("RANK", "0") != "0"
    return not isinstance(error, RunError) and os.environ.get("LOCAL_RANK", "0") != "0"


def as_document(error: UserError) -> dict[str, Any]:
    """`error` as JSON's `{"error": {field, value, rule, fix, origin}}`; several mistakes are all under `errors` too."""
    if isinstance(error, UserErrors) and error.errors:
        every = [as_document(single)["error"] for single in error.errors]
        return {"error": every[0], "errors": every}
    from ddpm_exp.cli.output import plain

    return {"error": plain(error)}


def from_machine(error: OSError) -> RunError | None:
    """The machine's failure in words (disk full, no permission), or None where it must be a bug of ours."""
    known = _MACHINE.get(error.errno or 0)
    if known is None:
        return None
    return RunError(known[0], field=str(error.filename) if error.filename else None, fix=known[1])


def from_usage(error: Any) -> UserError:
    """A mistake that Typer found in the command line, in this project's form and with the nearest right word.

    `error` is Typer's usage error: with `ctx`, `format_message()` and, by its kind, `option_name` or `param`.
    """
    context = getattr(error, "ctx", None)
    help_line = f"see '{context.command_path} --help'" if context is not None else "see 'ddpm-exp --help'"
    if type(error).__name__ == "NoSuchOption":
        return _unknown_option(str(error.option_name), context, help_line)
    param = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter":
        return UserError("is missing", field=_shown_name(param), fix=help_line)
    message = str(error.format_message()).strip().rstrip(".")
    # Typer names the option once more, and pydantic whose error it was.
    message = re.sub(r"^invalid value for [^:]*: (Value error, )?", "", message, flags=re.IGNORECASE)
    return UserError(message[:1].lower() + message[1:], field=_shown_name(param), fix=help_line)


def _shown_name(param: Any) -> str | None:
    if param is None:
        return None
    options = [option for option in getattr(param, "opts", ()) if option.startswith("-")]
    return options[0] if options else str(param.metavar or param.name).upper()


def _unknown_option(name: str, context: Any, help_line: str) -> UserError:
    rule = "there is no such option"
    if "." in name:
        return UserError(rule, field=name, fix=f"overrides are written without dashes: {name.lstrip('-')}=VALUE")
    params: Sequence[Any] = context.command.params if context is not None else ()
    known = [option for param in params for option in (*param.opts, *param.secondary_opts) if option.startswith("--")]
    near = difflib.get_close_matches(name, known, n=1)
    return UserError(rule, field=name, fix=f"did you mean '{near[0]}'?" if near else help_line)


def unknown_command(name: str, known: Sequence[str]) -> UserError:
    """The error for a first word that is no command."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        fix = f"did you mean '{near[0]}'?"
    elif name.endswith(".py"):
        fix = f"say what to do with the file: 'ddpm-exp run {name}' or 'ddpm-exp check {name}'"
    else:
        fix = f"commands: {', '.join(known)}"
    return UserError("there is no such command", field=name, fix=fix)


def hush_broken_pipe() -> None:
    """Let Python end quietly after the reader of our output has gone (`ddpm-exp runs | head -1`)."""
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(sink, stream.fileno())
        except (OSError, ValueError):
            continue
