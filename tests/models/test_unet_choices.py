"""What each choice of the U-Net's spec changes, and that it changes nothing else."""

from __future__ import annotations

import pytest
import torch
from support.network_inputs import NONE, PROMPTS, WORDS, conditions
from support.small_unet import CHOICES, SMALL, build, images

from ddpm_exp.models.build import build_network
from ddpm_exp.spec.model import UNet


def test_a_network_with_twice_the_outputs_is_the_same_but_for_its_last_map() -> None:
    network, twice = build(perturbed=False), build(perturbed=False, outputs=2)
    x, c_noise = images()
    assert twice(x, c_noise).shape == (3, 2, 8, 8)
    assert twice.last.weight.shape[0] == 2 * network.last.weight.shape[0]
    sizes = [{name: p.shape for name, p in one.named_parameters() if not name.startswith("last.")} for one in (network, twice)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("spec", CHOICES.values(), ids=CHOICES)
def test_every_choice_is_another_function_of_the_same_weights_draws(spec: UNet) -> None:
    network = build(spec)
    x, c_noise = images()
    output = network(x, c_noise)
    assert output.shape == x.shape and output.isfinite().all()
    if spec is not SMALL:
        assert not torch.allclose(output, build()(x, c_noise))


def test_adagn_begins_as_the_identity_and_then_scales_and_shifts_the_second_norm() -> None:
    torch.manual_seed(0)
    block = build(CHOICES["adagn"], perturbed=False).down[0][0].residual
    seen: list[torch.Tensor] = []
    block.conv2.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    h, embedding = torch.randn(2, 16, 8, 8), torch.randn(2, 32)
    block(h, embedding)
    normed = block.norm2(block.conv1(torch.nn.functional.silu(block.norm1(h))))
    torch.testing.assert_close(seen[0], torch.nn.functional.silu(normed))
    block.embedding.bias.data = torch.cat([torch.full((16,), 2.0), torch.full((16,), 0.5)])
    block(h, embedding)
    torch.testing.assert_close(seen[1], torch.nn.functional.silu(3.0 * normed + 0.5))


def test_the_concatenated_embedding_is_the_same_at_every_pixel_and_no_part_of_the_norm() -> None:
    block = build(CHOICES["concatenated"]).down[0][0].residual
    seen: list[torch.Tensor] = []
    block.conv2.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    h = torch.randn(2, 16, 8, 8)
    block(h, torch.randn(2, 32))
    block(h, torch.randn(2, 32))
    one, two = seen
    assert one.shape == (2, 32, 8, 8)
    assert torch.equal(one[:, :16], two[:, :16])
    assert (one[:, 16:] == one[:, 16:, :1, :1]).all()
    assert not torch.allclose(one[:, 16:], two[:, 16:])


def test_interpolation_averages_and_repeats_pixels_without_weights() -> None:
    network = build(CHOICES["interpolation"])
    assert not [name for name, _ in network.named_parameters() if name.startswith(("halvings", "doublings"))]
    x = torch.randn(1, 2, 4, 4)
    half = network.halvings[0](x)
    assert half[0, 1, 0, 1].item() == pytest.approx(x[0, 1, :2, 2:].mean().item())
    torch.testing.assert_close(network.halvings[0](network.doublings[0](half)), half)


def test_scaled_sums_keep_the_variance_of_their_two_halves() -> None:
    network = build(CHOICES["scaled"])
    parts = [m for m in network.modules() if hasattr(m, "skip_scaling")]
    assert len(parts) == 12 + 6 and all(part.skip_scaling for part in parts)
    block = network.middle[1].residual
    h, embedding = torch.randn(2, 32, 4, 4), torch.randn(2, 32)
    scaled = block(h, embedding)
    block.skip_scaling = False
    torch.testing.assert_close(scaled * 2**0.5, block(h, embedding))


def test_without_zero_init_an_untrained_network_says_something_and_every_branch_too() -> None:
    x, c_noise = images()
    network = build(SMALL.but(zero_init=False, time_conditioning="adagn"), WORDS, perturbed=False)
    assert network(x, c_noise, conditions(WORDS)).abs().max() > 0
    maps = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert all(m.weight.any() for m in maps)


def test_tokens_are_looked_at_where_the_image_is_and_in_the_middle() -> None:
    network = build(SMALL, WORDS)
    looks = [name for name, module in network.named_modules() if name.endswith("token_attention") and module is not None]
    assert [name.rsplit(".", 1)[0] for name in looks] == ["down.0.0", "down.0.1", "middle.0", "up.1.0", "up.1.1", "up.1.2"]
    assert not [name for name, _ in build(SMALL, PROMPTS).named_modules() if "token_attention" in name]


def test_a_vector_is_no_image() -> None:
    with pytest.raises(ValueError, match="images"):
        build_network(SMALL, NONE, (7,))
