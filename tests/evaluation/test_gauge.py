"""The independent regression reads continuous values off real examples that it has not seen, and gets nothing from noise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ddpm_exp.data import load
from ddpm_exp.data.examples import Examples
from ddpm_exp.evaluation.gauge import Gauge, fit_gauge
from ddpm_exp.spec.condition import ContinuousValues
from ddpm_exp.spec.data import Digits

SPLITS = load(Digits(), ContinuousValues(names=("brightness", "contrast")))


@pytest.fixture(scope="module")
def gauge() -> Gauge:
    return fit_gauge(SPLITS.train, SPLITS.held_out)


def _values(examples: Examples) -> torch.Tensor:
    assert examples.values is not None
    return examples.values


def test_it_reads_brightness_and_contrast_off_unseen_digits(gauge: Gauge) -> None:
    assert gauge.error_on_real < 0.1
    assert gauge.error(SPLITS.held_out.x, _values(SPLITS.held_out)) == pytest.approx(gauge.error_on_real)


def test_noise_and_images_of_other_values_are_far_off(gauge: Gauge) -> None:
    noise = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    asked = _values(SPLITS.held_out)[:300]
    assert gauge.error(noise, asked) > 0.7
    assert gauge.error(SPLITS.held_out.x, _values(SPLITS.held_out) + 2.0) == pytest.approx(2.0, abs=0.1)


def test_examples_that_lack_a_value_are_left_out() -> None:
    def lacking(examples: Examples) -> Examples:
        values = _values(examples).clone()
        values[::2, 1] = torch.nan
        return replace(examples, values=values)

    def without(examples: Examples) -> Examples:
        return examples.take(torch.arange(1, len(examples), 2))

    some = fit_gauge(lacking(SPLITS.train), lacking(SPLITS.held_out))
    assert some.error_on_real == fit_gauge(without(SPLITS.train), without(SPLITS.held_out)).error_on_real


def test_samples_that_are_not_finite_have_no_error(gauge: Gauge) -> None:
    drawn = SPLITS.held_out.batch(slice(0, 4)).x0.clone()
    drawn[2, 0, 3, 3] = torch.inf
    assert math.isnan(gauge.error(drawn, _values(SPLITS.held_out)[:4]))


def test_data_without_values_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="values"):
        fit_gauge(replace(SPLITS.train, values=None), SPLITS.held_out)
