"""What an evaluation draws: fixed conditions and noise numbers, so that samples of two arms differ by the networks alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.tiny_training import digit_conditions, digits

from ddpm_exp.data import load
from ddpm_exp.data.examples import Examples
from ddpm_exp.evaluation.asked import VALUE_ROWS, Asked, ask, complete, for_fid, given_of
from ddpm_exp.spec.condition import ClassLabels, Condition, ContinuousValues, ImageCondition, Prompts, Several, Unconditional
from ddpm_exp.spec.data import Digits

SHAPE = (1, 8, 8)
BRIGHTNESS = ContinuousValues()


def _bright() -> Examples:
    return load(Digits(), BRIGHTNESS).held_out


def _ask(condition: Condition, held_out: Examples | None = None, samples: int = 40, columns: int = 3) -> Asked:
    return ask(condition, held_out or digits().held_out, SHAPE, samples=samples, columns=columns)


@pytest.mark.parametrize("condition", [ClassLabels(), Prompts(), Several(of=(ClassLabels(), Prompts()))])
@pytest.mark.parametrize(("samples", "each"), [(200, 20), (0, 3), (25, 3)])
def test_classes_take_turns_each_with_the_same_noises(condition: Condition, samples: int, each: int) -> None:
    asked = _ask(condition, samples=samples)
    assert asked.rows == 10 and len(asked) == 10 * each
    assert asked.batch.labels is not None
    assert asked.batch.labels.tolist() == list(range(10)) * each
    assert asked.noises.reshape(each, 10).tolist() == [[turn] * 10 for turn in range(each)]
    assert asked.batch.x0.shape == (10 * each, *SHAPE) and not asked.batch.x0.any()


def test_without_a_condition_there_are_only_noises() -> None:
    asked = _ask(Unconditional())
    assert (asked.batch.labels, asked.batch.values, asked.rows) == (None, None, 1)
    assert asked.noises.tolist() == list(range(40))
    assert len(_ask(Unconditional(), samples=0)) == 9, "enough for a square picture"


def test_values_are_real_ones_at_even_steps_from_the_least_to_the_greatest_each_with_the_same_noises() -> None:
    held_out = _bright()
    asked = _ask(BRIGHTNESS, held_out)
    assert (asked.rows, len(asked)) == (VALUE_ROWS, VALUE_ROWS * 5)
    assert asked.batch.values is not None and held_out.values is not None
    rows = asked.batch.values[:, 0].reshape(5, VALUE_ROWS)
    assert bool((rows == rows[0]).all())
    ranks = (held_out.values[:, 0][None] < rows[0][:, None]).sum(1) / (len(held_out) - 1)
    torch.testing.assert_close(ranks, torch.linspace(0, 1, VALUE_ROWS), rtol=0, atol=0.01)
    assert asked.noises.reshape(5, VALUE_ROWS).tolist() == [[turn] * VALUE_ROWS for turn in range(5)]


def test_examples_that_lack_a_value_are_asked_for_only_where_none_has_all() -> None:
    held_out = _bright()
    assert held_out.values is not None
    values = torch.stack([held_out.values[:, 0], torch.randn(len(held_out))], dim=1)
    values[values[:, 0] > 0, 1] = torch.nan
    asked = _ask(ContinuousValues(names=("brightness", "b")), replace(held_out, values=values))
    assert asked.batch.values is not None
    assert bool(complete(asked.batch.values).all()) and float(asked.batch.values[:, 0].max()) <= 0
    values[:, 1] = torch.nan
    nothing_known = _ask(ContinuousValues(names=("brightness", "b")), replace(held_out, values=values))
    assert (nothing_known.rows, len(nothing_known)) == (0, 40)


@pytest.mark.parametrize("condition", [ImageCondition(), Several(of=(ClassLabels(), BRIGHTNESS))])
def test_parts_of_images_and_several_conditions_are_taken_from_held_out_examples_as_they_come(condition: Condition) -> None:
    held_out = _bright()
    asked = _ask(condition, held_out, samples=400)
    assert (asked.rows, len(asked)) == (0, 400) and asked.noises.tolist() == list(range(400))
    expected = held_out.batch(torch.arange(400) % len(held_out))
    assert torch.equal(asked.batch.x0, expected.x0)
    assert asked.batch.labels is not None and expected.labels is not None
    assert torch.equal(asked.batch.labels, expected.labels)
    assert asked.batch.values is not None and expected.values is not None
    assert torch.equal(asked.batch.values, expected.values)


def test_fid_draws_classes_in_turn_and_all_else_as_in_the_training_examples() -> None:
    numbers = torch.arange(1430, 1460)
    train = load(Digits(), BRIGHTNESS).train
    labels = for_fid(ClassLabels(), train, numbers).labels
    assert labels is not None and labels.tolist() == [number % 10 for number in range(1430, 1460)]
    batch, real = for_fid(BRIGHTNESS, train, numbers), train.batch(numbers % 1438)
    assert batch.values is not None and real.values is not None
    assert torch.equal(batch.values, real.values) and torch.equal(batch.x0, real.x0)
    assert for_fid(Unconditional(), train, numbers).x0.shape == (30, *SHAPE)


def test_what_an_image_condition_shows_is_the_image_outside_the_hole() -> None:
    condition = ImageCondition(hole=(0.5, 0.5))
    batch = digits().held_out.batch(slice(0, 5))
    given, known = given_of(digit_conditions(condition), batch)
    hole = torch.zeros(8, 8, dtype=torch.bool)
    hole[2:6, 2:6] = True
    assert torch.equal(known, ~hole.expand(5, 1, 8, 8))
    assert torch.equal(given, batch.x0 * ~hole)
    with pytest.raises(ValueError, match="no image among the conditions"):
        given_of(digit_conditions(ClassLabels()), batch)
