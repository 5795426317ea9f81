"""The independent judge knows real digits that it has not seen, and gets nothing from noise."""

from __future__ import annotations

import pytest
import torch
from support.tiny_training import digits

from ddpm_exp.data.examples import Examples
from ddpm_exp.evaluation.classifier import Judge, fit_judge


@pytest.fixture(scope="module")
def judge() -> Judge:
    return fit_judge(digits().train, digits().held_out)


def test_it_reads_unseen_digits(judge: Judge) -> None:
    held_out = digits().held_out
    assert held_out.labels is not None
    assert judge.accuracy_on_real >= 0.95
    assert judge.accuracy(held_out.x, held_out.labels) == judge.accuracy_on_real


def test_noise_is_right_by_chance_only(judge: Judge) -> None:
    noise = torch.randint(0, 256, (1000, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert judge.accuracy(noise, torch.arange(1000) % 10) == pytest.approx(0.1, abs=0.03)


def test_real_digits_asked_for_as_others_are_wrong(judge: Judge) -> None:
    held_out = digits().held_out
    assert held_out.labels is not None
    assert judge.accuracy(held_out.x, (held_out.labels + 1) % 10) < 0.02


def test_it_learns_from_the_larger_set_and_is_tested_on_the_other() -> None:
    few = digits().train.take(torch.arange(40))
    judge = fit_judge(few, digits().held_out)
    assert few.labels is not None
    assert judge.accuracy_on_real == judge.accuracy(few.x, few.labels)
    assert judge.accuracy_on_real < 1.0, "tested on what it was fitted on"
    assert judge.accuracy_on_real >= 0.8


def test_fitting_twice_gives_the_same_judge(judge: Judge) -> None:
    again, noise = fit_judge(digits().train, digits().held_out), torch.arange(64_000).reshape(1000, 1, 8, 8).mul(7919) % 256
    labels = torch.arange(1000) % 10
    assert again.accuracy(noise.byte(), labels) == judge.accuracy(noise.byte(), labels)


def test_data_without_labels_cannot_be_judged() -> None:
    unlabelled = Examples(digits().train.x, None, ())
    with pytest.raises(ValueError, match="labelled"):
        fit_judge(unlabelled, unlabelled)
