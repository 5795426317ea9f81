"""Our transformer against Hugging Face's DiTTransformer2DModel: the same function, and weights there and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel
from support.network_inputs import BESIDE, CLASSES, NONE, PROMPTS, WORDS

from ddpm_exp.models.diffusers_dit import DescribedDiT, describe, from_diffusers, network_of, to_diffusers
from ddpm_exp.models.dit import DiTNetwork
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.model import DiT

PUBLISHED: dict[str, Any] = {
    "_class_name": "Transformer2DModel",
    "_diffusers_version": "0.12.0.dev0",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": 72,
    "dropout": 0.0,
    "in_channels": 4,
    "norm_elementwise_affine": False,
    "norm_num_groups": 32,
    "norm_type": "ada_norm_zero",
    "num_attention_heads": 16,
    "num_embeds_ada_norm": 1000,
    "num_layers": 28,
    "out_channels": 8,
    "patch_size": 2,
    "sample_size": 32,
}
"""Of the published DiT-XL/2."""

SMALL = DiT(width=32, depth=3, heads=4, patch=2)
CONFIGS = {
    "small": DescribedDiT(SMALL, (3, 8, 8), 10),
    "learned variance": DescribedDiT(SMALL.but(patch=4, depth=1), (3, 8, 8), 10, outputs=2),
    "one pixel a token": DescribedDiT(SMALL.but(patch=1, heads=1, width=36), (1, 5, 5), 2),
}
every_config = pytest.mark.parametrize("described", CONFIGS.values(), ids=CONFIGS)


def woken(network: torch.nn.Module, seed: int = 3) -> torch.nn.Module:
    """The same network with weights as if it had been trained: none is zero."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def agree(ours: torch.nn.Module, theirs: torch.nn.Module, described: DescribedDiT) -> None:
    x, times, labels = torch.randn(3, *described.shape), torch.tensor([0, 7, 999]), torch.tensor([1, 0, described.classes])
    with torch.no_grad():
        found = ours(x, times.float(), {"class": labels})
        expected = theirs(x, times, class_labels=labels).sample
    assert found.shape == expected.shape
    assert (found - expected).norm() <= 1e-4 * expected.norm()
    assert expected.std() > 0.01


@every_config
def test_ours_computes_what_theirs_computes_with_our_weights(described: DescribedDiT) -> None:
    ours = woken(network_of(described))
    assert isinstance(ours, DiTNetwork)
    config, weights = to_diffusers(ours)
    theirs = DiTTransformer2DModel(**config).eval()
    theirs.load_state_dict(weights)
    agree(ours, theirs, described)


@every_config
def test_their_weights_become_ours(described: DescribedDiT) -> None:
    config, _ = to_diffusers(network_of(described))
    theirs = woken(DiTTransformer2DModel(**config), seed=4)
    for block in theirs.transformer_blocks[1:]:
        block.norm1.emb.load_state_dict(theirs.transformer_blocks[0].norm1.emb.state_dict())
    conversion = from_diffusers(theirs.state_dict(), config)
    assert conversion[1:] == ((), (), ())
    ours = network_of(describe(config))
    ours.load_state_dict(conversion.weights)
    agree(ours.eval(), theirs, described)


@every_config
def test_there_and_back_changes_no_bit(described: DescribedDiT) -> None:
    ours = woken(network_of(described))
    assert isinstance(ours, DiTNetwork)
    config, weights = to_diffusers(ours)
    assert describe(config) == described
    back = from_diffusers(weights, config)
    assert back[1:] == ((), (), ())
    assert list(back.weights) == list(ours.state_dict())
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in ours.state_dict().items())


def test_the_published_config_is_the_papers_largest_network() -> None:
    described = describe(PUBLISHED)
    assert described == DescribedDiT(DiT.XL(2), (4, 32, 32), 1000, outputs=2)
    with torch.device("meta"):
        ours = to_diffusers(network_of(described))[1]
        theirs = DiTTransformer2DModel.from_config({**PUBLISHED, "_class_name": "DiTTransformer2DModel"})
    assert {name: tuple(t.shape) for name, t in ours.items()} == {name: tuple(t.shape) for name, t in theirs.state_dict().items()}


def test_blocks_that_embed_the_time_each_in_its_own_way_are_refused() -> None:
    config, weights = to_diffusers(network_of(CONFIGS["small"]))
    weights["transformer_blocks.2.norm1.emb.timestep_embedder.linear_1.bias"] += 1
    with pytest.raises(UserError, match="once for all blocks"):
        from_diffusers(weights, config)


def test_what_does_not_fit_is_reported_by_name() -> None:
    config, weights = to_diffusers(network_of(CONFIGS["small"]))
    del weights["transformer_blocks.1.attn1.to_k.weight"], weights["proj_out_2.bias"]
    weights["somewhere.else.weight"] = torch.zeros(1)
    weights["pos_embed.proj.weight"] = torch.zeros(32, 4, 2, 2)
    back = from_diffusers(weights, config)
    assert set(back.missing) == {"blocks.1.qkv.weight", "last.bias"}
    assert set(back.unexpected) == {
        "somewhere.else.weight",
        "transformer_blocks.1.attn1.to_q.weight",
        "transformer_blocks.1.attn1.to_v.weight",
    }
    assert back.mismatched == ("first.weight: (32, 16) in the file, (32, 12) in the network",)


@pytest.mark.parametrize(
    ("spec", "inputs", "shape", "field"),
    [
        (SMALL.but(mlp_ratio=2.0), CLASSES, (3, 8, 8), "model.mlp_ratio"),
        (SMALL.but(positions="none"), CLASSES, (3, 8, 8), "model.positions"),
        (SMALL.but(time_features="fourier"), CLASSES, (3, 8, 8), "model.time_features"),
        (SMALL, CLASSES, (3, 8, 4), "data"),
        (SMALL, CLASSES, (3, 8), "data"),
        (SMALL, NONE, (3, 8, 8), "condition"),
        (SMALL, PROMPTS, (3, 8, 8), "condition"),
        (SMALL, WORDS, (3, 8, 8), "condition"),
        (SMALL, BESIDE, (3, 8, 8), "condition"),
    ],
)
def test_what_theirs_does_not_compute_is_refused(
    spec: DiT, inputs: tuple[ConditionInput, ...], shape: tuple[int, ...], field: str
) -> None:
    with pytest.raises(UserError, match="no DiTTransformer2DModel") as refusal:
        to_diffusers(DiTNetwork(spec, inputs, shape))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("activation_fn", "gelu"),
        ("norm_type", "layer_norm"),
        ("attention_bias", False),
        ("norm_elementwise_affine", True),
        ("norm_eps", 1e-3),
        ("out_channels", 9),
        ("something_new", 3),
    ],
)
def test_what_our_network_does_not_compute_is_refused(entry: str, value: object) -> None:
    with pytest.raises(UserError, match="our transformer does not compute") as refusal:
        describe({**PUBLISHED, entry: value})
    assert refusal.value.field == f"config.{entry}"
