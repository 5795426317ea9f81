"""Coherence and distances on images whose values are known."""

from __future__ import annotations

import pytest
import torch
from support.tiny_training import digits, lively_network, tiny_artist
from torch import nn

from ddpm_exp.data.examples import Batch
from ddpm_exp.data.pixels import to_model_range
from ddpm_exp.evaluation.measures import coherence, distance_between_classes, distance_between_conditions
from ddpm_exp.spec.sampling import Sampling


def test_white_noise_has_no_coherence_at_any_size() -> None:
    for shape in ((400, 1, 8, 8), (100, 3, 32, 32)):
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        # Subtracting each image's own mean costs 1 / pixels.
        assert coherence(noise) == pytest.approx(-1 / (shape[2] * shape[3]), abs=0.01)


def test_smooth_images_come_near_to_one() -> None:
    ramp = torch.linspace(-1, 1, 32)
    images = torch.stack([ramp.expand(32, 32), ramp.expand(32, 32).T, (ramp[:, None] + ramp[None]) / 2])[:, None]
    assert 0.9 < coherence(images) <= 1.0


def test_a_chess_board_has_minus_one_and_rows_of_lines_cancel() -> None:
    parity = (torch.arange(16)[:, None] + torch.arange(16)[None]) % 2 * 2.0 - 1
    assert coherence(parity[None, None]) == pytest.approx(-1.0)
    lines = (torch.arange(16) % 2 * 2.0 - 1)[:, None].expand(16, 16)
    assert coherence(lines[None, None]) == pytest.approx(0.0)


@pytest.mark.parametrize("level", [-1.0, 0.1, 1.0])
def test_constant_images_count_as_incoherent(level: float) -> None:
    assert coherence(torch.full((3, 3, 8, 8), level)) == 0.0


def test_coherence_ignores_contrast_and_brightness() -> None:
    images = to_model_range(digits().held_out.x[:50])
    assert coherence(images * 0.1 + 0.4) == pytest.approx(coherence(images), abs=1e-5)


def test_coherence_is_the_mean_over_images_not_over_their_contrast() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(1, 1, 16, 16)
    noise = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    both = coherence(torch.cat([ramp, noise]))
    assert both == pytest.approx((coherence(ramp) + coherence(noise)) / 2)
    assert coherence(torch.cat([ramp * 0.01, noise])) == pytest.approx(both)


def test_the_distance_of_conditions_is_their_rms_difference() -> None:
    group = torch.tensor([0.0, 0.3, 0.3]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    # Pairs: 0.3, 0.3 and 0. A second noise shifts all of its images alike and changes nothing.
    assert distance_between_conditions(torch.cat([group, group + 0.5]), 3) == pytest.approx(0.2)


class Deaf(nn.Module):
    """A network that hears no condition."""

    def __init__(self) -> None:
        super().__init__()
        self.network = lively_network()

    def forward(self, x: torch.Tensor, c_noise: torch.Tensor, condition: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.network(x, c_noise, {name: torch.zeros_like(said) for name, said in condition.items()})  # type: ignore[no-any-return]


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_a_network_that_ignores_its_condition_has_distance_exactly_zero(guidance_scale: float) -> None:
    artist = tiny_artist(batch=7, sampling=Sampling(steps=2, guidance_scale=guidance_scale))
    labels, noises = torch.arange(10).repeat(4), torch.arange(4).repeat_interleave(10)
    asked = Batch(torch.zeros(40, 1, 8, 8), labels, None)
    drawn = artist.draw(Deaf(), asked, noises, held_out=False)
    assert distance_between_conditions(drawn, 10) == 0.0
    assert distance_between_conditions(artist.draw(lively_network(), asked, noises, held_out=False), 10) > 0.0


def test_equal_images_have_distance_exactly_zero_however_many_classes_there_are() -> None:
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for classes in (2, 10, 26, 100):
        assert distance_between_conditions(image.expand(2 * classes, -1, -1, -1), classes) == 0.0


def test_real_classes_are_compared_across_classes_only() -> None:
    images = torch.tensor([0.0, 0.1, 0.5]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    assert distance_between_classes(images, torch.tensor([0, 0, 1])) == pytest.approx((0.5 + 0.4) / 2, abs=1e-6)
