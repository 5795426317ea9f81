"""Images with noise left are counted in bytes and in parts as they are at once in the network's range."""

from __future__ import annotations

import pytest
import torch
from support.tiny_training import digits

from ddpm_exp.data.examples import Splits
from ddpm_exp.data.pixels import to_model_range
from ddpm_exp.evaluation import noise_counted
from ddpm_exp.evaluation.defects import Defects
from ddpm_exp.evaluation.noise_counted import NoiseCount


def test_the_share_of_all_images_is_that_of_defects_whatever_goes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    both = digits()
    splits = Splits(both.train, both.held_out, "6" * 16)
    noisy = both.held_out.x[:50].float() + 60 * torch.randn(
        50, *both.held_out.x.shape[1:], generator=torch.Generator().manual_seed(0)
    )
    drawn = torch.cat([both.held_out.x[50:250], noisy.clamp(0, 255).round().to(torch.uint8)])
    at_once = Defects(splits, "image").noise_scale.share_with_noise(to_model_range(drawn))
    assert 0.19 <= at_once <= 0.21, "50 of 250"
    monkeypatch.setattr(noise_counted, "_TOGETHER", 60)  # the last part is smaller
    found = NoiseCount(splits).of(drawn)
    assert found.values == pytest.approx({"samples/noise_left": at_once, "samples/measured": 250.0})
    assert (found.measurement["n"], found.measurement["block"], found.measurement["image_shape"]) == (250, 8, [1, 8, 8])


def test_images_of_fewer_than_four_pixels_are_not_looked_at() -> None:
    assert NoiseCount.sees(4) and not NoiseCount.sees(3)
