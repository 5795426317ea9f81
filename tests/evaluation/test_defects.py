"""What is wrong with samples is seen in them and not in real examples: noise, blur, collapse, copies, classes that lack."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import gaussian_blur

from ddpm_exp.data import load
from ddpm_exp.data.examples import Examples, Splits, split
from ddpm_exp.diffusion import draws
from ddpm_exp.evaluation.centroids import class_figures, coverage, fit_centroids
from ddpm_exp.evaluation.defects import Defects
from ddpm_exp.evaluation.embedding import even_steps, fit_embedding
from ddpm_exp.evaluation.image_measures import Comparison, of_fd
from ddpm_exp.evaluation.neighbours import mean_distance, median_to_nearest_other, nearest
from ddpm_exp.evaluation.noise_left import VISIBLE, fit_noise_scale
from ddpm_exp.evaluation.spectrum import blur, spectrum_slopes
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Digits, family_of
from ddpm_exp.spec.evaluation import FD
from ddpm_exp.spec.vectors import Points, Table

PICTURES = Path(__file__).parents[2] / "docs/pictures"


def _noise(*shape: int, purpose: str = "a test") -> torch.Tensor:
    return draws.normal(0, purpose, torch.arange(shape[0]), shape[1:])


def _textured(count: int, side: int = 32, purpose: str = "texture") -> torch.Tensor:
    """Images [N, 3, S, S] with the spectrum of photographs: power falls with the square of the frequency, colours go together."""
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.fftfreq(side)[None]
    fall = (down.square() + across.square()).sqrt().clamp_min(1 / side) ** -1.3
    grey = torch.fft.ifft2(torch.fft.fft2(_noise(count, 1, side, side, purpose=purpose)) * fall).real
    tint = 0.2 * _noise(count, 3, 1, 1, purpose=f"{purpose} tint")
    return (0.3 * grey / fall.square().mean().sqrt() + tint).clamp(-1, 1)


@cache
def _photographs() -> Splits:
    parts = [
        ((_textured(count, purpose=name) + 1) * 127.5).round().to(torch.uint8) for count, name in ((600, "train"), (200, "test"))
    ]
    return split(*(Examples(part, None, ()) for part in parts))


@cache
def _digits() -> Defects:
    return Defects(load(Digits()), "image")


def _tiles(name: str) -> torch.Tensor:
    """Images [8, 10, 3, 32, 32] of a grid of 10 rows and 8 columns, by columns, each pixel twice as wide and high there."""
    step = 66
    picture = np.asarray(Image.open(PICTURES / name).convert("RGB"))[-10 * step :, -8 * step :]
    tiles = picture.reshape(10, step, 8, step, 3)[:, :64:2, :, :64:2].transpose(2, 0, 4, 1, 3)
    return torch.from_numpy(tiles.copy()).float() / 127.5 - 1


@pytest.mark.parametrize("sigma", [0.1, 0.3])
@pytest.mark.parametrize("coloured", [True, False])
def test_white_noise_is_seen_in_colour_and_in_grey_and_measured(sigma: float, coloured: bool) -> None:
    scale = fit_noise_scale(_textured(300), _textured(300, purpose="held out"))
    real = _textured(200, purpose="real")
    assert scale.share_with_noise(real) <= 0.015
    noisy = real + sigma * _noise(200, 3 if coloured else 1, 32, 32)
    assert scale.share_with_noise(noisy) == 1.0
    if coloured:
        own = scale.all_channels.estimate(real).median()
        assert float(scale.all_channels.estimate(noisy).median()) == pytest.approx(math.hypot(sigma, float(own)), rel=0.05)
    half = torch.cat([noisy[:50], real[50:100]])
    assert scale.share_with_noise(half) == pytest.approx(0.5, abs=0.01)


def test_the_noise_of_a_committed_grid_is_in_the_columns_whose_starting_noise_was_too_long() -> None:
    """Eight noises, of lengths 1.020, 1.001, 0.996, 1.029, 0.988, 1.022, 0.995 and 0.997 for their dimensions, drew its columns."""
    last = _tiles("cifar10_shards-epoch-50.png").flatten(0, 1)  # in which nobody sees any
    scale = fit_noise_scale(last, last)
    length = draws.normal(0, "sample/start", torch.arange(8), (3, 32, 32)).flatten(1).square().mean(1).sqrt()
    seen = [scale.share_with_noise(column) for column in _tiles("cifar10_shards-epoch-10.png")]
    assert seen == [float(found > 1.01) for found in length]


def test_noise_that_cannot_be_seen_is_not_counted() -> None:
    smooth = gaussian_blur(_textured(300), 9, 2.0)
    scale = fit_noise_scale(smooth, smooth)
    assert scale.all_channels.limit == scale.grey.limit == VISIBLE
    assert scale.share_with_noise(smooth + 0.03 * _noise(300, 3, 32, 32)) == 0.0
    assert scale.share_with_noise(torch.full((4, 3, 32, 32), torch.nan)) == 1.0, "numbers that are none are worse than noise"


@pytest.mark.parametrize("side", [8, 28, 31])
def test_images_of_any_size_have_noise_and_a_spectrum(side: int) -> None:
    real = _textured(100, side)
    scale = fit_noise_scale(real, real)
    assert scale.share_with_noise(real + 0.5 * _noise(100, 3, side, side)) > 0.9
    assert float(spectrum_slopes(real).median()) < -1.0


def test_the_slope_of_a_spectrum_is_the_power_with_which_it_falls_and_none_for_noise() -> None:
    assert float(spectrum_slopes(_textured(300, 64)).mean()) == pytest.approx(-2.6, abs=0.1)
    assert float(spectrum_slopes(_noise(300, 3, 64, 64)).mean()) == pytest.approx(0.0, abs=0.05)


def test_blurred_images_are_blurred_and_real_ones_are_not_though_some_samples_are_noise() -> None:
    real, others = _textured(150, purpose="real"), float(spectrum_slopes(_textured(150, purpose="others")).median())
    assert abs(blur(real, others)) < 0.1
    blurred = gaussian_blur(real, 5, 0.8)
    assert blur(blurred, others) > 0.4
    blurred[:50] = _noise(50, 3, 32, 32)
    assert blur(blurred, others) > 0.4
    assert blur(_noise(150, 3, 32, 32).clamp(-1, 1), others) < -2.0


def test_the_nearest_training_example_is_found_exactly() -> None:
    of, among = _noise(70, 5).double(), _noise(333, 5, purpose="others").double()
    distances, quotients = nearest(of, among)
    every = (of[:, None] - among[None]).square().sum(2).sqrt().sort(dim=1).values
    torch.testing.assert_close(distances, every[:, 0], rtol=0, atol=1e-9)
    torch.testing.assert_close(quotients, every[:, 0] / every[:, :50].mean(1))


@pytest.mark.parametrize("data", [Digits(), Table(source="wine"), Points(count=16, subset=2000)], ids=lambda data: data.kind)
def test_copies_of_training_examples_are_seen_and_held_out_ones_are_none(data: Digits | Table | Points) -> None:
    splits = load(data)
    defects = Defects(splits, family_of(data))
    real = splits.held_out.batch(slice(0, 200)).x0
    honest = defects.of(real)
    assert honest["samples/memorisation"] <= 0.05
    assert honest["samples/nearest_training"] == pytest.approx(1.0, abs=0.15)
    copies = splits.train.batch(even_steps(len(splits.train), len(real))).x0
    copies = copies + 0.02 * _noise(*copies.shape)
    found = defects.of(copies)
    assert found["samples/memorisation"] > 0.9 and found["samples/nearest_training"] < 0.5
    few = defects.of(torch.cat([copies[: len(real) // 4], real[len(real) // 4 :]]))
    assert few["samples/memorisation"] == pytest.approx(0.25, abs=0.05)


def test_smooth_images_are_near_to_all_others_and_no_copies() -> None:
    real = _photographs().held_out.batch(slice(None)).x0
    found = Defects(_photographs(), "image").of(0.6 * real)
    assert found["samples/nearest_training"] < 0.9 and found["samples/memorisation"] <= 0.02


def test_samples_that_repeat_each_other_are_seen_also_where_there_are_several_of_them() -> None:
    real = load(Digits()).held_out.batch(slice(0, 200)).x0
    honest, one, ten = (_digits().of(x) for x in (real, real[:1].repeat(200, 1, 1, 1), real[:10].repeat(20, 1, 1, 1)))
    assert honest["samples/diversity"] == pytest.approx(1.0, abs=0.1)
    assert honest["samples/nearest_sample"] == pytest.approx(1.0, abs=0.1)
    assert one["samples/diversity"] == pytest.approx(0.0, abs=1e-6)
    assert ten["samples/diversity"] > 0.7, "ten modes lie as far apart as any ten examples"
    assert ten["samples/nearest_sample"] == 0.0


def test_pairwise_distances_are_means_over_pairs() -> None:
    rows = torch.tensor([[0.0], [1.0], [3.0]])
    assert mean_distance(rows) == pytest.approx((1 + 3 + 2) / 3)
    assert median_to_nearest_other(rows) == pytest.approx(1.0)


def test_all_classes_are_covered_by_real_examples_and_not_where_some_are_drawn_as_others() -> None:
    splits = load(Digits())
    real = splits.held_out.batch(slice(0, 200))
    assert real.labels is not None
    assert _digits().of_classes(real.x0, real.labels)["samples/class_coverage"] == 1.0
    told = torch.where(real.labels < 3, real.labels + 5, real.labels)  # a 5, 6 and 7 are drawn as a 0, 1 and 2 ...
    x0 = real.x0[told == real.labels]
    labels = real.labels[told == real.labels]
    labels = torch.where(labels == 9, 2, labels)  # ... and a 2 as a 9, a 1 and a 0 never
    found = _digits().of_classes(x0, labels)
    assert found["samples/class_coverage"] == pytest.approx(6 / 7)
    shuffled = _digits().of_classes(real.x0, real.labels.roll(7))
    assert shuffled["samples/class_coverage"] <= 0.2
    assert shuffled["samples/class_distance"] > 3 * _digits().of_classes(real.x0, real.labels)["samples/class_distance"]


def test_centroids_know_the_distance_of_means_without_what_few_samples_are_off_by_chance() -> None:
    labels = torch.arange(4000) % 2
    rows = 3.0 * _noise(4000, 6).double()
    rows[:, 0] += 10.0 * labels
    found = fit_centroids(rows, labels, 2)
    fresh = 3.0 * _noise(400, 6, purpose="fresh").double()
    fresh[:, 0] += 10.0 * (torch.arange(400) % 2)
    assert float(found.recognised(fresh, torch.arange(400) % 2).min()) > 0.9
    moved = fresh + torch.tensor([0.0, 5.0, 0, 0, 0, 0])
    means = [found.distances(moved[part : part + 20], torch.arange(20) % 2).square().mean() for part in range(0, 400, 20)]
    assert float(torch.stack(means).mean().sqrt()) == pytest.approx(0.5, abs=0.05)
    assert found.nearest(torch.full((2, 6), torch.nan)).tolist() == [-1, -1]


def test_figures_of_classes_need_real_examples_of_each_in_either_half() -> None:
    labels = torch.arange(400) % 4
    centres = 6.0 * torch.eye(4)[labels]
    real, drawn = centres + _noise(400, 4), centres + _noise(400, 4, purpose="drawn")
    found = class_figures(drawn[:80], labels[:80], real.repeat_interleave(2, 0), labels.repeat_interleave(2), 4)
    assert (found["class_coverage"], found["classes"]) == (1.0, 4.0) and found["class_distance"] < 0.1
    exchanged = torch.where(labels < 2, 1 - labels, labels)[:80]
    assert (
        class_figures(drawn[:80], exchanged, real.repeat_interleave(2, 0), labels.repeat_interleave(2), 4)["class_coverage"] == 0.5
    )
    # Every second one is of the classes 0 and 2.
    assert class_figures(drawn[:80], labels[:80], real, labels, 4) == {}


def test_classes_are_looked_at_in_efficientnets_features_where_the_network_is_told_one() -> None:
    whole = load(Digits())
    assert whole.train.labels is not None and whole.held_out.labels is not None

    def two(part: Examples, count: int) -> Examples:
        assert part.labels is not None
        of_each = [(part.labels == kind).nonzero().flatten()[:count] for kind in (0, 1)]
        return replace(part.take(torch.cat(of_each)), class_names=("0", "1"))

    splits = split(two(whole.train, 4), two(whole.held_out, 8))
    asked, drawn = of_fd(FD(images=8, metrics=("fd_effnet",))), splits.train.x
    for told, covered in ((splits.train.labels, 1.0), (1 - splits.train.labels, 0.0)):  # type: ignore[operator]
        found = Comparison(asked, splits, len(drawn), torch.device("cpu")).of(drawn, told)
        assert found is not None
        assert (found.values["samples/class_coverage_effnet"], found.values["samples/classes_effnet"]) == (covered, 2.0)
        assert (found.values["samples/class_distance_effnet"] < 0.5) == (covered == 1.0)


def test_of_classes_that_the_features_do_not_tell_nothing_is_said() -> None:
    real, count = torch.tensor([0.9, 0.35]), torch.tensor([20, 20])
    assert math.isnan(coverage(real, count, real))
    assert coverage(torch.tensor([0.9, 0.0]), torch.tensor([20, 0]), real) == 1.0, "the second was not asked for"
    assert coverage(torch.tensor([0.9, 0.2]), count, torch.tensor([0.9, 0.8])) == 0.5


def test_many_elements_become_the_leading_directions_of_the_training_examples() -> None:
    photographs = _photographs()
    embedding = fit_embedding(photographs.train, "image")
    x0 = photographs.held_out.batch(slice(0, 50)).x0
    assert embedding(x0).shape == (50, 64)
    kept, all_of_it = embedding(x0).square().sum(), (x0.double().flatten(1) - embedding.mean).square().sum()
    assert 0.6 * all_of_it < kept < all_of_it
    again = fit_embedding(photographs.train, "image")
    assert torch.equal(again(x0), embedding(x0))
    large = Examples(torch.randint(0, 256, (20, 1, 128, 128), dtype=torch.uint8), None, ())
    assert fit_embedding(large, "image").mean.shape == (32 * 32,)


@pytest.mark.parametrize("count", [1, 3])
def test_very_few_examples_and_samples_are_measured_or_left_out(count: int) -> None:
    few = load(Digits()).train.take(torch.arange(count))
    found = Defects(split(few, few), "image").of(_noise(2, 1, 8, 8).clamp(-1, 1))
    assert ("samples/diversity" in found) == (count > 1)
    assert "samples/nearest_training" not in found, "held-out examples are among those of training"
    assert all(math.isfinite(value) for value in found.values())


def test_of_very_many_samples_the_first_are_looked_at() -> None:
    noise = _noise(2100, 1, 8, 8).clamp(-1, 1)
    many, first = _digits().of(noise), _digits().of(noise[:2000])
    assert many == first and many["samples/measured"] == 2000


def test_data_with_classes_but_no_told_ones_have_no_coverage() -> None:
    splits = load(Table(source="wine"), ClassLabels())
    assert splits.train.labels is not None and splits.held_out.labels is not None
    noise = Examples(torch.randn(300, 13), torch.arange(300) % 3, ("a", "b", "c"))
    unclear = Splits(noise, noise.take(torch.arange(100)), "")
    assert "samples/class_coverage" not in Defects(unclear, "vector").of_classes(noise.x[:30], noise.labels[:30])  # type: ignore[index]
