"""Validation errors against the closed form of an ideal denoiser: comparable across schedules, predictions and slicings."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from support.ideal_denoiser import IdealDenoiser, least_error
from support.tiny_training import digit_conditions, lively_network, tiny_artist

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Batch
from ddpm_exp.evaluation.drawing import Stopped
from ddpm_exp.evaluation.validation import Errors, validate
from ddpm_exp.spec.condition import Prompts
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import Evaluation

MEAN, DEVIATION = 0.2, 0.5
SPEC = Evaluation()
HELD_OUT = Batch(
    MEAN + DEVIATION * torch.randn(1024, 1, 16, 16, generator=torch.Generator().manual_seed(0)),
    torch.zeros(1024, dtype=torch.long),
    None,
)
PROCESSES = [Diffusion(schedule=schedule, timesteps=count) for schedule in ("linear", "cosine") for count in (200, 1000)]


def validated(diffusion: Diffusion, spec: Evaluation = SPEC, held_out: Batch = HELD_OUT, **artist: Any) -> Errors:
    artist = {"conditions": Conditions(()), "batch": 256} | artist
    return validate(IdealDenoiser(diffusion, MEAN, DEVIATION), held_out, tiny_artist(diffusion=diffusion, **artist), spec)


@pytest.mark.parametrize("diffusion", PROCESSES)
def test_denoising_is_the_closed_form_error_of_the_ideal_denoiser(diffusion: Diffusion) -> None:
    expected = sum(least_error(level, DEVIATION) for level in SPEC.log_snr) / len(SPEC.log_snr)
    assert validated(diffusion).values["val/denoising"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("level", [-1.5, 0.0, 4.5])
def test_denoising_holds_at_each_level_alone(level: float) -> None:
    found = validated(Diffusion(), Evaluation(log_snr=(level,))).values["val/denoising"]
    assert found == pytest.approx(least_error(level, DEVIATION), rel=0.01)


def test_denoising_compares_across_schedules_and_timesteps_and_the_loss_does_not() -> None:
    found = [validated(diffusion).values for diffusion in PROCESSES]
    for one, other in itertools.combinations(found, 2):
        assert one["val/denoising"] == pytest.approx(other["val/denoising"], abs=1e-5)
        assert one["val/reconstruction"] == pytest.approx(other["val/reconstruction"], abs=1e-5)
    linear, cosine = found[1], found[3]
    assert abs(linear["val/loss"] - cosine["val/loss"]) > 0.05


def test_denoising_compares_across_predictions_and_the_loss_does_not() -> None:
    kinds: list[Any] = ["eps", "x0", "v"]
    found = [validated(Diffusion(prediction=kind)).values for kind in kinds]
    for values in found[1:]:
        assert values["val/denoising"] == pytest.approx(found[0]["val/denoising"], abs=1e-5)
        assert abs(values["val/loss"] - found[0]["val/loss"]) > 0.01


def test_errors_do_not_depend_on_how_held_out_images_are_batched() -> None:
    few = Batch(HELD_OUT.x0[:100], HELD_OUT.labels[:100], None)
    whole = validated(Diffusion(), held_out=few, batch=100)
    for batch in (3, 11, 64):
        found = validated(Diffusion(), held_out=few, batch=batch)
        assert found.values == pytest.approx(whole.values, rel=1e-5)
        torch.testing.assert_close(found.reconstructions, whole.reconstructions)


def test_stratified_times_do_not_depend_on_how_held_out_images_are_batched() -> None:
    few = Batch(torch.zeros(20, 1, 8, 8), torch.arange(20) % 10, None)
    network, diffusion = lively_network(), Diffusion(time_density="stratified")
    whole, parts = (validate(network, few, tiny_artist(diffusion=diffusion, batch=batch), SPEC).values for batch in (20, 11))
    assert parts["val/loss"] == pytest.approx(whole["val/loss"], rel=1e-5)


def test_the_wording_that_an_image_is_shown_with_does_not_depend_on_batches() -> None:
    conditions = digit_conditions(Prompts())
    network = lively_network(conditions=conditions)
    few = Batch(torch.zeros(20, 1, 8, 8), torch.arange(20) % 10, None)
    whole, parts = (validate(network, few, tiny_artist(conditions=conditions, batch=batch), SPEC).values for batch in (20, 11))
    assert parts == pytest.approx(whole, rel=1e-5)


def test_fewer_held_out_images_than_are_shown_are_all_shown() -> None:
    few = Batch(HELD_OUT.x0[:3], HELD_OUT.labels[:3], None)
    assert validated(Diffusion(), held_out=few).reconstructions.shape == (9, 3, 1, 16, 16)


def test_every_evaluation_meets_the_same_noise_whatever_was_drawn_before() -> None:
    first = validated(Diffusion())
    torch.manual_seed(5)
    assert validated(Diffusion()).values == first.values


def test_validation_is_conditional_and_names_its_three_values() -> None:
    held_out = Batch(torch.zeros(20, 1, 8, 8), torch.arange(20) % 10, None)
    shifted = Batch(held_out.x0, (held_out.labels + 1) % 10, None)
    network, artist = lively_network(), tiny_artist()
    found, others = (validate(network, images, artist, SPEC).values for images in (held_out, shifted))
    assert list(found) == ["val/loss", "val/denoising", "val/reconstruction"]
    assert all(found[name] != others[name] for name in found)


def test_reconstructions_show_the_image_then_each_level_with_its_estimate() -> None:
    spec = Evaluation(reconstruction_log_snr=(6.0, -1.5))
    found = validated(Diffusion(), spec).reconstructions
    assert found.shape == (5, 8, 1, 16, 16)
    assert float(found.abs().max()) <= 1.0
    clean, little, from_little, much, from_much = found
    assert torch.equal(clean, HELD_OUT.x0[:8].clamp(-1, 1))
    errors = [float((part - clean).square().mean()) for part in (from_little, little, from_much, much)]
    assert errors[0] < 0.01
    assert errors == sorted(errors)


def test_validation_stops_between_batches_when_asked() -> None:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Stopped):
        validated(Diffusion(), should_stop=should_stop)
    assert len(asked) == 3
