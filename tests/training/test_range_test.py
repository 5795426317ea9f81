"""The range test: at which rates it steps, when it ends, what it suggests, and that it touches nobody else's state."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_training import TRAINING, copied, identical, tiny_trainer

from ddpm_exp.spec.errors import UserError
from ddpm_exp.training.range_reading import Reading, read, smooth
from ddpm_exp.training.range_test import RangeTest, geometric, memory, range_test
from ddpm_exp.training.trainer import Trainer


class Quadratic:
    """Descent on (curvature / 2) x^2 by noisy gradients in the place of a trainer: it diverges beyond the rate 2 / curvature."""

    def __init__(self, curvature: float, noise: float = 0.0) -> None:
        self.loss_scale = self.statistics = self
        self.adapts, self.skips = False, 0
        self.used: list[float] = []
        self._curvature, self._noise, self._x = curvature, noise, 1.0
        self._random = torch.Generator().manual_seed(0)
        self._loss = math.nan

    def step(self, rate: float) -> None:
        """One step."""
        self.used.append(rate)
        self._loss = self._curvature * (0.5 * self._x**2 + 0.05)
        self._x -= rate * self._curvature * (self._x + self._noise * float(torch.randn((), generator=self._random)))

    def read(self) -> tuple[dict[str, float], int]:
        """As `Statistics.read`: nothing of steps that were skipped."""
        if self.skips:
            self.skips -= 1
            return {"train/bad_steps": 1.0}, 1
        return {"train/loss": self._loss}, 0


def on(quadratic: Quadratic, rates: tuple[float, ...], **more: Any) -> RangeTest:
    return range_test(cast(Trainer, quadratic), rates, **more)


@pytest.mark.parametrize("curvature", [40.0, 1000.0])
def test_on_a_quadratic_the_test_diverges_where_descent_does_and_suggests_below(curvature: float) -> None:
    edge = 2 / curvature
    test = on(Quadratic(curvature, noise=0.1), geometric(1e-5 * edge, 10 * edge, 200))
    reading = read(test)
    assert test.end == "diverged"
    assert edge < test.rates[-1] < 3 * edge and len(test.losses) == len(test.rates) < 200
    assert reading.steepest is not None and reading.lowest is not None and reading.recommended is not None
    assert reading.steepest < reading.lowest < 1.2 * edge
    # Descent to 1/e takes the sum of the rates to 1 / curvature: there and around is the fall.
    growth = 1e6 ** (1 / 199)
    assert 1 / 3 < reading.steepest / ((growth - 1) / curvature) < 3
    assert 0.01 * edge < reading.recommended < 0.12 * edge
    assert reading.recommended == pytest.approx(reading.lowest / 10, rel=0.05) and not reading.still_falling


def test_a_network_is_suggested_a_rate_that_trains_it() -> None:
    test = range_test(tiny_trainer(), geometric(1e-5, 1.0, 100))
    suggested = read(test).recommended
    assert suggested is not None and 1e-3 < suggested < 0.1

    def loss_after_training(rate: float) -> float:
        trainer = tiny_trainer()
        for _ in range(20):
            trainer.step(rate)
        trainer.statistics.read()
        for _ in range(10):
            trainer.step(rate)
        return float(trainer.statistics.read()[0].get("train/loss", math.inf))

    at_suggested = loss_after_training(suggested)
    assert at_suggested < 0.8 * loss_after_training(suggested / 100)
    assert at_suggested < loss_after_training(min(1.0, suggested * 100))


def test_each_step_has_its_rate_and_the_losses_are_of_these_steps() -> None:
    rates, trainer, same, used = geometric(1e-5, 1e-2, 12), tiny_trainer(), tiny_trainer(), []
    test = range_test(trainer, rates, on_step=lambda rate, loss: used.append(trainer.optimizer.param_groups[0]["lr"]))
    assert used == list(rates) == list(test.rates) and test.end == "complete"
    for rate, loss in zip(rates, test.losses, strict=True):
        same.step(rate)
        assert same.statistics.read()[0]["train/loss"] == loss


def test_a_step_without_a_rate_has_that_of_the_schedule() -> None:
    told, left = tiny_trainer(), tiny_trainer()
    for _ in range(3):
        told.step(told.rate())
        left.step()
    assert identical(told.network.state_dict(), left.network.state_dict())
    told.step(1e-4)
    told.step()
    assert told.optimizer.param_groups[0]["lr"] == TRAINING.learning_rate


def test_a_test_leaves_another_training_as_it_is() -> None:
    alone, beside = tiny_trainer(dropout=0.2), tiny_trainer(dropout=0.2)
    for trainer in (alone, beside):
        trainer.step()
    before = copied(beside.network.state_dict())
    range_test(tiny_trainer(dropout=0.2), geometric(1e-4, 1e-1, 10))
    assert identical(before, beside.network.state_dict())
    for trainer in (alone, beside):
        trainer.step()
    assert identical(alone.network.state_dict(), beside.network.state_dict())
    assert identical(alone.optimizer.state_dict(), beside.optimizer.state_dict())


def test_what_is_not_finite_ends_the_test_and_is_no_point() -> None:
    trainer = tiny_trainer()

    def spoil(rate: float, loss: float) -> None:
        if rate > 1.1e-4:
            next(trainer.network.parameters()).data.fill_(math.inf)

    test = range_test(trainer, geometric(1e-6, 1e-2, 41), on_step=spoil)
    assert test.end == "not finite" and len(test.losses) == 22
    assert all(map(math.isfinite, (*test.losses, *read(test).smoothed)))


def test_steps_that_fp16_skips_to_find_its_scale_are_taken_again_at_the_same_rate() -> None:
    quadratic, rates = Quadratic(1.0), geometric(1e-4, 1e-2, 10)
    quadratic.adapts, quadratic.skips = True, 3
    assert on(quadratic, rates).end == "complete"
    assert quadratic.used == [rates[0]] * 3 + list(rates)
    hopeless = Quadratic(1.0)
    hopeless.adapts, hopeless.skips = True, 10**6
    assert on(hopeless, rates) == RangeTest((), (), 10, "not finite")
    assert read(RangeTest((), (), 10, "not finite")) == Reading(())


def test_being_asked_to_stop_leaves_what_there_is() -> None:
    quadratic = Quadratic(10.0)
    test = on(quadratic, geometric(1e-4, 1e-1, 100), should_stop=lambda: len(quadratic.used) == 60)
    assert (len(test.rates), len(test.losses), test.planned, test.end) == (60, 60, 100, "stopped")
    few = on(Quadratic(10.0), geometric(1e-2, 1e-1, 100), should_stop=lambda: True)
    assert len(few.losses) == 1 and read(few).recommended is None


def test_a_loss_that_only_varies_suggests_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    for steps in (10, 50, 200):
        for _ in range(30):
            losses = tuple((1 + 0.2 * torch.randn(steps, generator=random)).tolist())
            assert read(RangeTest(geometric(1e-7, 1e-2, steps), losses, steps, "complete")).recommended is None


def test_a_loss_that_still_falls_at_the_end_says_so() -> None:
    test = on(Quadratic(1.0), geometric(1e-6, 1e-2, 200))
    assert read(test).still_falling


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40), st.floats(0.5, 0.98))
def test_smoothing_weighs_by_distance_alone(losses: list[float], keep: float) -> None:
    count = len(losses)
    for at, value in enumerate(smooth(losses, keep)):
        weights = [keep ** abs(at - other) for other in range(count)]
        expected = sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
        assert value == pytest.approx(expected, abs=1e-9)
    assert smooth(losses[::-1], keep) == pytest.approx(smooth(losses, keep)[::-1], abs=1e-9)


def test_smoothing_moves_no_edge() -> None:
    """A running mean would find the steepest place of this fall several steps late."""
    steps, middle = 200, 120
    losses = tuple(1 / (1 + math.exp((step - middle) / 8)) + 0.1 for step in range(steps))
    rates = geometric(1e-7, 1e-2, steps)
    assert memory(steps) == pytest.approx(0.9)
    assert read(RangeTest(rates, losses, steps, "complete")).steepest == pytest.approx(rates[middle], rel=0.13)


@given(st.floats(1e-12, 0.4), st.floats(1.5, 1e6), st.integers(10, 500))
def test_rates_grow_by_one_factor_between_the_ends(first: float, factor: float, steps: int) -> None:
    last = min(1.0, first * factor)
    rates = geometric(first, last, steps)
    assert (len(rates), rates[0], rates[-1]) == (steps, first, last)
    growth = [after / before for before, after in pairwise(rates)]
    assert growth == pytest.approx([(last / first) ** (1 / (steps - 1))] * (steps - 1))


@pytest.mark.parametrize(
    ("first", "last", "steps", "field"),
    [
        (1e-2, 1e-7, 200, "--from"),
        (1e-3, 1e-3, 200, "--from"),
        (0.0, 1e-2, 200, "--from"),
        (1e-7, math.inf, 200, "--to"),
        (1e-7, math.nan, 200, "--to"),
        (1e-7, 1.5, 200, "--to"),
        (1e-7, 1e-2, 9, "--steps"),
    ],
)
def test_what_is_no_range_is_refused(first: float, last: float, steps: int, field: str) -> None:
    with pytest.raises(UserError) as raised:
        geometric(first, last, steps)
    assert raised.value.field == field and raised.value.fix


def test_an_explosion_at_the_end_does_not_hide_the_fall_before_it() -> None:
    losses = (*[1.0] * 60, *(1 - 0.8 * step / 60 for step in range(60)), *[0.2] * 30, 0.4, 1e6)
    rates = geometric(1e-7, 1e-2, 200)
    reading = read(RangeTest(rates[: len(losses)], losses, 200, "diverged"))
    assert reading.lowest is not None and rates[110] < reading.lowest < rates[150]
    assert reading.steepest is not None and rates[60] < reading.steepest < rates[120]
