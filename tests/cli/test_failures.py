"""What fails while a command works ends in one line and the right exit code."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ddpm_exp.cli.failures import as_document, from_machine
from ddpm_exp.cli.main import Commands
from ddpm_exp.spec.errors import RunError, UserError, UserErrors


def _program(error: BaseException) -> typer.Typer:
    """A program of this kind whose only command raises `error`."""
    program = typer.Typer(cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False)

    @program.command("work")
    def work(as_json: bool = typer.Option(False, "--json")) -> None:
        raise error

    @program.callback()
    def root() -> None:
        """A group, not a single command."""

    return program


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("must be odd", field="a.b", value=2, fix="take 3"), 2, "error: a.b = 2: must be odd\n  fix: take 3\n"),
        (RunError("loss is not finite", fix="lower the rate"), 1, "error: loss is not finite\n  fix: lower the rate\n"),
        (UserErrors([UserError("one"), UserError("two")]), 2, "error: one\nerror: two\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (BrokenPipeError(), 141, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl"),
            1,
            "error: runs/a/metrics.jsonl: the disk is full\n"
            "  fix: free some space and run the same command again; what was written before is kept\n",
        ),
    ],
)
def test_each_failure_has_its_exit_code_and_its_words(error: BaseException, code: int, text: str) -> None:
    done = CliRunner().invoke(_program(error), ["work"])
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", text)


def test_a_bug_keeps_its_traceback() -> None:
    done = CliRunner().invoke(_program(ZeroDivisionError("ours")), ["work"])
    assert done.exit_code == 1
    assert isinstance(done.exception, ZeroDivisionError)


def test_several_mistakes_are_all_in_the_document() -> None:
    done = CliRunner().invoke(_program(UserErrors([UserError("one", field="a"), UserError("two")])), ["work", "--json"])
    document = json.loads(done.stdout)
    assert document["error"]["field"] == "a"
    assert [error["rule"] for error in document["errors"]] == ["one", "two"]


def test_a_value_of_any_type_fits_into_the_document() -> None:
    document = as_document(UserError("no", value=(1, float("nan")), fix="yes"))
    assert set(document["error"]) == {"field", "value", "rule", "fix", "origin"}


def test_an_os_error_of_our_own_making_is_no_machine_failure() -> None:
    assert from_machine(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    assert from_machine(OSError("without a number")) is None


def test_a_reader_that_leaves_early_sees_no_complaint(folder: Path) -> None:
    words = [sys.executable, "-m", "ddpm_exp.cli", "show", "1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        program.stdout.close()
        assert program.stderr is not None
        assert program.stderr.read() == ""
    assert program.returncode == 141
