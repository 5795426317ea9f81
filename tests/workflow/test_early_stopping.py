"""A run whose validation no longer improves ends there, wherever it was interrupted, and whoever compares it is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.tiny_experiment import Watching, assert_same_tensors, final_tensors, rows, write_tiny, write_variant

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.reports.comparison import compare
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.stopping import EarlyStopping
from ddpm_exp.training.stopping import Early, early_end
from ddpm_exp.workflow.arms import arms_of
from ddpm_exp.workflow.judge import page_of
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

EARLY = 'training = training.but(stop_early={"patience": "4 steps", "improvement": 0.99}, log_every="1 steps")'
EVERY = 'evaluation = evaluation.but(every="2 steps")'


@pytest.mark.parametrize(
    ("values", "better", "expected"),
    [
        ((5, 4, 3, 2, 1), "lower", None),
        ((5, 4, 4, 4, 4), "lower", Early(30, 10, 4)),
        ((5, 4, 6, 3.9, 6, 6), "lower", Early(50, 30, 3.9)),
        ((1, 2, 3, 3, 3), "higher", Early(40, 20, 3)),
        ((1, 2, float("nan"), float("nan"), 3), "higher", Early(30, 10, 2)),
        ((float("nan"), 5, 4, 4, 4), "lower", Early(40, 20, 4)),
        ((float("inf"), 5, 4, 3, 2), "lower", None),
        ((float("nan"),) * 5, "lower", None),
    ],
)
def test_a_series_ends_where_its_best_value_is_as_old_as_the_patience(values, better, expected) -> None:
    points = [(10 * place, value) for place, value in enumerate(values)]
    assert early_end(points, patience_images=20, improvement=0.0, better=better) == expected


def test_an_improvement_below_the_margin_does_not_count() -> None:
    points = [(0, 1.0), (10, 0.995), (20, 0.985)]
    assert early_end(points, patience_images=20, improvement=0.01, better="lower") is None
    assert early_end(points, patience_images=20, improvement=0.02, better="lower") == Early(20, 0, 1.0)


def test_only_what_every_evaluation_measures_can_end_a_training() -> None:
    for metric in ("train/loss", "samples/fid", "val/loss", "nothing"):
        with pytest.raises(ValidationError, match="what every evaluation measures"):
            EarlyStopping(metric=metric)


def test_a_run_that_no_longer_improves_is_finished_there_and_says_why(folder: Path) -> None:
    write_tiny(folder / "experiments", EARLY, EVERY)
    loaded, display = load_experiment("experiments/adr_0001.py"), Watching()
    done = run_seed(loaded, 0, RunOptions(), display)
    status = RunDirectory.open(done.run).status()
    assert (done.state, status.state, status.images_seen, status.total_images) == ("finished", "finished", 32, 96)
    assert status.message.startswith("stopped early after 32 of 96 images: val/denoising was best, ")
    assert status.message in display.text and status.message.endswith("at 0 images")
    assert final_tensors(done.run)["images_seen"] == 32
    assert max(images for images, _ in rows(done.run)) == 32
    assert run_seed(loaded, 0, RunOptions(), Watching()).state == "reused"


def test_an_interrupted_run_stops_early_where_an_undisturbed_one_does(folder: Path) -> None:
    write_tiny(folder / "experiments", EARLY, EVERY)
    loaded = load_experiment("experiments/adr_0001.py")
    straight = run_seed(loaded, 0, RunOptions(root=folder / "straight"), Watching())

    def stop(images: int) -> None:
        if images == 24:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run_seed(loaded, 0, RunOptions(), Watching(on_progress=stop)).state == "interrupted"
    resumed = run_seed(loaded, 0, RunOptions(), Watching())
    assert rows(resumed.run) == rows(straight.run)
    assert_same_tensors(resumed.run, straight.run)


def test_what_is_not_measured_cannot_end_a_training(folder: Path) -> None:
    metric = EARLY.replace('"4 steps",', '"4 steps", "metric": "samples/class_accuracy",')
    write_tiny(folder / "experiments", metric, EVERY)
    with pytest.raises(UserError, match="does not measure what is to end the training") as error:
        run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), Watching())
    assert error.value.field == "training.stop_early.metric"


def test_arms_that_ended_at_different_lengths_are_compared_at_their_ends_and_the_reader_is_told(folder: Path) -> None:
    write_tiny(folder / "experiments", EVERY, "decision = decision.but(seeds=(0,))")
    write_variant(folder / "experiments", "seeds=(0,)")
    variant = folder / "experiments" / "adr_0002.py"
    variant.write_text(variant.read_text() + f"    {EARLY}\n")
    loaded = load_experiment("experiments/adr_0002.py")
    assert loaded.baseline is not None
    for arm in (loaded.baseline, loaded):
        run_seed(arm, 0, RunOptions(), Watching())
    ours, theirs = arms_of(loaded, Path("runs"))
    run = ours.counted[0]
    assert run.stopped_early and run.images_at(None) == 32 and theirs is not None and theirs.counted[0].images_at(None) == 96
    assert ours.values("val/denoising")[0] == dict(run.series["val/denoising"])[32]
    sentence = "ADR-0002 stopped early (seed 0 after 32 of 96 images)"
    assert sentence in compare(ours, theirs).notes[-1]
    assert compare(theirs).notes == ()
    verdict, page = page_of(loaded, Path("runs"))
    assert sentence in verdict.cautions[-1] and sentence in page
