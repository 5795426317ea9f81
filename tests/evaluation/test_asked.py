"""What an evaluation draws: fixed conditions and noise numbers, so that samples of two arms differ by the networks alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.tiny_training import digit_conditions, digits

from ddpm_exp.data import load
from ddpm_exp.data.examples import Examples
from ddpm_exp.evaluation.asked import VALUE_ROWS, Asked, ask, complete, given_of, in_proportion
from ddpm_exp.spec.condition import ClassLabels, Condition, ContinuousValues, ImageCondition, Prompts, Several, Unconditional
from ddpm_exp.spec.data import Digits

SHAPE = (1, 8, 8)
BRIGHTNESS = ContinuousValues()


def _bright() -> Examples:
    return load(Digits(), BRIGHTNESS).held_out


def _ask(condition: Condition, held_out: Examples | None = None, samples: int = 40, columns: int = 3) -> Asked:
    train = load(Digits(), BRIGHTNESS).train
    return ask(condition, train, held_out or _bright(), samples=samples, columns=columns)


def _rare(count: int = 500) -> Examples:
    """Two classes, 90 to 10, sorted, with one value that rises."""
    labels = (torch.arange(count) >= 0.9 * count).long()
    return Examples(torch.zeros(count, 3), labels, ("usual", "rare"), torch.arange(float(count))[:, None])


@pytest.mark.parametrize("condition", [ClassLabels(), Prompts(), Several(of=(ClassLabels(), Prompts()))])
@pytest.mark.parametrize(("samples", "each"), [(200, 20), (0, 3), (25, 3)])
def test_classes_take_turns_in_the_grid_with_the_same_noises_and_in_what_is_said_of_them(
    condition: Condition, samples: int, each: int
) -> None:
    asked = _ask(condition, samples=samples)
    assert (asked.rows, asked.grid) == (10, 30) and len(asked) == 30 + samples
    assert asked.batch.labels is not None
    assert asked.batch.labels[:30].tolist() == list(range(10)) * 3
    assert asked.noises[:30].reshape(3, 10).tolist() == [[turn] * 10 for turn in range(3)]
    assert asked.batch.labels[asked.turns].tolist() == list(range(10)) * each
    assert len(asked.turns.unique()) == 10 * each
    assert asked.batch.x0.shape == (len(asked), *SHAPE) and not asked.batch.x0.any()


@pytest.mark.parametrize("condition", [ClassLabels(), BRIGHTNESS])
def test_all_but_the_grid_have_noises_of_their_own(condition: Condition) -> None:
    asked = _ask(condition)
    assert asked.own.tolist() == list(range(asked.grid, asked.grid + 40))
    assert asked.noises[asked.own].tolist() == list(range(3, 43))


def test_distances_draw_a_rare_class_as_rarely_as_the_data_and_class_figures_as_often_as_any() -> None:
    rare = _rare()
    asked = ask(ClassLabels(), rare, rare, samples=200, columns=4)
    assert asked.batch.labels is not None
    assert asked.batch.labels[asked.own].bincount().tolist() == [180, 20]
    assert asked.batch.labels[asked.turns].bincount().tolist() == [100, 100]
    assert len(asked) == 8 + 200 + (100 - 20 - 4), "no more than are missing"
    assert len(asked.noises[8:].unique()) == len(asked) - 8


def test_without_a_condition_there_are_only_noises() -> None:
    asked = _ask(Unconditional())
    assert (asked.batch.labels, asked.batch.values, asked.rows) == (None, None, 1)
    assert asked.noises.tolist() == asked.own.tolist() == list(range(40))
    assert len(_ask(Unconditional(), samples=0)) == 9, "enough for a square picture"


def test_values_of_the_grid_are_real_ones_at_even_steps_from_the_least_to_the_greatest_each_with_the_same_noises() -> None:
    held_out = _bright()
    asked = _ask(BRIGHTNESS, held_out)
    assert (asked.rows, asked.grid, len(asked)) == (VALUE_ROWS, VALUE_ROWS * 3, VALUE_ROWS * 3 + 40)
    assert asked.batch.values is not None and held_out.values is not None
    rows = asked.batch.values[: asked.grid, 0].reshape(3, VALUE_ROWS)
    assert bool((rows == rows[0]).all())
    ranks = (held_out.values[:, 0][None] < rows[0][:, None]).sum(1) / (len(held_out) - 1)
    torch.testing.assert_close(ranks, torch.linspace(0, 1, VALUE_ROWS), rtol=0, atol=0.01)
    assert asked.noises[: asked.grid].reshape(3, VALUE_ROWS).tolist() == [[turn] * VALUE_ROWS for turn in range(3)]


def test_distances_draw_values_spread_as_the_training_examples_have_them() -> None:
    train = load(Digits(), BRIGHTNESS).train
    asked = _ask(BRIGHTNESS, samples=200)
    assert asked.batch.values is not None and train.values is not None
    drawn, real = asked.batch.values[asked.own, 0], train.values[:, 0]
    levels = torch.linspace(0.05, 0.95, 10)
    torch.testing.assert_close((drawn[:, None] < real.quantile(levels)).float().mean(0), levels, rtol=0, atol=0.015)


def test_examples_that_lack_a_value_have_a_row_only_where_none_has_all() -> None:
    held_out = _bright()
    assert held_out.values is not None
    values = torch.stack([held_out.values[:, 0], torch.randn(len(held_out))], dim=1)
    values[values[:, 0] > 0, 1] = torch.nan
    both = ContinuousValues(names=("brightness", "b"))
    some = replace(held_out, values=values)
    asked = ask(both, some, some, samples=40, columns=3)
    assert asked.batch.values is not None
    grid = asked.batch.values[: asked.grid]
    assert bool(complete(grid).all()) and float(grid[:, 0].max()) <= 0
    values[:, 1] = torch.nan
    nothing_known = ask(both, some, some, samples=40, columns=3)
    assert (nothing_known.rows, len(nothing_known)) == (0, 40)


@pytest.mark.parametrize("condition", [ImageCondition(), Several(of=(ClassLabels(), ImageCondition()))])
def test_parts_of_images_are_those_of_held_out_examples(condition: Condition) -> None:
    held_out = _bright()
    asked = _ask(condition, held_out, samples=400)
    assert (asked.rows, len(asked)) == (0, 400) and asked.noises.tolist() == asked.own.tolist() == list(range(400))
    assert held_out.labels is not None and (asked.batch.labels is not None) == isinstance(condition, Several)
    labels = held_out.labels if asked.batch.labels is None else asked.batch.labels
    for image, label in zip(asked.batch.x0[:40], labels, strict=False):
        (place, *_) = (held_out.batch(slice(None)).x0 == image).flatten(1).all(1).nonzero().flatten().tolist()
        assert asked.batch.labels is None or held_out.labels[place] == label


def test_several_conditions_are_those_of_one_training_example() -> None:
    train = load(Digits(), BRIGHTNESS).train
    asked = _ask(Several(of=(ClassLabels(), BRIGHTNESS)))
    assert (asked.rows, len(asked)) == (0, 40)
    assert asked.batch.values is not None and asked.batch.labels is not None
    assert train.values is not None and train.labels is not None
    there = {(int(label), float(value)) for label, value in zip(train.labels, train.values[:, 0], strict=True)}
    assert {(int(label), float(value)) for label, value in zip(asked.batch.labels, asked.batch.values[:, 0], strict=True)} <= there


@pytest.mark.parametrize("condition", [ClassLabels(), ContinuousValues(names=("a",)), Several(of=(ClassLabels(), BRIGHTNESS))])
@pytest.mark.parametrize("count", [1, 2, 97, 500])
def test_as_many_numbers_as_there_are_examples_meet_each_once_wherever_they_begin(condition: Condition, count: int) -> None:
    rare = _rare(count)
    found = in_proportion(condition, rare, torch.arange(1234, 1234 + count))
    assert rare.labels is not None and rare.values is not None
    if found.labels is not None:
        assert torch.equal(found.labels.sort().values, rare.labels)
    if found.values is not None:
        assert torch.equal(found.values.sort(0).values, rare.values)


def test_a_samples_condition_is_its_numbers_alone() -> None:
    rare, numbers = _rare(), torch.tensor([7, 300, 7, 0])
    found, all_of_them = (
        in_proportion(ClassLabels(), rare, numbers).labels,
        in_proportion(ClassLabels(), rare, torch.arange(301)).labels,
    )
    assert found is not None and all_of_them is not None and torch.equal(found, all_of_them[numbers])
    assert in_proportion(Unconditional(), rare, numbers).x0.shape == (4, 3)


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
