"""The loss scale of fp16: falls after a bad step, rises after enough good ones, stays within its bounds."""

from __future__ import annotations

import pytest
import torch
from support.tiny_training import CPU

from ddpm_exp.training.precision import LossScale, set_arithmetic

GOOD, BAD = torch.tensor(0.0), torch.tensor(1.0)


def test_a_bad_step_halves_the_scale() -> None:
    scale = LossScale(CPU, "fp16")
    assert float(scale.scale) == 2.0**16
    scale.update(BAD)
    assert float(scale.scale) == 2.0**15


def test_good_steps_double_it_after_the_interval_and_only_in_a_row() -> None:
    scale = LossScale(CPU, "fp16", interval=3)
    steps = [GOOD, GOOD, GOOD, GOOD, BAD, GOOD, GOOD, GOOD]
    for bad, expected in zip(steps, [16, 16, 17, 17, 16, 16, 16, 17], strict=True):
        scale.update(bad)
        assert float(scale.scale) == 2.0**expected


def test_it_stays_between_1_and_2_to_the_24() -> None:
    scale = LossScale(CPU, "fp16", interval=1)
    for _ in range(20):
        scale.update(GOOD)
    assert float(scale.scale) == 2.0**24
    for _ in range(40):
        scale.update(BAD)
    assert float(scale.scale) == 1.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_have_no_scale(precision: str) -> None:
    scale = LossScale(CPU, precision, interval=1)  # type: ignore[arg-type]
    for bad in (BAD, GOOD, GOOD):
        scale.update(bad)
        assert float(scale.scale) == 1.0


def test_its_state_remembers_how_many_good_steps_there_were() -> None:
    straight, resumed = LossScale(CPU, "fp16", interval=3), LossScale(CPU, "fp16", interval=3)
    straight.update(BAD)
    straight.update(GOOD)
    straight.update(GOOD)
    resumed.restore(straight.state())
    resumed.update(GOOD)
    assert float(resumed.scale) == 2.0**16


def test_tf32_and_determinism_are_what_was_said_whatever_was_before() -> None:
    try:
        for on in (True, False):
            torch.backends.cudnn.allow_tf32 = not on
            set_arithmetic(tf32=on, deterministic=on)
            assert torch.backends.cuda.matmul.allow_tf32 is on
            assert torch.backends.cudnn.allow_tf32 is on
            assert torch.backends.cudnn.deterministic is on
            assert torch.are_deterministic_algorithms_enabled() is on
    finally:
        set_arithmetic(tf32=False, deterministic=False)
