"""The average of the weights: its decay, its ramp, and that it follows the weights and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from support.tiny_training import TRAINING, copied, identical, tiny_trainer
from torch import nn

from ddpm_exp.training.ema import Ema, decay, power_decay, power_exponent


def test_the_half_life_is_the_images_after_which_half_of_the_past_is_forgotten() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    ema = Ema(network)
    nn.init.zeros_(network.weight)
    for step in range(1, 201):
        ema.update(decay(images_per_step=5, images_seen=5 * step, half_life_images=500, ramp=None))
        if step == 100:
            assert float(ema.network.weight) == pytest.approx(0.5, rel=1e-5)
    assert float(ema.network.weight) == pytest.approx(0.25, rel=1e-5)


def test_the_default_half_life_is_the_literatures_decay_of_0_9999_at_128_images_per_step() -> None:
    assert decay(images_per_step=128, images_seen=10**9, half_life_images=887_000, ramp=None) == pytest.approx(0.9999, abs=1e-7)


def test_decay_over_a_number_of_images_does_not_depend_on_the_step() -> None:
    small = decay(images_per_step=8, images_seen=64, half_life_images=100, ramp=None) ** 8
    assert small == pytest.approx(decay(images_per_step=64, images_seen=64, half_life_images=100, ramp=None))


def test_the_ramp_shortens_the_half_life_to_a_share_of_the_images_seen() -> None:
    assert decay(images_per_step=10, images_seen=100, half_life_images=10**6, ramp=0.05) == pytest.approx(0.5 ** (10 / 5))
    assert decay(images_per_step=10, images_seen=10**9, half_life_images=500, ramp=0.05) == pytest.approx(0.5 ** (10 / 500))
    assert decay(images_per_step=10, images_seen=0, half_life_images=500, ramp=0.05) == 0.0


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.25])
def test_a_power_function_average_of_a_ramp_lags_by_the_closed_form(sigma_rel: float) -> None:
    """The average of theta_k = k tends to (gamma + 1) / (gamma + 2) of k, and gamma has the width that was asked for."""
    gamma = power_exponent(sigma_rel)
    assert math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) == pytest.approx(sigma_rel, rel=1e-9)
    average, steps = 0.0, 20_000
    for k in range(1, steps + 1):
        keep = power_decay(images_per_step=4, images_seen=4 * k, gamma=gamma)
        average = keep * average + (1 - keep) * k
    assert average / steps == pytest.approx((gamma + 1) / (gamma + 2), rel=1e-3)


def test_a_power_function_average_forgets_the_initial_weights_and_does_not_depend_on_the_step() -> None:
    assert power_decay(images_per_step=8, images_seen=8, gamma=5.0) == 0.0
    small = math.prod(power_decay(images_per_step=8, images_seen=seen, gamma=5.0) for seen in range(72, 136, 8))
    assert small == pytest.approx(power_decay(images_per_step=64, images_seen=128, gamma=5.0))


def test_a_training_with_a_power_function_average_keeps_one() -> None:
    trainer = tiny_trainer(TRAINING.but(ema_half_life=None, ema_sigma_rel=0.1))
    assert trainer.ema is not None
    trainer.step()
    assert identical(dict(trainer.ema.network.state_dict()), dict(trainer.network.state_dict()))
    trainer.step()
    assert not identical(dict(trainer.ema.network.state_dict()), dict(trainer.network.state_dict()))


def test_the_average_of_a_constant_is_that_constant_bit_for_bit() -> None:
    network = nn.Conv2d(3, 5, 3)
    ema = Ema(network)
    for keep in (0.0, 0.3, 0.9, 0.9999):
        ema.update(keep)
        assert identical(dict(ema.network.state_dict()), dict(network.state_dict()))


def test_buffers_are_copied_not_averaged() -> None:
    network = nn.BatchNorm1d(4)
    ema = Ema(network)
    network(torch.randn(16, 4))
    ema.update(0.9)
    assert torch.equal(ema.network.running_mean, network.running_mean)
    assert torch.equal(ema.network.num_batches_tracked, network.num_batches_tracked)


@pytest.mark.parametrize("ramp", [None, 0.2])
def test_a_trainer_averages_the_weights_after_each_of_its_steps(ramp: float | None) -> None:
    trainer = tiny_trainer(TRAINING.but(ema_ramp=ramp))
    expected = {name: weight.double() for name, weight in copied(dict(trainer.network.named_parameters())).items()}
    for step in range(1, 6):
        trainer.step()
        half_life = 64 if ramp is None else min(64.0, ramp * 8 * step)
        keep = 0.5 ** (8 / half_life)
        for name, weight in trainer.network.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * weight.detach().double()
    assert trainer.ema is not None
    for name, average in trainer.ema.network.named_parameters():
        torch.testing.assert_close(average.double(), expected[name], rtol=1e-5, atol=1e-7)
        assert not average.requires_grad


def test_averaging_does_not_touch_the_training() -> None:
    with_average, without = tiny_trainer(), tiny_trainer(TRAINING.but(ema_half_life=None))
    for _ in range(3):
        with_average.step()
        without.step()
    assert without.ema is None
    assert identical(dict(with_average.network.state_dict()), dict(without.network.state_dict()))


def test_the_average_never_trains_nor_drops_out() -> None:
    trainer = tiny_trainer(dropout=0.5)
    trainer.step()
    assert trainer.ema is not None
    assert trainer.network.training
    assert not any(module.training for module in trainer.ema.network.modules())
