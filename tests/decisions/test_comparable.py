"""Arms that saw or measured different images are refused, with what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.comparable import differences, different_losses, refuse_losses, require_comparable
from ddpm_exp.records.evaluations import EVALUATIONS, Evaluated, EvaluationsLog
from ddpm_exp.spec.errors import UserError

Make = Callable[..., Arm]
TOTAL = 4096

CONFIG: dict[str, Any] = {"data.kind": "fashion-mnist", "data.subset": 2048, "data.root": None, "evaluation.held_out": 1024}


def two(arm: Make, ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[Arm, Arm]:
    finals = {"val/denoising": (0.1, 0.2)}
    return arm("adr_0002", finals, config={**CONFIG, **ours}), arm("adr_0001", finals, config={**CONFIG, **theirs})


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [
        ("data.subset", 2048, None),
        ("evaluation.held_out", 512, 1024),
        ("evaluation.fid.images", 2000, 50_000),
        ("evaluation.fd.images", 2000, 5_000),
    ],
)
def test_other_data_or_measurement_is_refused_with_both_values(arm: Make, key: str, ours: Any, theirs: Any) -> None:
    with pytest.raises(UserError) as caught:
        require_comparable(*two(arm, {key: ours}, {key: theirs}))
    assert f"{key}: {ours!r} in adr_0002, {theirs!r} in adr_0001" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [
        ("data.root", "/here", "/there"),
        ("evaluation.fid.weights", "a.pt", None),
        ("evaluation.every", "5 epochs", "10 epochs"),
        ("sampling.steps", 25, 50),
    ],
)
def test_where_files_lie_and_how_often_is_measured_does_not_matter(arm: Make, key: str, ours: Any, theirs: Any) -> None:
    assert differences(*two(arm, {key: ours}, {key: theirs})) == []


def test_a_field_that_was_added_after_a_run_has_its_default_there(arm: Make) -> None:
    assert differences(*two(arm, {"evaluation.likelihood": 0, "evaluation.likelihood_terms": 50}, {})) == []
    found = differences(*two(arm, {"evaluation.likelihood": 64}, {}))
    assert found == [("evaluation.likelihood", 64, 0)]


def test_losses_compare_with_those_of_runs_from_before_a_field_existed(arm: Make) -> None:
    assert different_losses(*two(arm, {"diffusion.preconditioning": "none", "diffusion.sigma_data": 0.5}, {})) == []
    found = different_losses(*two(arm, {"diffusion.time_density": "stratified"}, {}))
    assert found == [("diffusion.time_density", "stratified", "uniform")]


def test_the_root_of_a_folder_is_its_data(arm: Make) -> None:
    folder = {"data.kind": "folder"}
    found = differences(*two(arm, {**folder, "data.root": "cats"}, {**folder, "data.root": "dogs"}))
    assert found == [("data.root", "cats", "dogs")]


def test_other_pixels_under_the_same_name_are_refused(arm: Make) -> None:
    finals = {"val/denoising": (0.1, 0.2)}
    with pytest.raises(UserError, match="data fingerprint: 'aaaa' in adr_0002, 'bbbb' in adr_0001"):
        require_comparable(arm("adr_0002", finals, data_fingerprint="aaaa"), arm("adr_0001", finals, data_fingerprint="bbbb"))


MEASUREMENT = {"n": 3000, "extractor": "efficientnet-lite0", "weights_sha256": "5793", "reals": "held-out", "reals_sha256": "aa"}


def measured(arm: Make, folder: Path, name: str, by: str = "run", **unlike: Any) -> Arm:
    """Two seeds whose runs recorded how their distance was measured."""
    made = arm(name, {"samples/fd_effnet": (126.0, 119.0)})
    runs = tuple(replace(run, path=folder / name / str(run.seed)) for run in made.runs)
    for run in runs:
        run.path.mkdir(parents=True)
        drawing = {"sampler": f"that of {name}"}
        said = Evaluated(TOTAL, {"samples/fd_effnet": 126.0}, MEASUREMENT | unlike, drawing, by=by)  # type: ignore[arg-type]
        EvaluationsLog(run.path / EVALUATIONS).append(said)
    return replace(made, runs=runs)


@pytest.mark.parametrize(("key", "theirs"), [("weights_sha256", "0000"), ("reals_sha256", "bb"), ("n", 5000)])
def test_values_that_were_measured_differently_are_refused_with_what_differs(
    arm: Make, tmp_path: Path, key: str, theirs: Any
) -> None:
    ours, other = measured(arm, tmp_path, "adr_0002"), measured(arm, tmp_path, "adr_0001", **{key: theirs})
    assert differences(ours, other) == [(f"samples/fd_effnet, {key}", MEASUREMENT[key], theirs)]


def test_how_samples_were_drawn_and_what_was_measured_later_does_not_keep_arms_apart(arm: Make, tmp_path: Path) -> None:
    ours = measured(arm, tmp_path, "adr_0002")
    assert differences(ours, measured(arm, tmp_path, "adr_0001")) == []
    assert differences(ours, measured(arm, tmp_path, "adr_0003", by="evaluate", n=50_000)) == []


@pytest.mark.parametrize("key", ["diffusion.schedule", "diffusion.timesteps", "diffusion.prediction", "diffusion.weight"])
def test_losses_of_different_processes_are_refused_with_advice(arm: Make, key: str) -> None:
    ours, theirs = two(arm, {key: "new"}, {key: "old"})
    for loss in ("train/loss", "val/loss"):
        with pytest.raises(UserError, match="val/denoising"):
            refuse_losses(loss, ours, theirs)
    refuse_losses("val/denoising", ours, theirs)
    refuse_losses("val/loss", theirs, theirs)
