"""lr-find: one command from an experiment's file to a suggested rate, which records nothing."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from ddpm_exp.checkpoints.store import latest
from ddpm_exp.cli.lr_find import lr_find
from ddpm_exp.cli.lr_plot import lr_plot
from ddpm_exp.cli.run import run
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.training.range_test import geometric
from ddpm_exp.workflow.display import Progress, Quiet

Program = Callable[..., SimpleNamespace]

SHORT = ("--from", "1e-5", "--to", "0.1", "--steps", "40", "--gpu", "cpu")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in str(path)}


def test_it_suggests_a_rate_and_writes_its_picture_alone(folder: Path, program: Program) -> None:
    before = files(folder)
    done = program("lr-find", "1", *SHORT, "--out", "lr.png")
    assert done.exit_code == 0
    assert files(folder) - before == {"lr.png"}
    width, height = Image.open(folder / "lr.png").size
    assert width > height > 400
    for words in (
        "guide 003): recommended",
        "where the loss falls fastest (Smith 2017)",
        "training.learning_rate now (peak of its schedule 'constant')",
        "training.learning_rate=",
        "the experiment's 0.0002",
        "written to lr.png",
    ):
        assert words in done.stdout
    again = program("lr-find", "1", *SHORT, "--out", "lr.png")
    assert again.exit_code == 2 and "--force" in again.stderr


def test_the_facts_are_a_document(folder: Path, program: Program) -> None:
    done = program("lr-find", "1", "training.learning_rate=3e-3", *SHORT, "--json")
    facts = json.loads(done.stdout)
    assert (facts["learning_rate"], facts["planned_steps"], facts["images_per_step"]) == (3e-3, 40, 10)
    assert facts["steps"] == len(facts["rates"]) == len(facts["losses"]) == len(facts["smoothed"])
    suggested = facts["suggestions"]
    assert suggested["tenth_of_lowest"] == pytest.approx(facts["lowest"] / 10)
    assert facts["recommended"] == pytest.approx(suggested["tenth_of_lowest"], rel=0.05)
    assert suggested["steepest"] <= facts["lowest"] and facts["out"] is None


def test_a_run_is_bit_identical_whether_a_rate_was_looked_for_or_not(folder: Path) -> None:
    def weights(where: str) -> dict[str, torch.Tensor]:
        from ddpm_exp.workflow.options import RunOptions

        directory = run("1", seed=0, options=RunOptions(root=folder / where, gpu="cpu"))[0].run
        found = latest(RunDirectory.open(directory).checkpoints)
        assert found is not None
        state: dict[str, torch.Tensor] = found[1].tensors["network"]
        return state

    alone = weights("alone")
    lr_find("1", first=1e-4, last=0.1, steps=12, gpu="cpu")
    after = weights("after")
    assert alone.keys() == after.keys() and all(torch.equal(alone[name], after[name]) for name in alone)


def test_ctrl_c_ends_it_with_what_there_is(folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(Quiet):
        def progress(self, progress: Progress) -> None:
            if progress.images == 250:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("ddpm_exp.cli.display.display_for", lambda screen: Impatient())
    done = program("lr-find", "1", *SHORT, "--out", "lr.png")
    assert done.exit_code == 130
    assert "stopped after 25 of 40 steps" in done.stdout and (folder / "lr.png").exists()


def test_smoke_is_small_and_says_so(folder: Path, program: Program) -> None:
    done = program("lr-find", "1", "--smoke", "--steps", "10", "--gpu", "cpu")
    assert done.exit_code == 0 and "--smoke only shows that everything works" in done.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--from", "1e-2", "--to", "1e-3"), "error: --from = 0.01: the rate grows, so --from is below --to (0.001)\n"),
        (("--steps", "9"), "error: --steps = 9: a range test takes at least 10 steps\n"),
        (("--out", "lr.jpg"), "error: --out = 'lr.jpg': the picture is a PNG\n"),
        (("training.learning_rat=1",), "error: training.learning_rat"),
    ],
)
def test_a_mistake_is_told_before_the_first_step(folder: Path, program: Program, words: tuple[str, ...], text: str) -> None:
    done = program("lr-find", "1", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(text)


@pytest.mark.parametrize("width", [35, 60, 90, 300])
def test_the_plot_fits_the_terminal_and_shows_every_mark(width: int) -> None:
    rates = geometric(1e-7, 1e-2, 200)
    smoothed = [1 - 0.9 / (1 + math.exp(-(step - 120) / 10)) for step in range(200)]
    lines = lr_plot(rates, smoothed, smoothed, {"T": 1e-4, "S": 1e-4, "L": 1e-2, "N": 0.5}, width)
    assert max(map(len, lines)) <= min(width, 120) and all(map(str.isascii, lines))
    marks = "".join(lines[-2:])
    assert all(marks.count(letter) == 1 for letter in "TSL") and "N" not in marks
    curve = [line.split("|", 1)[1] for line in lines if "|" in line]
    assert curve[0].startswith("*") and curve[-1].endswith("*")


def test_a_single_loss_is_drawn_too() -> None:
    assert any("*" in line for line in lr_plot([1e-4], [0.5], [0.5], {"N": 1e-4}, 80))


def test_neither_fid_weights_nor_a_guide_need_to_be_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    wants = (
        "evaluation.fid.images=64",
        "evaluation.fid.weights=nowhere.pth",
        "sampling.guide=runs/nowhere",
        "sampling.guidance_scale=2",
    )
    assert len(lr_find("1", wants, steps=10, gpu="cpu").test.losses) == 10
