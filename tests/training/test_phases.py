"""A training in phases: easier tasks first, the same noise levels throughout, the same to the bit wherever it is interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from support.prepared import prepared_on_cpu
from support.tiny_training import Inputs, copied, identical

from ddpm_exp.checkpoints.store import latest, save
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.times import draw_times
from ddpm_exp.spec.condition import ImageCondition
from ddpm_exp.spec.data import Digits, ImageFolder
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import flat
from ddpm_exp.spec.model import DiT, EncoderDecoder, UNet
from ddpm_exp.spec.phases import Phase, in_words
from ddpm_exp.spec.restored import experiment_of
from ddpm_exp.spec.training import Training
from ddpm_exp.training.phases import WHOLE, Stage, stage_at, stages_of
from ddpm_exp.training.state import restore, to_checkpoint
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.prepare import lengths

MODEL = UNet(base_channels=8, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=4, time_embedding=16)
PHASES = (Phase(duration="2 steps", timesteps=5), Phase(duration="2 steps", timesteps=8, image_size=8))


def experiment(**changes: Any) -> Experiment:
    training = Training(
        images_per_step=8, duration="6 steps", learning_rate=1e-3, ema_half_life="32 images", phases=changes.pop("phases", PHASES)
    )
    whole = Experiment(
        data=Digits(image_size=16, subset=64),
        diffusion=Diffusion(timesteps=20),
        model=MODEL,
        training=training,
        sampling={"steps": 4},
        evaluation=Evaluation(log_snr=(3.0,), reconstruction_log_snr=(3.0,)),
    )
    return whole.but(**changes)


def fresh(**changes: Any) -> Trainer:
    return assemble(prepared_on_cpu(experiment(**changes)), 0).trainer


@pytest.mark.parametrize("density", ["uniform", "stratified"])
def test_fewer_times_are_equally_far_apart_on_the_same_path_and_the_last_is_among_them(density: Any) -> None:
    spec = Diffusion(timesteps=1000, time_density=density)
    t = draw_times(spec, build_path(spec), 100, 0, "time", torch.arange(20_000), 100)
    assert sorted(set(t.tolist())) == list(range(10, 1001, 10))
    counts = torch.bincount(t)[10::10]
    assert (counts - 200).abs().max() < 80
    uneven = draw_times(spec, build_path(spec), 100, 0, "time", torch.arange(5000), 7)
    assert sorted(set(uneven.tolist())) == [143, 286, 429, 572, 715, 858, 1000]


def test_a_step_of_a_phase_is_told_the_noise_levels_of_the_final_diffusion_and_sees_its_size() -> None:
    trainer = fresh()
    seen = []
    for _ in range(6):
        inputs = Inputs(trainer.network)
        trainer.step()
        seen.append(inputs.seen)
        for hook in list(trainer.network._forward_pre_hooks):
            del trainer.network._forward_pre_hooks[hook]
    told = [torch.cat([given[1] for given in step]) + 1 for step in seen]
    sizes = [{tuple(given[0].shape[2:]) for given in step} for step in seen]
    assert sizes == [{(16, 16)}] * 2 + [{(8, 8)}] * 2 + [{(16, 16)}] * 2
    assert set(torch.cat(told[:2]).tolist()) <= {4, 8, 12, 16, 20}
    assert set(torch.cat(told[2:4]).tolist()) <= {3, 5, 8, 10, 13, 15, 18, 20}
    assert len(set(torch.cat(told[4:]).tolist()) - {4, 8, 12, 16, 20}) > 3


def test_pixels_of_a_smaller_image_are_means_of_squares() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(Stage(image_size=2).shrink(x), torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))
    assert WHOLE.shrink(x) is x


def test_the_stage_is_a_function_of_the_images_seen() -> None:
    stages = stages_of(experiment().training, 64)
    assert [stage_at(stages, images) for images in (0, 15, 16, 31, 32, 47)] == [
        Stage(5),
        Stage(5),
        Stage(8, 8),
        Stage(8, 8),
        WHOLE,
        WHOLE,
    ]


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_training_in_phases_resumes_bit_for_bit_inside_and_between_them(tmp_path: Path, steps: int) -> None:
    straight, first, second = fresh(), fresh(), fresh()
    for _ in range(6):
        straight.step()
    for _ in range(steps):
        first.step()
    save(tmp_path, to_checkpoint(first, {}))
    found = latest(tmp_path)
    assert found is not None
    restore(second, found[1])
    for _ in range(6 - steps):
        second.step()
    assert identical(to_checkpoint(second, {}).tensors, to_checkpoint(straight, {}).tensors)


def test_after_its_phases_a_step_is_the_step_of_the_plain_task() -> None:
    """From equal weights: nothing of a phase stays behind but what it taught."""
    phased, plain = fresh(), fresh(phases=())
    for _ in range(4):
        phased.step()
    state = to_checkpoint(phased, {})
    restore(plain, replace(state, tensors=copied(state.tensors)))
    phased.step()
    plain.step()
    assert identical(to_checkpoint(phased, {}).tensors, to_checkpoint(plain, {}).tensors)


@pytest.mark.parametrize(
    ("phases", "changes", "rule"),
    [
        ((Phase(duration="6 steps", timesteps=5),), {}, "the first parts of a training"),
        ((Phase(duration="1 steps", timesteps=20),), {}, "fewer times than the 20"),
        ((Phase(duration="1 steps", timesteps=5),), {"diffusion": Diffusion(schedule="vp-linear")}, "for whole times"),
        (
            (Phase(duration="1 steps", timesteps=5),),
            {"diffusion": Diffusion(timesteps=20, time_density="importance")},
            "draw them equally often",
        ),
        ((Phase(duration="1 steps", image_size=6),), {}, "whole squares of pixels"),
        ((Phase(duration="1 steps", image_size=16),), {}, "whole squares of pixels"),
        ((Phase(duration="1 steps", image_size=4),), {"model": MODEL.but(multipliers=(1, 2, 2))}, "halves images 2 times"),
        ((Phase(duration="1 steps", image_size=8),), {"model": DiT(width=16, depth=1, heads=2)}, "networks of convolutions"),
        ((Phase(duration="1 steps", image_size=8),), {"condition": ImageCondition()}, "a condition that is an image"),
    ],
)
def test_a_phase_that_cannot_be_trained_is_refused_with_a_way_out(phases: Any, changes: Any, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule) as error:
        experiment(phases=phases, **changes)
    (found,) = error.value.errors()
    assert found["ctx"]["field"] == "training.phases" and found["ctx"]["fix"]


def test_a_phase_differs_from_the_rest() -> None:
    with pytest.raises(ValidationError, match="differs from the rest"):
        Phase(duration="1 steps")


def test_the_encoder_decoder_takes_smaller_images_too() -> None:
    phases = (Phase(duration="1 steps", image_size=8),)
    trainer = fresh(phases=phases, model=EncoderDecoder(hidden_dim=16, time_emb_dim=8))
    trainer.step()
    trainer.step()
    assert trainer.statistics.read()[0]["train/bad_steps"] == 0


def test_memory_time_and_rates_are_measured_on_the_whole_task() -> None:
    trainer = assemble(prepared_on_cpu(experiment()).whole_task, 0).trainer
    inputs = Inputs(trainer.network)
    trainer.step()
    assert {tuple(given[0].shape[2:]) for given in inputs.seen} == {(16, 16)}


def test_phases_that_fill_a_training_of_unknown_epochs_are_refused_when_the_data_are_read() -> None:
    folder = experiment(
        data=ImageFolder(root="/images", image_size=16),
        training=Training(images_per_step=8, duration="2 epochs", phases=(Phase(duration="2 epochs", timesteps=5),)),
    )
    with pytest.raises(UserError, match="the first parts of a training") as error:
        lengths(folder, 64)
    assert error.value.field == "training.phases" and error.value.fix


def test_phases_are_said_before_they_are_trained() -> None:
    said = in_words(experiment().training)
    assert said == (
        "2 steps with 5 timesteps, then 2 steps with 8 timesteps and images of 8 pixels, then the whole task to 6 steps"
    )
    assert in_words(Training()) == ""


def test_phases_come_back_from_a_manifest() -> None:
    whole = experiment()
    assert experiment_of(flat(whole)) == whole
