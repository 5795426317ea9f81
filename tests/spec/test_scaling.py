"""The linear scaling rule of guide 003, and where it ends."""

from __future__ import annotations

import pytest

from ddpm_exp import scaled_rate
from ddpm_exp.spec.errors import UserError


def test_a_rate_is_scaled_in_proportion_to_images_per_step_as_in_guide_003() -> None:
    assert scaled_rate(2e-4, images_per_step=256) == pytest.approx(8e-4)
    assert scaled_rate(2e-4, images_per_step=32, base_images=128) == pytest.approx(5e-5)


def test_scaling_ends_at_512_images_and_at_a_rate_of_1e_3() -> None:
    assert scaled_rate(1e-5, images_per_step=512) == scaled_rate(1e-5, images_per_step=4096) == pytest.approx(8e-5)
    assert scaled_rate(2e-4, images_per_step=512) == 1e-3
    assert scaled_rate(3e-3, images_per_step=128) == 3e-3, "what is above already is not scaled further, nor cut"
    assert scaled_rate(1e-4, images_per_step=2048, base_images=1024) == 1e-4


def test_nothing_is_scaled_from_nothing() -> None:
    with pytest.raises(UserError):
        scaled_rate(2e-4, images_per_step=0)
