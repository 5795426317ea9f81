"""Pixels survive the way into the model's range and back, and a wrong range is noticed."""

import pytest
import torch

from ddpm_exp.data.pixels import assert_model_range, to_model_range, to_uint8
from ddpm_exp.spec.errors import RunError

LEVELS = torch.arange(256, dtype=torch.uint8)


def test_all_256_levels_come_back_exactly() -> None:
    model = to_model_range(LEVELS)
    assert model.dtype == torch.float32
    assert model[[0, 255]].tolist() == [-1.0, 1.0]
    assert torch.equal(to_uint8(model), LEVELS)


def test_values_between_levels_are_rounded_not_truncated() -> None:
    model = to_model_range(LEVELS)
    assert torch.equal(to_uint8(model - 0.49 / 127.5), LEVELS)
    assert torch.equal(to_uint8(model + 0.49 / 127.5), LEVELS)


def test_values_outside_the_range_are_clamped_not_wrapped() -> None:
    assert to_uint8(torch.tensor([-7.0, -1.01, 1.01, 7.0])).tolist() == [0, 0, 255, 255]


def test_half_precision_images_come_back_from_full_precision_arithmetic() -> None:
    model = to_model_range(LEVELS)
    assert int((to_uint8(model.half()).int() - LEVELS.int()).abs().max()) == 0


def test_only_bytes_enter_the_model_range() -> None:
    with pytest.raises(TypeError, match="uint8"):
        to_model_range(torch.zeros(3))


@pytest.mark.parametrize("bright", [0, 128, 250])
def test_images_in_range_pass_however_bright(bright: int) -> None:
    assert_model_range(to_model_range(torch.arange(bright, 256, dtype=torch.uint8).reshape(1, 1, 1, -1)))


@pytest.mark.parametrize(
    "wrong",
    [
        LEVELS / 255,
        LEVELS.float(),
        to_model_range(LEVELS) * 2 - 1,
        torch.tensor([1.0, float("nan")]),
        (LEVELS / 255 - 0.2860) / 0.3530,
    ],
    ids=["0 to 1", "0 to 255", "normalised twice", "not a number", "standardised"],
)
def test_a_batch_in_another_range_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(RunError, match="to_model_range once"):
        assert_model_range(wrong)
