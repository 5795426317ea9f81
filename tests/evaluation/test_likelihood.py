"""Bits per dimension as an evaluation reports them: those of the bound itself, on Gaussian data its closed form."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.gaussian_bits import closed_form
from support.known_data import GaussianData
from support.prepared import prepared_on_cpu
from support.tiny_training import CPU, TINY, digit_conditions, digits, lively_network, tiny_artist
from torch import nn

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Batch
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.likelihood import bits_per_dimension
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.evaluation.drawing import Stopped
from ddpm_exp.evaluation.evaluator import Evaluator
from ddpm_exp.evaluation.likelihood import likelihood
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.metrics import METRIC_NAMES
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training
from ddpm_exp.workflow.assemble import assemble

NAME = "val/bits_per_dimension"
SPEC = Evaluation(held_out=16, samples=0, grid_columns=1, likelihood=24, likelihood_terms=3)


class Ideal(nn.Module):
    """The best network for Gaussian data."""

    def __init__(self, data: GaussianData, spec: Diffusion) -> None:
        super().__init__()
        self.ask = data.network(build_path(spec), spec.prediction)

    def forward(self, *given: Any) -> torch.Tensor:
        return self.ask(*given)


def direct(network: nn.Module, count: int, terms: int) -> float:
    """The mean bound of the first held-out digits, in one batch."""
    batch, numbers, spec = digits().held_out.batch(slice(0, count)), torch.arange(count), Diffusion()
    condition = digit_conditions().fixed(batch, CPU, held_out=False, turns=numbers)
    bits = bits_per_dimension(
        spec,
        build_path(spec),
        network.eval(),
        batch.x0,
        condition,
        0,
        numbers,
        terms=terms,
        clip_x0=True,
        prefix="validation/",
    )
    return float(bits.total.mean())


@pytest.mark.parametrize("batch", [5, 64])
def test_an_evaluation_reports_the_bound_of_the_first_held_out_examples_however_they_are_batched(batch: int) -> None:
    network = lively_network()
    evaluator = Evaluator(SPEC, digits(), tiny_artist(batch=batch), ClassLabels())
    assert evaluator.evaluate(network, "").values[NAME] == pytest.approx(direct(network, 24, 3), rel=1e-5)
    assert NAME in METRIC_NAMES


def test_without_likelihood_nothing_of_it_is_evaluated() -> None:
    found = Evaluator(SPEC.but(likelihood=0), digits(), tiny_artist(), ClassLabels()).evaluate(lively_network(), "")
    assert NAME not in found.values


def test_every_evaluation_meets_the_same_noise_and_sampling_has_no_part_in_it() -> None:
    network, held_out = lively_network(), digits().held_out.batch(slice(0, 6))
    first = likelihood(network, held_out, tiny_artist(), 3)
    torch.manual_seed(5)
    other = tiny_artist(sampling=Sampling(steps=3, clip_x0=False, guidance_scale=3.0))
    assert likelihood(network, held_out, other, 3) == first


@pytest.mark.parametrize("terms", [None, 1000, 20])
def test_on_gaussian_data_it_is_the_closed_form(terms: int | None) -> None:
    data, spec, count = GaussianData(), Diffusion(timesteps=40, beta_start=25e-4, beta_end=0.5), 4000
    x0 = data.mean + data.deviation * draws.normal(0, "data", torch.arange(count), (8,))
    artist = tiny_artist(diffusion=spec, conditions=Conditions(()), shape=(8,), family="vector", batch=1024)
    found = likelihood(Ideal(data, spec), Batch(x0, None, None), artist, terms)
    assert found[NAME] == pytest.approx(sum(closed_form(data, spec)), rel=0.02)


def test_it_is_conditional() -> None:
    held_out = digits().held_out.batch(slice(0, 6))
    assert held_out.labels is not None
    shifted = Batch(held_out.x0, (held_out.labels + 1) % 10, None)
    network = lively_network()
    assert likelihood(network, held_out, tiny_artist(), 3) != likelihood(network, shifted, tiny_artist(), 3)


def test_it_stops_between_two_evaluations_of_the_network() -> None:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Stopped):
        likelihood(lively_network(), digits().held_out.batch(slice(0, 6)), tiny_artist(should_stop=should_stop), 50)
    assert len(asked) == 3


@pytest.mark.parametrize("learned", [False, True])
def test_an_experiment_reports_it_with_and_without_a_learned_variance(learned: bool) -> None:
    experiment = Experiment(
        data=Digits(subset=64),
        condition=ClassLabels(),
        diffusion=Diffusion(schedule="cosine", learned_variance=learned),
        model=TINY,
        training=Training(images_per_step=4, duration="2 steps"),
        evaluation=SPEC.but(likelihood=4),
    )
    runtime = assemble(prepared_on_cpu(experiment), 0)
    found = [runtime.evaluator.evaluate(runtime.averaged(), "").values[NAME]]
    for _ in range(2):
        runtime.trainer.step()
    found.append(runtime.evaluator.evaluate(runtime.averaged(), "").values[NAME])
    assert all(math.isfinite(value) and value > 0 for value in found)
    assert found[0] != found[1]
