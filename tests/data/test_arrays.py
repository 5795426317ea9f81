"""Sequences, points and mixtures: what they are made of, standardised, back in their own units; files that do not fit."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ddpm_exp.data import load, require, shape_of
from ddpm_exp.data.codec import Codec
from ddpm_exp.data.codecs import codec_from_json
from ddpm_exp.data.examples import Examples, Splits
from ddpm_exp.data.synthetic import log_density
from ddpm_exp.spec.condition import ContinuousValues
from ddpm_exp.spec.data import Data, Gaussians, Points, Sequences, class_count
from ddpm_exp.spec.errors import UserError

WAVES = ContinuousValues(names=("frequency", "damping", "phase"))
OUTLINES = ContinuousValues(names=("turn", "size"))


def _codec(splits: Splits) -> Codec:
    assert splits.codec is not None
    return codec_from_json(json.loads(json.dumps(splits.codec.to_json())))


def _own(splits: Splits, part: Examples) -> np.ndarray:
    """The values in their own units."""
    assert part.values is not None
    return part.values.double().numpy() * np.array(splits.facts.value_stds) + np.array(splits.facts.value_means)


@pytest.mark.parametrize("data", [Sequences(), Sequences(channels=3, length=17), Points(count=9), Gaussians(count=500)])
def test_the_spec_knows_shape_and_classes_before_loading(data: Data) -> None:
    splits = load(data)
    assert tuple(splits.train.x.shape[1:]) == shape_of(data) == splits.facts.shape
    assert splits.train.x.dtype == torch.float32
    assert len(splits.train.class_names) == class_count(data)
    again = load(data)
    assert again.fingerprint == splits.fingerprint
    assert torch.equal(again.train.x, splits.train.x)


@pytest.mark.parametrize(
    ("data", "recorded"),
    [
        (Sequences(), "336b16b5fa7fcf79"),
        (Points(), "daf1e917cc9c8568"),
        (Gaussians(means=((0.0, 0.0), (1.0, 1.0))), "cef1a6e53a2547fe"),
    ],
)
def test_made_data_are_the_same_on_every_machine(data: Data, recorded: str) -> None:
    assert load(data).fingerprint == recorded


@pytest.mark.parametrize(("data", "condition"), [(Sequences(), WAVES), (Points(), OUTLINES)])
def test_being_told_a_parameter_changes_no_example_and_no_fingerprint(data: Data, condition: ContinuousValues) -> None:
    told, plain = load(data, condition), load(data)
    assert told.fingerprint == plain.fingerprint
    assert torch.equal(told.train.x, plain.train.x)


def test_waves_are_the_damped_forms_of_their_parameters() -> None:
    splits = load(Sequences(length=40, channels=2), WAVES)
    raw = _codec(splits).decode(splits.train.x)
    assert isinstance(raw, np.ndarray)
    frequency, damping, phase = _own(splits, splits.train).T[:, :, None]
    assert splits.train.labels is not None
    t = np.arange(40) / 40
    for channel, lag in enumerate((0.0, math.pi / 2)):
        expected = np.exp(-damping * t) * np.sin(2 * math.pi * frequency * t + phase - lag)
        sine = splits.train.labels.numpy() == splits.train.class_names.index("sine")
        np.testing.assert_allclose(raw[sine, channel], expected[sine], atol=1e-4)
        assert np.abs(raw[~sine, channel] - expected[~sine]).mean() > 0.05
        assert np.abs(raw[:, channel]).max() <= 1.0 + 1e-6


def test_outlines_lie_on_their_form_and_turn_and_size_are_theirs() -> None:
    splits = load(Points(count=200), OUTLINES)
    clouds = _codec(splits).decode(splits.train.x)
    assert isinstance(clouds, np.ndarray)
    assert clouds.shape[1:] == (200, 2)
    labels, (turn, size) = splits.train.labels, _own(splits, splits.train).T
    assert labels is not None
    circles = np.flatnonzero(labels.numpy() == splits.train.class_names.index("circle"))[:50]
    for k in circles:
        # Through any points of a circle: |p|^2 = 2 c p + r^2 - c^2.
        design = np.c_[clouds[k], np.ones(200)]
        (a, b, c), *_ = np.linalg.lstsq(design, (clouds[k] ** 2).sum(1), rcond=None)
        assert math.sqrt(c + a * a / 4 + b * b / 4) == pytest.approx(size[k], abs=1e-3)
    squares = np.flatnonzero(labels.numpy() == splits.train.class_names.index("square"))[:50]
    for k in squares:
        turned = clouds[k] @ np.array([[math.cos(-turn[k]), math.sin(-turn[k])], [-math.sin(-turn[k]), math.cos(-turn[k])]])
        middle = (turned.max(0) + turned.min(0)) / 2
        np.testing.assert_allclose(np.abs(turned - middle).sum(1), size[k], atol=0.15)


@pytest.mark.parametrize("data", [Sequences(channels=2), Points()])
def test_standardised_by_the_training_examples_alone(data: Sequences | Points) -> None:
    splits = load(data)
    axes = (0, 2)
    np.testing.assert_allclose(splits.train.x.double().mean(axes), 0, atol=1e-6)
    spread = splits.train.x.double().pow(2).mean(axes).sqrt()
    if isinstance(data, Points):
        assert float(spread[0]) != float(spread[1]), "clouds keep their form"
        spread = spread.square().mean().sqrt()
    np.testing.assert_allclose(spread, 1, atol=1e-5)


def test_gaussians_are_left_as_they_are_and_have_the_stated_moments() -> None:
    data = Gaussians(means=((-2.0, 0.0, 1.0), (2.0, 1.0, 1.0)), std=0.25, count=20_000)
    splits = load(data)
    assert splits.train.labels is not None
    for component, mean in enumerate(data.means):
        x = splits.train.x[splits.train.labels == component]
        np.testing.assert_allclose(x.mean(0), mean, atol=0.02)
        np.testing.assert_allclose(torch.cov(x.T), 0.0625 * np.eye(3), atol=0.003)
    decoded = _codec(splits).decode(splits.train.x)
    assert isinstance(decoded, np.ndarray)
    assert np.array_equal(decoded, splits.train.x.double().numpy())


def test_the_density_of_a_mixture_sums_to_one_and_fits_its_samples() -> None:
    data = Gaussians(means=((-1.0,), (1.5,)), std=0.4)
    grid = torch.linspace(-6, 6, 4001, dtype=torch.float64)[:, None]
    assert float(torch.trapezoid(log_density(data, grid).exp(), grid[:, 0])) == pytest.approx(1, abs=1e-9)
    x = load(data).train.x
    inside = float(((x > 0) & (x < 1.5)).float().mean())
    part = grid[(grid[:, 0] >= 0) & (grid[:, 0] <= 1.5)]
    assert inside == pytest.approx(float(torch.trapezoid(log_density(data, part).exp(), part[:, 0])), abs=0.015)


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (Sequences(length=3), ["step_0", "step_1", "step_2"]),
        (Sequences(length=2, channels=2), ["channel_0_step_0", "channel_0_step_1", "channel_1_step_0", "channel_1_step_1"]),
        (Points(count=2), ["point_0_x", "point_0_y", "point_1_x", "point_1_y"]),
        (Gaussians(count=50), ["x0", "x1"]),
    ],
)
def test_files_of_samples_have_one_row_each_in_their_own_units(data: Data, columns: list[str], tmp_path: Path) -> None:
    splits = load(data)
    codec = _codec(splits)
    (tmp_path / "samples.csv").write_bytes(codec.csv(splits.held_out.x))
    read = pd.read_csv(tmp_path / "samples.csv")
    assert list(read.columns) == columns
    decoded = codec.decode(splits.held_out.x)
    assert isinstance(decoded, np.ndarray)
    np.testing.assert_allclose(read.to_numpy().reshape(decoded.shape), decoded)


def test_arrays_of_a_file_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sequences, clouds = rng.normal(5, 3, (40, 2, 7)), rng.normal(-3, 9, (40, 6, 3)).astype(np.float32)
    np.save(tmp_path / "s.npy", sequences)
    np.save(tmp_path / "p.npy", clouds)
    for data, published in (
        (Sequences(source=str(tmp_path / "s.npy"), length=7, channels=2), sequences),
        (Points(source=str(tmp_path / "p.npy"), count=6, dimensions=3), clouds),
    ):
        require(data)
        splits = load(data)
        back = np.concatenate([np.asarray(_codec(splits).decode(part.x)) for part in (splits.train, splits.held_out)])
        np.testing.assert_allclose(np.sort(back, axis=0), np.sort(published, axis=0), atol=1e-4)
        assert splits.train.labels is None


def test_sequences_are_read_from_parquet_as_columns_or_lists(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(0, 1, (30, 6))
    pd.DataFrame(rows, columns=[f"t{k}" for k in range(6)]).to_parquet(tmp_path / "wide.parquet")
    pd.DataFrame({"sequence": list(rows)}).to_parquet(tmp_path / "lists.parquet")
    found = [load(Sequences(source=str(tmp_path / name), length=3, channels=2)) for name in ("wide.parquet", "lists.parquet")]
    assert found[0].fingerprint == found[1].fingerprint
    np.save(tmp_path / "s.npy", rows.reshape(30, 2, 3))
    assert load(Sequences(source=str(tmp_path / "s.npy"), length=3, channels=2)).fingerprint == found[0].fingerprint


def _saved(folder: Path, array: np.ndarray, **changes: int) -> Sequences:
    np.save(folder / "s.npy", array)
    return Sequences(source=str(folder / "s.npy")).but(**changes)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((20, 32), "data.channels=1 and data.length=32"),
        ((20, 2, 64), "data.channels=2 and data.length=64"),
        ((20,), "reshape the array"),
        ((4, 64), "4 examples"),
    ],
)
def test_a_file_of_other_sizes_is_told_what_to_write(shape: tuple[int, ...], told: str, tmp_path: Path) -> None:
    data = _saved(tmp_path, np.ones(shape))
    for attempt in (require, load):
        with pytest.raises(UserError) as caught:
            attempt(data)
        assert told in str(caught.value)
        assert caught.value.field == "data.source"


def test_missing_constant_and_unreadable_numbers_are_told(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2, 8))
    x[3, 0, 0] = np.nan
    with pytest.raises(UserError, match="1 of 20 examples"):
        load(_saved(tmp_path, x, length=8, channels=2))
    x[:, 0] = 3.0
    with pytest.raises(UserError, match="channel 0"):
        load(_saved(tmp_path, x, length=8, channels=2))
    (tmp_path / "s.npy").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        require(Sequences(source=str(tmp_path / "s.npy")))


@pytest.mark.parametrize(
    ("data", "name", "hint"),
    [
        (Sequences(), "frequenzy", "did you mean 'frequency'"),
        (Points(), "damping", "size, turn"),
        (Gaussians(), "size", "no values"),
    ],
)
def test_values_that_the_data_does_not_have_are_refused(data: Data, name: str, hint: str) -> None:
    for attempt in (require, load):
        with pytest.raises(UserError) as caught:
            attempt(data, ContinuousValues(names=(name,)))
        assert caught.value.field == "condition.names"
        assert hint in str(caught.value)


def test_held_out_examples_are_the_same_whatever_the_subset_and_share_no_row() -> None:
    whole, part = load(Gaussians(count=300)), load(Gaussians(count=300, subset=20))
    assert torch.equal(whole.held_out.x, part.held_out.x)
    rows = [set(map(tuple, part.tolist())) for part in (whole.train.x, whole.held_out.x)]
    assert not rows[0] & rows[1]
    assert len(part.train) == 20
