"""The program starts light, and a mistyped word gets the right one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ddpm_exp.cli.main import app

COMMANDS = (
    *("new", "check", "probe", "show", "diff", "run", "lr-find", "compare", "decide", "board", "sample", "export", "runs"),
    "doctor",
)

_HELP_IN_A_NEW_PROCESS = """
import json, sys
from ddpm_exp.cli.main import main
sys.argv = ["ddpm-exp", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    print(json.dumps({"code": end.code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


@pytest.mark.parametrize(("words", "parser"), [(["--help"], set()), (["run", "--help"], {"pydantic"})])
def test_help_imports_nothing_heavy(words: list[str], parser: set[str]) -> None:
    """Typer itself may parse the words of a command with pydantic, which takes 0.1 s; nothing of ours does."""
    done = subprocess.run([sys.executable, "-c", _HELP_IN_A_NEW_PROCESS, *words], capture_output=True, text=True, check=True)
    facts = json.loads(done.stderr)
    assert facts["code"] == 0
    assert "Usage: ddpm-exp" in done.stdout
    heavy = {"torch", "torchvision", "wandb", "pydantic", "rich", "numpy", "scipy", "sklearn", "torch_fidelity", "PIL"}
    assert (heavy - parser).isdisjoint(facts["modules"])


def test_every_command_of_the_table_is_there_and_helps() -> None:
    listed = CliRunner().invoke(app, ["--help"])
    assert listed.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in listed.stdout
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_prints_facts_has_json(name: str) -> None:
    assert "--json" in CliRunner().invoke(app, [name, "--help"]).stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["rnu", "x"], "error: rnu: there is no such command\n  fix: did you mean 'run'?\n"),
        (
            ["quickstart.py"],
            "error: quickstart.py: there is no such command\n"
            "  fix: say what to do with the file: 'ddpm-exp run quickstart.py' or 'ddpm-exp check quickstart.py'\n",
        ),
        (["run", "x", "--fersh"], "error: --fersh: there is no such option\n  fix: did you mean '--fresh'?\n"),
        (["board", "--quick"], "error: --quick: there is no such option\n  fix: see 'ddpm-exp board --help'\n"),
        (
            ["run", "x", "--training.learning_rate=3e-4"],
            "error: --training.learning_rate: there is no such option\n"
            "  fix: overrides are written without dashes: training.learning_rate=VALUE\n",
        ),
        (["show"], "error: FILE: is missing\n  fix: see 'ddpm-exp show --help'\n"),
        (["check", "T4"], "error: T4: a GPU is named by an option\n  fix: write --gpu T4\n"),
        (["check", "x", "--gpu", "V10-32"], "error: --gpu = 'V10-32': a GPU is one of "),
        (["run", "x", "--all", "--seed", "1"], "error: --seed = 1: --all runs every planned seed\n"),
        (["run", "x", "--max-hours", "0"], "error: --max-hours = 0.0: must be greater than 0\n"),
    ],
)
def test_a_mistyped_command_line_gets_one_message_and_exit_code_2(words: list[str], text: str) -> None:
    done = CliRunner().invoke(app, words, prog_name="ddpm-exp")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(text)


def test_with_json_an_error_is_a_document_on_standard_output() -> None:
    done = CliRunner().invoke(app, ["run", "x", "--fersh", "--json"], prog_name="ddpm-exp")
    assert done.exit_code == 2
    assert done.stderr == ""
    error = {"field": "--fersh", "value": None, "rule": "there is no such option", "fix": "did you mean '--fresh'?", "origin": None}
    assert json.loads(done.stdout) == {"error": error}


def test_version_is_the_package_s() -> None:
    from ddpm_exp import __version__

    assert CliRunner().invoke(app, ["--version"]).stdout == f"ddpm-exp {__version__}\n"


def test_the_page_of_commands_names_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    for name in COMMANDS:
        section = page.split(f"## ddpm-exp {name}\n")[1].split("\n## ")[0]
        shown = CliRunner().invoke(app, [name, "--help"]).stdout
        for option in re.findall(r"^ +(?:-h, )?(--[a-z-]+)", shown, re.MULTILINE):
            assert option in section, f"{name} {option}: run python docs/make_cli.py"
