"""Pictures of an evaluation: rows of conditions for images, each pixel as it is; drawn beside real for all else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.prepared import prepared_on_cpu
from support.tiny_training import digit_conditions, digits

from ddpm_exp.data import load
from ddpm_exp.data.conditions import build_conditions
from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.diffusion import draws
from ddpm_exp.evaluation import plots
from ddpm_exp.evaluation.asked import Asked, ask
from ddpm_exp.evaluation.evaluator import Evaluated
from ddpm_exp.evaluation.portrait import Portrait
from ddpm_exp.spec.condition import ClassLabels, Condition, ContinuousValues, ImageCondition, Several, Unconditional
from ddpm_exp.spec.data import Data, Digits, family_of
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.metrics import METRIC_NAMES
from ddpm_exp.spec.model import MLP, DiT
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.vectors import Points, Sequences, Table
from ddpm_exp.workflow.assemble import assemble

SPEC = Evaluation(held_out=20, samples=20, grid_columns=3)
CLASS = ClassLabels()
TILE, GAP = 48, 2


def _portrait(data: Data, condition: Condition, spec: Evaluation = SPEC) -> tuple[Portrait, Asked]:
    splits = load(data, condition)
    conditions = build_conditions(condition, splits.facts, draws.uniform)
    asked = ask(condition, splits.train, splits.held_out, samples=spec.samples, columns=spec.grid_columns)
    return Portrait(spec, splits, condition, family_of(data), conditions), asked


def _drawn(asked: Asked, *shape: int) -> torch.Tensor:
    return draws.normal(0, "a test", torch.arange(len(asked)), shape).clamp(-1, 1)


def _tiles(png: bytes, rows: int, columns: int) -> torch.Tensor:
    """uint8 [rows, columns, 8, 8]: the tiles of 8x8 pixels, enlarged sixfold, from the lower right corner."""
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and picture.height == 22 + rows * (TILE + GAP)
    step = TILE + GAP
    part = np.asarray(picture)[-rows * step :, -columns * step :, 0].reshape(rows, step, columns, step)
    return torch.from_numpy(part[:, 3:TILE:6, :, 3:TILE:6].transpose(0, 2, 1, 3).copy())


@pytest.mark.parametrize(("condition", "rows"), [(CLASS, 10), (ContinuousValues(), 8)], ids=["class", "values"])
def test_each_condition_has_a_row_and_each_noise_a_column(condition: Condition, rows: int) -> None:
    portrait, asked = _portrait(Digits(), condition)
    drawn = _drawn(asked, 1, 8, 8)
    tiles = _tiles(portrait.samples(drawn, asked, "title"), rows, 3)
    for row in range(rows):
        for column in range(3):
            assert torch.equal(tiles[row, column], to_uint8(drawn[column * rows + row, 0]))


def test_without_a_condition_the_picture_is_a_square() -> None:
    portrait, asked = _portrait(Digits(), Unconditional())
    drawn = _drawn(asked, 1, 8, 8)
    assert torch.equal(_tiles(portrait.samples(drawn, asked, "title"), 3, 3).flatten(0, 1), to_uint8(drawn[:9, 0]))


def test_several_conditions_are_shown_as_they_come() -> None:
    portrait, asked = _portrait(Digits(), Several(of=(CLASS, ContinuousValues())))
    drawn = _drawn(asked, 1, 8, 8)
    assert torch.equal(_tiles(portrait.samples(drawn, asked, "title"), 6, 3).flatten(0, 1), to_uint8(drawn[:18, 0]))


@pytest.mark.parametrize(
    "condition",
    [
        ImageCondition(hole=(0.5, 0.5)),
        ImageCondition(task="super-resolution", factor=2),
        Several(of=(CLASS, ImageCondition(hole=(0.5, 0.5)))),
    ],
    ids=["inpainting", "super-resolution", "class and inpainting"],
)
def test_what_was_given_what_was_drawn_and_the_original_stand_below_each_other(condition: Condition) -> None:
    portrait, asked = _portrait(Digits(), condition)
    drawn = _drawn(asked, 1, 8, 8)
    given, ours, original = _tiles(portrait.samples(drawn, asked, "title"), 3, 3)
    assert torch.equal(original, to_uint8(asked.batch.x0[:3, 0]))
    assert torch.equal(ours, to_uint8(drawn[:3, 0]))
    real = asked.batch.x0[:3]
    if isinstance(condition, ImageCondition) and condition.task == "super-resolution":
        small = real.reshape(3, 1, 4, 2, 4, 2).mean((3, 5))
        assert torch.equal(given, to_uint8(small.repeat_interleave(2, 2).repeat_interleave(2, 3))[:, 0])
    else:
        hole = torch.zeros(8, 8, dtype=torch.bool)
        hole[2:6, 2:6] = True
        assert torch.equal(given, torch.where(hole, to_uint8(torch.zeros(())), original)), "the hole is grey"


@pytest.fixture
def plotted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What goes to the plots, in place of pictures."""
    seen: list[tuple[Any, ...]] = []
    for name in ("marginals", "curves", "clouds"):
        monkeypatch.setattr(plots, name, lambda *given: (seen.append(given), b"")[1])
    return seen


def test_marginals_are_in_the_columns_own_units_and_categories_have_the_same_number_in_real_and_drawn(
    tmp_path: Path, plotted: list[tuple[Any, ...]]
) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"height": rng.normal(170, 10, 60), "visits": rng.integers(0, 9, 60), "town": rng.choice(["Aa", "Bb", "Cc"], 60)}
    )
    table.to_csv(tmp_path / "people.csv", index=False)
    data = Table(source=str(tmp_path / "people.csv"))
    portrait, asked = _portrait(data, Unconditional())
    splits = load(data)
    # Of the towns, Cc alone is drawn.
    drawn = torch.tensor([[0.0, 0.0, -1.0, -1.0, 1.0]]).repeat(len(asked), 1)
    portrait.samples(drawn, asked, "title")
    ((real, ours, names, title),) = plotted
    assert (names, title) == (["height", "visits", "town"], "title")
    assert splits.codec is not None
    held_out = splits.codec.frame(splits.held_out.x)
    np.testing.assert_allclose(real[:, :2], held_out[["height", "visits"]])
    np.testing.assert_array_equal(real[:, 2], held_out["town"].map({"Aa": 1, "Bb": 2, "Cc": 3}))
    assert set(held_out["town"]) == {"Aa", "Bb", "Cc"}
    assert ours[:, 2].tolist() == [3.0] * len(asked.own)
    assert float(ours[0, 0]) == pytest.approx(170, abs=5)


@pytest.mark.parametrize("data", [Sequences(length=8), Points(count=8)], ids=lambda data: data.kind)
def test_drawn_sequences_and_clouds_stand_beside_real_ones_of_their_class(data: Data, plotted: list[tuple[Any, ...]]) -> None:
    portrait, asked = _portrait(data, CLASS)
    held_out = load(data, CLASS).held_out
    portrait.samples(_drawn(asked, *held_out.x.shape[1:]), asked, "title")
    ((real, ours, captions, _),) = plotted
    assert held_out.labels is not None and asked.batch.labels is not None
    assert torch.equal(ours, _drawn(asked, *held_out.x.shape[1:])[asked.turns])
    for place in range(12):
        (which,) = (held_out.x == real[place]).flatten(1).all(1).nonzero().flatten().tolist()
        assert held_out.labels[which] == asked.batch.labels[asked.turns[place]]
    assert len(real.unique(dim=0)) == 12
    assert captions == [["sine", "triangle", "square"], ["circle", "square", "triangle"]][data.kind == "points"]


def test_a_class_with_few_held_out_examples_has_a_picture(plotted: list[tuple[Any, ...]]) -> None:
    data = Sequences(length=8, held_out_share=0.0005)
    held_out = load(data, CLASS).held_out
    assert held_out.labels is not None and held_out.labels.bincount(minlength=3).tolist() == [2, 3, 0]
    portrait, asked = _portrait(data, CLASS)
    portrait.samples(_drawn(asked, 1, 8), asked, "title")
    assert len(plotted[0][0]) == 12


def _evaluated(experiment: Experiment) -> Evaluated:
    runtime = assemble(prepared_on_cpu(experiment), 0)
    return runtime.evaluator.evaluate(runtime.averaged(), "8 examples")


_DIT = DiT(width=16, depth=1, heads=2)
_FLOW = Diffusion(schedule="rectified-flow", prediction="velocity")


@pytest.mark.parametrize(
    ("data", "condition", "model", "diffusion"),
    [
        (Table(source="wine"), CLASS, MLP(hidden_dim=16, layers=1), Diffusion()),
        (Sequences(length=8, subset=100), Unconditional(), _DIT, _FLOW),
        (Points(count=8, dimensions=2, subset=100), Unconditional(), _DIT, _FLOW),
    ],
    ids=lambda given: getattr(given, "kind", None),
)
def test_data_that_are_no_images_have_a_picture_of_samples_and_none_of_reconstructions(
    data: Data, condition: Condition, model: Any, diffusion: Diffusion
) -> None:
    experiment = Experiment(
        data=data,
        condition=condition,
        model=model,
        diffusion=diffusion,
        sampling=Sampling(steps=2) if diffusion.discrete else Sampling(sampler="euler", steps=2),
        evaluation=SPEC,
    )
    found = _evaluated(experiment)
    assert set(found.pictures) == {"samples"}
    png, caption = found.pictures["samples"]
    assert caption == "samples, 8 examples"
    assert Image.open(io.BytesIO(png)).format == "PNG"
    assert {"val/denoising", "samples/sliced_wasserstein", "samples/correlation_error"} <= set(found.values)
    assert set(found.values) <= set(METRIC_NAMES)
    assert found.drawn.shape[1:] == load(data, condition).facts.shape


def test_reconstructions_of_images_have_two_rows_per_noise_level() -> None:
    spec = SPEC.but(reconstruction_log_snr=(2.0, -1.0))
    portrait = Portrait(spec, digits(), CLASS, "image", digit_conditions())
    pictures = draws.normal(0, "a test", torch.arange(5 * 4), (1, 8, 8)).clamp(-1, 1).reshape(5, 4, 1, 8, 8)
    assert torch.equal(_tiles(portrait.reconstructions(pictures, "title"), 5, 4), to_uint8(pictures[:, :, 0]))
