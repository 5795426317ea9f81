"""show, diff and new: what an experiment says, what differs, and where the next one begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

Program = Callable[..., SimpleNamespace]


def test_show_why_names_the_file_the_override_or_the_default(folder: Path, program: Program) -> None:
    done = program("show", "adr_0002", "sampling.steps=3", "--why", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["values"]["training.learning_rate"] == 1e-3
    assert document["origins"]["training.learning_rate"] == "experiments/adr_0002.py:11"
    assert document["origins"]["sampling.steps"] == "override sampling.steps=3"
    assert document["origins"]["sampling.eta"] == "default"


def test_show_prints_every_value_once(folder: Path, program: Program) -> None:
    lines = program("show", "1").stdout.splitlines()
    assert sum(line.startswith("training.learning_rate ") for line in lines) == 1
    assert any(line.split() == ["data.subset", "40"] for line in lines)


def test_diff_lists_what_changed_and_nothing_else(folder: Path, program: Program) -> None:
    changes = json.loads(program("diff", "1", "2", "--json").stdout)["changes"]
    assert changes == [{"path": "training.learning_rate", "before": 2e-4, "after": 1e-3}]
    assert program("diff", "1", "2", "--md").stdout == (
        "| field | 1 | 2 |\n|---|---|---|\n| `training.learning_rate` | `0.0002` | `0.001` |\n"
    )
    assert "same settings" in program("diff", "1", "experiments/adr_0001.py").stdout


def test_new_makes_the_next_experiment_which_loads_and_differs_in_nothing(folder: Path, program: Program) -> None:
    done = program("new", 'Fewer "steps" \\ for 100 %', "--from", "2")
    assert done.exit_code == 0
    assert "wrote experiments/adr_0003.py" in done.stdout
    shown = json.loads(program("show", "3", "--json").stdout)["values"]
    assert shown["decision.title"] == 'Fewer "steps" \\ for 100 %'
    assert json.loads(program("diff", "2", "3", "--json").stdout)["changes"] == []


def test_new_never_reuses_a_number_nor_overwrites(folder: Path, program: Program) -> None:
    (folder / "docs" / "adr").mkdir(parents=True)
    (folder / "docs" / "adr" / "0007-once-tried.md").write_text("")
    assert "adr_0008.py" in program("new", "One").stdout
    assert "adr_0009.py" in program("new", "2 beginnings", "--from", "Fastest").stdout
    assert program("show", "8").exit_code == program("show", "9").exit_code == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["show", "nowhere.py"], "error: nowhere.py: no such experiment\n"),
        (["show", "1", "training.learning_rat=1"], "did you mean training.learning_rate?"),
        (["show", "1", "learning_rate=1"], "did you mean training.learning_rate?"),
        (["show", "1", "training.learning_rate=9"], "error: training.learning_rate = 9.0: must be "),
        (
            ["show", "1", "sampling.steps=101"],
            "error: sampling.steps = 101: sampling cannot take more steps than the 100 timesteps",
        ),
        (["diff", "1", "5"], "error: 5: no such experiment\n"),
        (["diff", "1", "experiments"], "error: experiments: no run here: a run directory holds a manifest.json\n"),
        (["new", " . "], "error: TITLE = '.': an experiment needs a title in words\n"),
        (["new", "A title", "--from", "adr_0005"], "error: adr_0005: no such experiment\n"),
    ],
)
def test_a_wrong_word_is_named_with_the_right_one(folder: Path, program: Program, words: list[str], text: str) -> None:
    done = program(*words)
    assert done.exit_code in (1, 2)
    assert done.stdout == ""
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_with_a_syntax_error_is_a_user_s_mistake(folder: Path, program: Program) -> None:
    (folder / "experiments" / "broken.py").write_text("class Broken(\n")
    done = program("show", "broken")
    assert done.exit_code == 2
    assert "experiments/broken.py" in done.stderr
    assert "Traceback" not in done.stderr
