"""Our transformer's weights as Hugging Face's `DiTTransformer2DModel` names them, and back. diffusers itself is not needed.

The two are the same function where both exist: of square images with classes, at whole or real times. Each of their blocks
holds an embedding of time and class of its own, and in files these are copies of each other; ours is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddpm_exp.models.diffusers_unet import CLASS_TABLE, Conversion
from ddpm_exp.models.dit import NORM_EPS, DiTNetwork
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.model import DiT

_PARTS = (
    (r"time\.network\.0\.", "transformer_blocks.{block}.norm1.emb.timestep_embedder.linear_1."),
    (r"time\.network\.2\.", "transformer_blocks.{block}.norm1.emb.timestep_embedder.linear_2."),
    (re.escape(CLASS_TABLE.removesuffix("weight")), "transformer_blocks.{block}.norm1.emb.class_embedder.embedding_table."),
    (r"first\.", "pos_embed.proj."),
    (r"blocks\.(\d+)\.modulation\.", r"transformer_blocks.\1.norm1.linear."),
    (r"blocks\.(\d+)\.qkv\.", r"transformer_blocks.\1.attn1.to_{qkv}."),
    (r"blocks\.(\d+)\.merge\.", r"transformer_blocks.\1.attn1.to_out.0."),
    (r"blocks\.(\d+)\.network\.0\.", r"transformer_blocks.\1.ff.net.0.proj."),
    (r"blocks\.(\d+)\.network\.3\.", r"transformer_blocks.\1.ff.net.2."),
    (r"last_modulation\.", "proj_out_1."),
    (r"last\.", "proj_out_2."),
)
"""Where parts are: ours as a pattern, theirs. `{block}`: a copy in each block. `{qkv}`: three maps that are one of ours."""

_DEFAULTS: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "num_layers": 28,
    "dropout": 0.0,
    "norm_num_groups": 32,
    "attention_bias": True,
    "sample_size": 32,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "upcast_attention": False,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-5,
}
"""What `DiTTransformer2DModel` takes where its config is silent. It has no group norm, whatever norm_num_groups is."""

_FIXED: dict[str, tuple[Any, ...]] = {
    "attention_bias": (True,),
    "activation_fn": ("gelu-approximate",),
    "norm_type": ("ada_norm_zero",),
    "norm_elementwise_affine": (False,),
    # The published files say 1e-5, of one norm in each block; the paper's code has 1e-6. Of activations of variance 1 that
    # is a difference of 5e-6.
    "norm_eps": (NORM_EPS, 1e-5),
}
"""Values that our transformer can compute."""


class DescribedDiT(NamedTuple):
    """A transformer with all that its weights' shapes depend on."""

    model: DiT
    shape: tuple[int, ...]
    classes: int
    outputs: int = 1


def describe(config: Mapping[str, Any]) -> DescribedDiT:
    """Our network that computes what a `DiTTransformer2DModel` of this config does; private keys (`_class_name`) are ignored.

    Raises UserError, naming the entry, if our transformer cannot compute the same.
    """
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    for name in sorted(given.keys() - _DEFAULTS.keys()):
        raise _unknown(name, given[name], "DiTTransformer2DModel has no such entry that we know")
    full = {**_DEFAULTS, **given}
    for name, taken in _FIXED.items():
        if full[name] not in taken:
            raise _unknown(name, full[name], f"our transformer computes {' or '.join(map(repr, taken))} alone")
    channels, side = full["in_channels"], full["sample_size"]
    out = full["out_channels"] or channels
    if out not in (channels, 2 * channels):
        raise _unknown("out_channels", out, "our transformer returns as many channels as it takes, or twice as many")
    model = DiT(
        width=full["num_attention_heads"] * full["attention_head_dim"],
        depth=full["num_layers"],
        heads=full["num_attention_heads"],
        patch=full["patch_size"],
        dropout=float(full["dropout"]),
    )
    return DescribedDiT(model, (channels, side, side), full["num_embeds_ada_norm"], out // channels)


def network_of(described: DescribedDiT) -> DiTNetwork:
    """A fresh network as a config describes it, with weights from torch's global generator."""
    inputs = (ConditionInput("class", "embedding", classes=described.classes),)
    return DiTNetwork(described.model, inputs, described.shape, outputs=described.outputs)


def to_diffusers(network: DiTNetwork) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the state dict of a `DiTTransformer2DModel` that computes what `network` does.

    Labels are the same; the last of theirs too is "no class said". In training theirs hides labels by itself, so compare in
    evaluation.

    Raises UserError, naming the field, where no `DiTTransformer2DModel` computes the same.
    """
    config = _config_of(network)
    weights: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        theirs = _their_names(name, network.spec.depth)
        parts = tensor.chunk(3) if ".qkv." in name else (_their_layout(name, tensor, network.patch),) * len(theirs)
        weights.update((one, part.clone()) for one, part in zip(theirs, parts, strict=True))
    return config, weights


def from_diffusers(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> Conversion:
    """Weights for the network that `describe(config)` describes, from a file of `DiTTransformer2DModel`. What does not fit is
    reported, never guessed.

    Raises UserError where our transformer cannot compute what `config` says, or blocks embed time or class each in its own way.
    """
    described = describe(config)
    with torch.device("meta"):
        ours = network_of(described).state_dict()
    left = dict(state_dict)
    weights: dict[str, Tensor] = {}
    missing, mismatched = [], []
    for name, place in ours.items():
        sources = _their_names(name, described.model.depth)
        if not all(source in left for source in sources):
            missing.append(name)
            continue
        parts = [left.pop(source) for source in sources]
        if ".qkv." in name:
            parts = [torch.cat(parts)]
        for source, part in zip(sources, parts[1:], strict=False):
            if not torch.equal(part, parts[0]):
                raise UserError(
                    "our transformer embeds time and class once for all blocks, and the blocks of this file differ",
                    field="weights",
                    value=source,
                    fix="load it with diffusers, or choose another file",
                )
        found = _our_layout(name, parts[0])
        if found.shape != place.shape:
            mismatched.append(f"{name}: {tuple(found.shape)} in the file, {tuple(place.shape)} in the network")
        else:
            weights[name] = found
    return Conversion(weights, tuple(missing), tuple(left), tuple(mismatched))


def _config_of(network: DiTNetwork) -> dict[str, Any]:
    spec, (channels, *sizes) = network.spec, network.shape
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        raise _refused("data", network.shape, "it draws square images alone")
    fixed: dict[str, Any] = {"mlp_ratio": 4.0, "positions": "auto", "time_features": "sinusoidal"}
    for field, taken in fixed.items():
        if getattr(spec, field) != taken:
            raise _refused(f"model.{field}", getattr(spec, field), f"only {taken!r} is there too")
    told = [f"{part.kind} by {part.by}" for part in network.inputs]
    if told != ["class by embedding"]:
        raise _refused("condition", ", ".join(told) or "none", "it is told a class, by embedding, and nothing else")
    return {
        **_DEFAULTS,
        "num_attention_heads": spec.heads,
        "attention_head_dim": spec.width // spec.heads,
        "in_channels": channels,
        "out_channels": network.outputs * channels,
        "num_layers": spec.depth,
        "dropout": spec.dropout,
        "sample_size": sizes[0],
        "patch_size": spec.patch,
        "num_embeds_ada_norm": network.inputs[0].classes,
        "norm_eps": NORM_EPS,
    }


def _their_names(name: str, depth: int) -> list[str]:
    for pattern, replacement in _PARTS:
        place = re.match(pattern, name)
        if place is not None:
            theirs = place.expand(replacement) + name[place.end() :]
            if "{block}" in theirs:
                return [theirs.format(block=block) for block in range(depth)]
            return [theirs.format(qkv=part) for part in "qkv"] if "{qkv}" in theirs else [theirs]
    raise KeyError(f"no DiTTransformer2DModel has a {name}")


def _their_layout(name: str, tensor: Tensor, patch: int) -> Tensor:
    """Patches are a convolution there; of the noise level, cosines come before sines."""
    if name == "first.weight":
        return tensor.reshape(len(tensor), -1, patch, patch)
    return tensor.roll(tensor.shape[1] // 2, dims=1) if name == "time.network.0.weight" else tensor


def _our_layout(name: str, tensor: Tensor) -> Tensor:
    if name == "first.weight":
        return tensor.flatten(1)
    return tensor.roll(tensor.shape[1] // 2, dims=1) if name == "time.network.0.weight" else tensor


def _refused(field: str, value: object, why: str) -> UserError:
    return UserError(
        f"no DiTTransformer2DModel computes this network: {why}", field=field, value=value, fix="export it in our own form"
    )


def _unknown(name: str, value: object, why: str) -> UserError:
    return UserError(
        f"our transformer does not compute this DiTTransformer2DModel: {why}",
        field=f"config.{name}",
        value=value,
        fix="load it with diffusers, or choose another file",
    )
