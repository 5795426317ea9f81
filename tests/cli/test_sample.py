"""sample: from a run directory to a file, in one command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.recorded_run import record, small

from ddpm_exp.cli.sample import sample
from ddpm_exp.spec.condition import ClassLabels, ContinuousValues, Prompts
from ddpm_exp.spec.model import MLP
from ddpm_exp.spec.vectors import Table
from ddpm_exp.workflow.load import load

Program = Callable[..., SimpleNamespace]


@pytest.fixture
def digits(folder: Path) -> str:
    """A run that is told classes."""
    return str(record(folder / "runs", small(condition=ClassLabels())))


def test_images_become_a_grid_in_the_working_folder(folder: Path, digits: str, program: Program) -> None:
    done = program("sample", digits, "-n", "4", "--label", "3", "--seed", "5")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "4 samples from ema weights after 320 images, dpm++3m-sde in 3 steps",
        "written to samples.png",
    ]
    expected = load(digits).sample(4, 3, seed=5).save(folder / "expected.png")
    assert (folder / "samples.png").read_bytes() == expected.read_bytes()


def test_the_facts_are_a_document(folder: Path, digits: str, program: Program) -> None:
    done = program(
        "sample", digits, "-n", "2", "--label", "one", "--label", "3", "--steps", "2", "--guidance", "2", "--raw", "--json"
    )
    facts = json.loads(done.stdout)
    assert (facts["samples"], facts["steps"], facts["guidance_scale"], facts["weights"]) == (2, 2, 2.0, "raw")
    assert (facts["said"], facts["out"], facts["columns"], facts["run"]) == (["one", "three"], "samples.png", None, digits)


def test_a_folder_gets_single_images_and_force_replaces_them(folder: Path, digits: str, program: Program) -> None:
    assert program("sample", digits, "-n", "3", "--out", "single/").exit_code == 0
    assert len(list((folder / "single").glob("*.png"))) == 3
    again = program("sample", digits, "-n", "2", "--out", "single/")
    assert again.exit_code == 2 and "--force" in again.stderr
    assert program("sample", digits, "-n", "2", "--out", "single/", "--force").exit_code == 0
    assert len(list((folder / "single").glob("*.png"))) == 2
    assert Image.open(folder / "single" / "00000.png").size == (8, 8)


def test_each_class_is_drawn_as_often(folder: Path, digits: str) -> None:
    drawn = sample(digits, 2, each_class=True)
    assert len(drawn.samples) == 20 and drawn.samples.captions[:2] == ("zero", "one")
    told = record(folder / "told", small(condition=Prompts(width=8, layers=0, templates=("a {} here",))))
    assert sample(told, 1, each_class=True, out="told.png").samples.captions[:2] == ("a zero here", "a one here")


def test_a_table_keeps_its_columns_and_is_asked_in_its_own_units(folder: Path, program: Program) -> None:
    experiment = small(
        data=Table(source="wine"),
        condition=ContinuousValues(names=("alcohol", "hue")),
        model=MLP(hidden_dim=16, layers=1, time_embedding=8),
    )
    run = str(record(folder / "runs", experiment))
    done = program("sample", run, "-n", "3", "--value", "alcohol=13.5", "--value", "hue=1", "--json")
    facts = json.loads(done.stdout)
    assert facts["columns"]["proline"] == "int64" and facts["said"] == ["alcohol = 13.5, hue = 1"]
    back = pd.read_csv(folder / "samples.csv")
    assert list(back.columns) == [*facts["columns"], "condition"] and len(back) == 3
    expected = load(run).sample(3, {"values": {"alcohol": 13.5, "hue": 1}}).data
    assert np.allclose(back.drop(columns="condition"), expected)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--label", "tree"], "label = 'tree': the classes are zero, one, two"),
        (["--prompt", "a three"], "prompt: this network is told label"),
        (["--value", "brightness"], "--value = 'brightness': a value is a name, an equals sign and a number"),
        (["--value", "=1"], "--value = '=1': a value is a name, an equals sign and a number"),
        (["--steps", "500"], "sampling.steps = 500: sampling cannot take more steps than the 100 timesteps"),
        (["--steps", "0"], "sampling.steps = 0: "),
        (["--out", "samples.jpg"], "samples.jpg: images are written as .png"),
        (["-n", "0"], "-n: "),
    ],
)
def test_mistakes_are_one_message_and_nothing_is_written(digits: str, program: Program, words: list[str], text: str) -> None:
    done = program("sample", digits, *words)
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {text}") and "fix: " in done.stderr
    assert not [path for path in Path().iterdir() if path.name.startswith("samples")]


def test_what_is_there_is_told_before_anything_is_drawn(folder: Path, digits: str, program: Program) -> None:
    (folder / "samples.png").write_text("mine")
    done = program("sample", digits, "-n", "1000000000")
    assert done.exit_code == 2 and "there is something here already" in done.stderr
    assert (folder / "samples.png").read_text() == "mine"


def test_classes_of_a_network_without_classes_are_a_message(folder: Path, program: Program) -> None:
    done = program("sample", str(record(folder / "runs", small())), "--each-class")
    assert done.exit_code == 2 and "told no class" in done.stderr


def test_no_run_is_a_failure_that_names_the_command_that_lists_them(folder: Path, program: Program) -> None:
    done = program("sample", "nowhere")
    assert done.exit_code == 1 and "ddpm-exp runs" in done.stderr
