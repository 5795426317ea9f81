"""The U-Net against Hugging Face's UNet2DModel: as many parameters, the same function, and weights there and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from support.network_inputs import BESIDE, CLASSES, HOLES, NONE, PROMPTS

from ddpm_exp.models.build import build_network
from ddpm_exp.models.diffusers_config import config_of, describe
from ddpm_exp.models.diffusers_unet import from_diffusers, network_of, to_diffusers
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.models.unet import UNetNetwork
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.model import UNet

Inputs = tuple[ConditionInput, ...]

CIFAR10: dict[str, Any] = {
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.1.1",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
"""The published google/ddpm-cifar10-32."""

SMALL = UNet(base_channels=16, groups=8, time_embedding=48, multipliers=(1, 2, 2), attention_resolutions=(8,))
CONFIGS: dict[str, tuple[UNet, Inputs, Shape, int]] = {
    "default": (SMALL, NONE, Shape(3, 16, 16), 1),
    "attention everywhere": (SMALL.but(attention_resolutions=(16, 8, 4)), NONE, Shape(1, 16, 16), 1),
    "one level": (SMALL.but(multipliers=(1,), attention_resolutions=(), blocks_per_level=1), NONE, Shape(1, 9, 9), 1),
    "heads": (SMALL.but(heads=4, blocks_per_level=3), NONE, Shape(3, 16, 16), 1),
    "adagn": (SMALL.but(time_conditioning="adagn"), NONE, Shape(3, 16, 16), 1),
    "learned times": (SMALL.but(time_features="learned"), NONE, Shape(3, 16, 16), 1),
    "learned variance": (SMALL, NONE, Shape(3, 16, 16), 2),
    "classes": (SMALL, CLASSES, Shape(3, 16, 16), 1),
    "an oblong image": (SMALL.but(attention_resolutions=(16,)), NONE, Shape(1, 16, 8), 1),
}
every_config = pytest.mark.parametrize(("spec", "inputs", "shape", "outputs"), CONFIGS.values(), ids=CONFIGS)


def woken(network: torch.nn.Module, seed: int = 3) -> torch.nn.Module:
    """The same network with weights as if it had been trained: none is zero or one."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def ours_of(spec: UNet, inputs: Inputs, shape: Shape, outputs: int) -> UNetNetwork:
    network = woken(build_network(spec, inputs, shape, outputs=outputs, timesteps=1000))
    assert isinstance(network, UNetNetwork)
    return network


def test_the_default_is_the_cifar10_network_to_the_parameter() -> None:
    with torch.device("meta"):
        ours = build_network(UNet(), NONE, Shape(3, 32, 32))
        theirs = UNet2DModel.from_config(CIFAR10)
    count = sum(parameter.numel() for parameter in ours.parameters())
    assert count == 35_746_307
    assert count == sum(parameter.numel() for parameter in theirs.parameters())
    shapes = {name: tuple(tensor.shape) for name, tensor in to_diffusers(ours)[1].items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}


def test_the_published_config_is_the_default_network() -> None:
    described = describe(CIFAR10)
    assert described.model.but(dropout=0.1) == UNet()
    assert described.shape == (3, 32, 32)
    assert (described.outputs, described.classes, described.timesteps) == (1, 0, 0)


@every_config
def test_ours_computes_what_theirs_computes_with_our_weights(spec: UNet, inputs: Inputs, shape: Shape, outputs: int) -> None:
    ours = ours_of(spec, inputs, shape, outputs)
    config, weights = to_diffusers(ours)
    theirs = UNet2DModel(**config).eval()
    theirs.load_state_dict(weights)
    x, times = torch.randn(3, *shape), torch.tensor([0, 7, 999])
    labels = {"class": torch.tensor([3, 0, 10])} if inputs else None
    with torch.no_grad():
        found = ours(x, times.float(), labels)
        expected = theirs(x, times, class_labels=labels["class"] if labels else None).sample
    assert (found - expected).norm() <= 1e-4 * expected.norm()
    assert expected.std() > 0.01


@every_config
def test_their_weights_become_ours(spec: UNet, inputs: Inputs, shape: Shape, outputs: int) -> None:
    config, _ = to_diffusers(ours_of(spec, inputs, shape, outputs))
    theirs = woken(UNet2DModel(**config), seed=4)
    conversion = from_diffusers(theirs.state_dict(), config)
    assert conversion[1:] == ((), (), ())
    ours = network_of(describe(config))
    ours.load_state_dict(conversion.weights)
    x, times = torch.randn(2, *shape), torch.tensor([1, 500])
    labels = {"class": torch.tensor([3, 10])} if inputs else None
    with torch.no_grad():
        found = ours.eval()(x, times.float(), labels)
        expected = theirs(x, times, class_labels=labels["class"] if labels else None).sample
    assert (found - expected).norm() <= 1e-4 * expected.norm()


@every_config
def test_there_and_back_changes_no_bit(spec: UNet, inputs: Inputs, shape: Shape, outputs: int) -> None:
    ours = ours_of(spec, inputs, shape, outputs)
    config, weights = to_diffusers(ours)
    back = from_diffusers(weights, config)
    assert back[1:] == ((), (), ())
    assert list(back.weights) == list(ours.state_dict())
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in ours.state_dict().items())
    again = to_diffusers(network_of(describe(config)))
    assert again[0] == config
    assert again[1].keys() == weights.keys()


@every_config
def test_the_config_says_all_that_the_spec_does(spec: UNet, inputs: Inputs, shape: Shape, outputs: int) -> None:
    config, _ = to_diffusers(ours_of(spec, inputs, shape, outputs))
    assert describe(config).model == spec
    assert config.keys() == UNet2DModel(**config).config.keys() - {"_use_default_values"}


def test_names_of_attention_in_old_files_are_understood() -> None:
    config, weights = to_diffusers(ours_of(*CONFIGS["default"]))
    old = {}
    for name, tensor in weights.items():
        for new, former in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f".{new}.", f".{former}.")
        old[name] = tensor
    assert old.keys() != weights.keys()
    back = from_diffusers(old, config)
    assert back[1:] == ((), (), ())
    expected = from_diffusers(weights, config).weights
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in expected.items())


def test_what_does_not_fit_is_reported_by_name() -> None:
    config, weights = to_diffusers(ours_of(*CONFIGS["default"]))
    del weights["down_blocks.1.attentions.0.to_k.weight"], weights["conv_out.bias"]
    weights["somewhere.else.weight"] = torch.zeros(1)
    weights["conv_in.weight"] = torch.zeros(16, 4, 3, 3)
    back = from_diffusers(weights, config)
    assert back.missing == ("down.1.0.attention.qkv.weight", "last.bias")
    assert set(back.unexpected) == {
        "somewhere.else.weight",
        "down_blocks.1.attentions.0.to_q.weight",
        "down_blocks.1.attentions.0.to_v.weight",
    }
    assert back.mismatched == ("first.weight: (16, 4, 3, 3) in the file, (16, 3, 3, 3) in the network",)


@pytest.mark.parametrize(
    ("spec", "inputs", "field"),
    [
        (SMALL.but(time_conditioning="concatenated"), NONE, "model.time_conditioning"),
        (SMALL.but(resample="interpolation"), NONE, "model.resample"),
        (SMALL.but(skip_scaling=True), NONE, "model.skip_scaling"),
        (SMALL.but(time_features="fourier"), NONE, "model.time_features"),
        (SMALL.but(heads=2, attention_resolutions=(16,)), NONE, "model.heads"),
        (SMALL, PROMPTS, "condition"),
        (SMALL, HOLES, "condition"),
        (SMALL, BESIDE, "condition"),
    ],
)
def test_what_no_unet2dmodel_computes_is_refused(spec: UNet, inputs: Inputs, field: str) -> None:
    with pytest.raises(UserError, match="UNet2DModel") as refusal:
        to_diffusers(ours_of(spec, inputs, Shape(3, 16, 16), 1))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("freq_shift", 0),
        ("flip_sin_to_cos", True),
        ("downsample_padding", 1),
        ("norm_eps", 1e-5),
        ("act_fn", "gelu"),
        ("time_embedding_type", "fourier"),
        ("mid_block_scale_factor", 1.4142),
        ("attention_head_dim", 96),
        ("sample_size", None),
        ("out_channels", 9),
        ("block_out_channels", [128, 192, 256, 256]),
        ("up_block_types", ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"]),
        ("down_block_types", ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"]),
        ("class_embed_type", "timestep"),
        ("resnet_time_scale_shift", "spatial"),
        ("attn_norm_num_groups", 16),
        ("heads_of_something_new", 3),
    ],
)
def test_what_our_network_does_not_compute_is_refused(entry: str, value: object) -> None:
    with pytest.raises(UserError, match="our U-Net does not compute") as refusal:
        describe({**CIFAR10, entry: value})
    assert refusal.value.field == f"config.{entry}"


def test_a_config_that_is_silent_means_what_diffusers_means() -> None:
    down, up = ("DownBlock2D",) * 2, ("UpBlock2D",) * 2
    theirs = UNet2DModel(block_out_channels=(8, 8), norm_num_groups=4, down_block_types=down, up_block_types=up)
    silent = dict(theirs.config)
    for name in ("freq_shift", "flip_sin_to_cos", "downsample_padding", "norm_eps"):
        with pytest.raises(UserError):
            describe({**CIFAR10, name: silent[name]})
        with pytest.raises(UserError):
            describe({key: given for key, given in CIFAR10.items() if key != name})


def test_the_config_of_the_default_is_the_published_one() -> None:
    described = describe(CIFAR10)
    found = config_of(described)
    for name, value in CIFAR10.items():
        if not name.startswith("_"):
            assert found[name] == (tuple(value) if isinstance(value, list) else value), name
