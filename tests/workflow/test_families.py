"""Tables, sequences, clouds, holes, continuous values and several conditions, each from its file to a finished run directory."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.tiny_experiment import Watching, assert_same_tensors, final_tensors, rows, write_tiny

from ddpm_exp.data import load
from ddpm_exp.evaluation.evaluator import Evaluated, Evaluator
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.metrics import METRIC_NAMES
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import Outcome, run_seed

ADR = Path("experiments/adr_0001.py")
IMPORTS = "from ddpm_exp import *"
FLOW = 'Diffusion(schedule="rectified-flow", prediction="velocity", time_density="logit-normal")'

FAMILIES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "table": (
        (
            'data = Table(source="wine", columns=("alcohol", "hue", "proline"))',
            "model = MLP(hidden_dim=16, layers=1)",
            'diffusion = Diffusion(schedule="vp-cosine", prediction="v", time_density="stratified")',
            'sampling = Sampling(sampler="dpm++2m", steps=2)',
        ),
        {"samples/sliced_wasserstein", "samples/correlation_error", "samples/prompt_distance"},
    ),
    "sequence": (
        (
            'data = Sequences(source="waves", length=8, channels=2, subset=64)',
            "model = DiT(width=16, depth=1, heads=2, patch=2)",
            f"diffusion = {FLOW}",
            'sampling = Sampling(sampler="heun", steps=2)',
            "evaluation = evaluation.but(samples=6)",
        ),
        {"samples/sliced_wasserstein", "samples/correlation_error", "samples/prompt_distance"},
    ),
    "points": (
        (
            'data = Points(source="outlines", count=8, subset=64)',
            "condition = Unconditional()",
            'model = DiT(width=16, depth=1, heads=2, time_features="fourier")',
            'diffusion = Diffusion(schedule="ve", preconditioning="edm", prediction="x0", weight="edm", '
            'time_density="log-normal-sigma", sigma_data=1.0)',
            'sampling = Sampling(sampler="edm-stochastic", steps=2, grid="karras")',
        ),
        {"samples/sliced_wasserstein", "samples/correlation_error"},
    ),
    "inpainting": (
        ("condition = ImageCondition()", "sampling = Sampling(steps=2, guidance_scale=2.0)"),
        {"samples/coherence", "samples/restored_error"},
    ),
    "values": (
        ('condition = ContinuousValues(names=("brightness", "contrast"))',),
        {"samples/coherence", "samples/value_error", "samples/value_error_of_real"},
    ),
    "several": (
        ("condition = Several(of=(ClassLabels(), ContinuousValues()))", "sampling = Sampling(steps=2, guidance_scale=2.0)"),
        {"samples/coherence", "samples/value_error"},
    ),
    "importance": (
        (
            'diffusion = Diffusion(schedule="cosine", timesteps=20, time_density="importance", learned_variance=True)',
            'training = training.but(images_per_step=32, duration="40 steps", log_every="10 steps", checkpoint_every="10 steps")',
            'evaluation = evaluation.but(every="20 steps")',
            'sampling = Sampling(sampler="ddpm", steps=4, variance="learned")',
        ),
        {"samples/coherence", "samples/prompt_distance"},
    ),
}


def _write(folder: Path, *lines: str) -> None:
    """folder/experiments: the tiny experiment with further lines, which may name anything of the package."""
    path = write_tiny(folder / "experiments", *lines)
    path.write_text(path.read_text().replace("from ddpm_exp import (", f"{IMPORTS}\nfrom ddpm_exp import (", 1))


def _run(folder: Path, root: str, display: Watching | None = None) -> Outcome:
    return run_seed(load_experiment(folder / ADR), 0, RunOptions(root=folder / root), display or Watching())


def _stopping_at(images: int) -> Watching:
    return Watching(on_progress=lambda seen: os.kill(os.getpid(), signal.SIGTERM) if seen == images else None)


class Whole(NamedTuple):
    """One run of a family in one sitting."""

    folder: Path
    done: Outcome
    drawn: list[torch.Tensor]
    """What each evaluation drew, as the network sees it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    """The run of each family, made when first asked for."""
    runs: dict[str, Whole] = {}
    evaluate = Evaluator.evaluate

    def made(family: str) -> Whole:
        folder, drawn = tmp_path_factory.mktemp(family), []
        _write(folder, *FAMILIES[family][0])

        def noting(self: Evaluator, network: torch.nn.Module, title: str) -> Evaluated:
            found = evaluate(self, network, title)
            drawn.append(found.drawn)
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Evaluator, "evaluate", noting)
            return Whole(folder, _run(folder, "whole"), drawn)

    def once(family: str) -> Whole:
        runs[family] = runs.get(family) or made(family)
        return runs[family]

    return once


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_runs_from_its_file_to_a_finished_run_directory(family: str, whole: Callable[[str], Whole]) -> None:
    measured, done = FAMILIES[family][1], whole(family).done
    assert done.state == "finished"
    assert measured | {"val/denoising", "val/loss", "train/loss"} <= done.values.keys()
    assert {name.removeprefix("noise/") for name in done.values} <= set(METRIC_NAMES)
    assert all(np.isfinite(value) for value in done.values.values())
    assert (done.run / "adr.md").is_file()
    images = family not in ("table", "sequence", "points")
    assert {path.name.split("-")[0] for path in done.pictures} == {"samples"} | ({"reconstructions"} if images else set())
    assert {path.suffix for path in (done.run / "samples").iterdir()} == ({".png"} if images else {".png", ".csv"})
    for picture in done.pictures:
        Image.open(picture).verify()


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_resumes_to_the_same_bits_after_a_stop(family: str, whole: Callable[[str], Whole]) -> None:
    folder, done, _ = whole(family)
    # Between two checkpoints and two evaluations; importance sampling has by then seen each time often enough to prefer some.
    stopped = _run(folder, "stopped", _stopping_at(960 if family == "importance" else 24))
    assert stopped.state == "interrupted"
    resumed = _run(folder, "stopped")
    assert (resumed.state, resumed.run) == ("finished", stopped.run)
    assert_same_tensors(resumed.run, done.run)
    assert rows(resumed.run) == rows(done.run)


def test_what_importance_sampling_learnt_of_the_losses_is_in_the_checkpoint(whole: Callable[[str], Whole]) -> None:
    kept = final_tensors(whole("importance").done.run)
    assert int(kept[".objective.observed"].sum()) == 40 * 32 and int(kept[".objective.observed"].min()) >= 10
    moments = kept[".objective.second_moment"]
    assert bool((moments > 0).all()) and float(moments.max() / moments.min()) > 1.5


@pytest.mark.parametrize(
    ("family", "columns"),
    [
        ("table", ["alcohol", "hue", "proline"]),
        ("sequence", [f"channel_{channel}_step_{step}" for channel in range(2) for step in range(8)]),
        ("points", [f"point_{point}_{axis}" for point in range(8) for axis in "xy"]),
    ],
)
def test_samples_are_kept_in_the_datas_own_units_with_its_columns(
    family: str, columns: list[str], whole: Callable[[str], Whole]
) -> None:
    folder, done, evaluations = whole(family)
    files = sorted(done.run.glob("samples/*.csv"))
    pictures = sorted(path.stem for path in done.run.glob("samples/samples-*.png"))
    assert [path.stem for path in files] == pictures and len(files) == len(evaluations) == 3
    splits = load(load_experiment(folder / ADR).experiment.data)
    assert splits.codec is not None
    for path, drawn in zip(files, evaluations, strict=True):
        table = pd.read_csv(path)
        assert list(table.columns) == columns
        pd.testing.assert_frame_equal(table, splits.codec.frame(drawn), rtol=1e-12)


def test_a_tables_samples_have_its_types(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    people = {"visits": rng.integers(100, 900, 80), "town": rng.choice(["Aa", "Bb"], 80), "height": rng.normal(170, 9, 80)}
    pd.DataFrame(people).to_csv(tmp_path / "people.csv", index=False)
    table = f"data = Table(source={str(tmp_path / 'people.csv')!r})"
    _write(tmp_path, table, "condition = Unconditional()", "model = MLP(hidden_dim=16, layers=1)")
    drawn = pd.read_csv(max(_run(tmp_path, "runs").run.glob("samples/*.csv")))
    assert list(drawn.columns) == list(people) and drawn["visits"].dtype.kind == "i"
    assert set(drawn["town"]) <= {"Aa", "Bb"} and drawn["height"].dtype.kind == "f"
