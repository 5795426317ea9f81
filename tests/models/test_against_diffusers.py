"""The U-Net against Hugging Face's form of DDPM's CIFAR-10 network: as many parameters, and the same function of them."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DModel
from torch import nn

from ddpm_exp.models.build import ConditionSize, build_network
from ddpm_exp.models.unet import UNetNetwork
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.model import UNet


def hugging_face(channels: tuple[int, ...], size: int, colours: int, groups: int) -> Any:
    """diffusers' form of google/ddpm-cifar10-32 for any width, on an image of four levels with attention at the second."""
    return UNet2DModel(
        sample_size=size,
        in_channels=colours,
        out_channels=colours,
        block_out_channels=channels,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        norm_num_groups=groups,
    )


def test_the_default_is_the_cifar10_network_to_the_parameter() -> None:
    with torch.device("meta"):
        ours = build_network(UNet(), ConditionSize("none"), Shape(3, 32, 32))
        theirs = hugging_face((128, 256, 256, 256), 32, 3, 32)
    count = sum(parameter.numel() for parameter in ours.parameters())
    assert count == 35_746_307
    assert count == sum(parameter.numel() for parameter in theirs.parameters())


def transplant(ours: UNetNetwork, theirs: Any) -> None:
    """Give `ours` the weights of diffusers' network, part by part."""

    def copy(to: Any, *sources: Any) -> None:
        to.weight.data = torch.cat([source.weight.data for source in sources])
        to.bias.data = torch.cat([source.bias.data for source in sources])

    def residual(to: Any, source: Any) -> None:
        for mine, name in (("norm1",) * 2, ("conv1",) * 2, ("embedding", "time_emb_proj"), ("norm2",) * 2, ("conv2",) * 2):
            copy(getattr(to, mine), getattr(source, name))
        assert isinstance(to.shortcut, nn.Identity) == (source.conv_shortcut is None)
        if source.conv_shortcut is not None:
            copy(to.shortcut, source.conv_shortcut)

    def attention(to: Any, source: Any) -> None:
        copy(to.norm, source.group_norm)
        copy(to.qkv, source.to_q, source.to_k, source.to_v)
        copy(to.merge, source.to_out[0])

    def level(blocks: Any, source: Any) -> None:
        for number, (block, their_block) in enumerate(zip(blocks, source.resnets, strict=True)):
            residual(block.residual, their_block)
            assert (block.attention is None) == (not hasattr(source, "attentions"))
            if block.attention is not None:
                attention(block.attention, source.attentions[number])

    copy(ours.first, theirs.conv_in)
    copy(ours.time.network[0], theirs.time_embedding.linear_1)
    copy(ours.time.network[2], theirs.time_embedding.linear_2)
    for blocks, source in zip(ours.down, theirs.down_blocks, strict=True):
        level(blocks, source)
    for halve, source in zip(ours.halvings, theirs.down_blocks[:-1], strict=True):
        copy(halve.conv, source.downsamplers[0].conv)
    residual(ours.middle[0].residual, theirs.mid_block.resnets[0])
    attention(ours.middle[0].attention, theirs.mid_block.attentions[0])
    residual(ours.middle[1].residual, theirs.mid_block.resnets[1])
    for blocks, source in zip(ours.up, theirs.up_blocks, strict=True):
        level(blocks, source)
    for double, source in zip(ours.doublings, theirs.up_blocks[:-1], strict=True):
        copy(double.conv, source.upsamplers[0].conv)
    copy(ours.last_norm, theirs.conv_norm_out)
    copy(ours.last, theirs.conv_out)


def test_with_diffusers_weights_it_computes_what_diffusers_computes() -> None:
    spec = UNet(base_channels=16, groups=8, time_embedding=64, attention_resolutions=(8,))
    shape = Shape(3, 16, 16)
    ours = build_network(spec, ConditionSize("none"), shape).eval()
    assert isinstance(ours, UNetNetwork)
    torch.manual_seed(3)
    theirs = hugging_face((16, 32, 32, 32), 16, 3, 8).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    transplant(ours, theirs)
    x, c_noise = torch.randn(3, *shape), torch.tensor([0.0, 7.5, 999.0])
    with torch.no_grad():
        torch.testing.assert_close(ours(x, c_noise), theirs(x, c_noise).sample, atol=2e-5, rtol=1e-5)
