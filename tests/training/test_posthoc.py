"""An average of another length, made after training from snapshots of two lengths, is the one that training would have kept."""

from __future__ import annotations

import math

import pytest
import torch
from support.tiny_training import TRAINING, copied, identical, tiny_trainer

from ddpm_exp.training.ema import power_decay
from ddpm_exp.training.posthoc import TRACKED, Profile, combine, mixed, overlap, profile
from ddpm_exp.training.state import restore, to_checkpoint


def snapshots(count: int) -> list[Profile]:
    return [profile((place + 1) / count, width) for place in range(count) for width in TRACKED]


def test_overlaps_are_the_integrals_of_the_products() -> None:
    def density(one: Profile, t: torch.Tensor) -> torch.Tensor:
        inside = (one.gamma + 1) / one.images * (t / one.images) ** one.gamma
        return torch.where(t <= one.images, inside, 0.0)

    t = (torch.arange(2_000_000, dtype=torch.float64) + 0.5) * (8.0 / 2_000_000)
    for one, other in ((Profile(8.0, 7.0), Profile(5.0, 17.0)), (Profile(3.0, 7.0), Profile(8.0, 2.5)), (Profile(4.0, 1.0),) * 2):
        expected = float((density(one, t) * density(other, t)).sum()) * (8.0 / 2_000_000)
        assert overlap(one, other) == pytest.approx(expected, rel=1e-5)
        assert overlap(one, other) == overlap(other, one)


@pytest.mark.parametrize("width", [0.03, 0.07, 0.12, 0.2])
def test_the_averages_of_a_constant_and_of_a_line_come_out_exactly(width: float) -> None:
    """Of weights that stand still, and of weights that move on a line, whose average is (gamma + 1) / (gamma + 2) of the way."""
    kept, wanted = snapshots(128), profile(1.0, width)
    weights = combine(kept, wanted).weights
    assert math.fsum(weights) == pytest.approx(1.0, abs=1e-12)
    line = math.fsum(weight * one.images * (one.gamma + 1) / (one.gamma + 2) for weight, one in zip(weights, kept, strict=True))
    assert line == pytest.approx((wanted.gamma + 1) / (wanted.gamma + 2), rel=1e-5 if width == 0.2 else 1e-6)


def test_a_snapshot_that_is_asked_for_is_itself() -> None:
    kept = snapshots(8)
    for place, one in ((15, kept[15]), (14, kept[14]), (7, kept[7])):
        found = combine(kept, one)
        assert found.misfit < 1e-6
        assert found.weights[place] == pytest.approx(1.0, abs=1e-6)


def test_more_snapshots_fit_better_and_far_widths_fit_worse() -> None:
    fits = [combine(snapshots(count), profile(1.0, 0.12)).misfit for count in (4, 8, 16, 32, 64)]
    assert fits == sorted(fits, reverse=True) and fits[-1] < 3e-4
    assert combine(snapshots(8), profile(1.0, 0.25)).misfit > 0.1


@pytest.mark.parametrize("width", [0.07, 0.15])
def test_the_average_of_a_real_training_is_the_one_that_was_tracked_directly(width: float) -> None:
    trainer = tiny_trainer(TRAINING.but(ema_half_life=None, ema_sigma_rel=width, ema_snapshots="2 steps"))
    kept, states = [], []
    for step in range(1, 49):
        trainer.step()
        if step % 2 == 0:
            for name, average in trainer.tracked.items():
                kept.append(profile(trainer.images_seen, float(name)))
                states.append(copied(dict(average.network.state_dict())))
    found = combine(kept, profile(trainer.images_seen, width))
    made = mixed(iter(states), found.weights)
    assert trainer.ema is not None
    direct, last = trainer.ema.network.state_dict(), trainer.network.state_dict()

    def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
        return math.sqrt(sum(float((one[name] - other[name]).double().square().sum()) for name in direct))

    assert distance(made, direct) < 5 * found.misfit * distance(last, direct) < 0.03 * distance(last, direct)


def test_tracking_averages_does_not_touch_the_training_and_goes_on_from_a_checkpoint() -> None:
    plain, tracking, resumed = (tiny_trainer(TRAINING.but(ema_snapshots=every)) for every in (None, "1 steps", "1 steps"))
    for _ in range(2):
        plain.step()
        tracking.step()
    assert identical(dict(plain.network.state_dict()), dict(tracking.network.state_dict()))
    state = to_checkpoint(tracking, {})
    state.tensors = copied(state.tensors)
    restore(resumed, state)
    for trainer in (tracking, resumed):
        trainer.step()
    assert identical(to_checkpoint(resumed, {}).tensors, to_checkpoint(tracking, {}).tensors)
    average = tracking.tracked["0.05"].network
    keep = power_decay(images_per_step=8, images_seen=24, gamma=profile(1, 0.05).gamma)
    expected = torch.lerp(state.tensors["tracked"]["0.05"]["first.weight"], tracking.network.first.weight.detach(), 1 - keep)
    torch.testing.assert_close(average.first.weight, expected)
