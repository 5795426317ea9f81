"""Our U-Net's weights as Hugging Face's `UNet2DModel` names them, and back. Maps names alone: diffusers itself is not needed.

The two are the same function where both exist: time t of theirs is our c_noise, an index 0..T - 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddpm_exp.models.diffusers_config import Described, config_of, describe
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.models.unet import UNetNetwork
from ddpm_exp.spec.errors import UserError

CLASS_TABLE = "condition.class_part.embedding.weight"

_PARTS = (
    (r"first\.", "conv_in."),
    (r"time\.network\.0\.", "time_embedding.linear_1."),
    (r"time\.network\.2\.", "time_embedding.linear_2."),
    (r"time\.features\.table\.", "time_proj."),
    (r"(down|up)\.(\d+)\.(\d+)\.residual\.", r"\1_blocks.\2.resnets.\3."),
    (r"(down|up)\.(\d+)\.(\d+)\.attention\.", r"\1_blocks.\2.attentions.\3."),
    (r"middle\.(\d+)\.residual\.", r"mid_block.resnets.\1."),
    (r"middle\.(\d+)\.attention\.", r"mid_block.attentions.\1."),
    (r"halvings\.(\d+)\.", r"down_blocks.\1.downsamplers.0."),
    (r"doublings\.(\d+)\.", r"up_blocks.\1.upsamplers.0."),
    (r"last_norm\.", "conv_norm_out."),
    (r"last\.", "conv_out."),
    (re.escape(CLASS_TABLE.removesuffix("weight")), "class_embedding."),
)
"""Where the parts of a network are: ours as a pattern, theirs."""

_WITHIN: dict[str, dict[str, tuple[str, ...]]] = {
    "resnets": {"embedding": ("time_emb_proj",), "shortcut": ("conv_shortcut",)},
    "attentions": {"norm": ("group_norm",), "qkv": ("to_q", "to_k", "to_v"), "merge": ("to_out.0",)},
}
"""What parts of a block are called in theirs, where it is not what ours are called. Our queries, keys and values are one map."""

_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Attention's maps in files of before diffusers 0.15, such as the published google/ddpm-cifar10-32."""


class Conversion(NamedTuple):
    """Weights for our network, and what could not be placed."""

    weights: dict[str, Tensor]
    missing: tuple[str, ...]
    """Our names for which the file has nothing."""

    unexpected: tuple[str, ...]
    """The file's names that our network has no place for."""

    mismatched: tuple[str, ...]
    """Our names, with both shapes, where the shapes differ."""


def to_diffusers(network: UNetNetwork) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the state dict of a `UNet2DModel` that computes what `network` does.

    `UNet2DModel(**config).load_state_dict(weights)` takes both. Labels of a network with classes are the same; the last of
    theirs is "no class said". Weights share memory with the network's, but for attention's.

    Raises UserError where no `UNet2DModel` computes the same.
    """
    config = config_of(_described(network))
    weights: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        theirs = _their_names(name)
        weights.update(zip(theirs, (part.clone() for part in tensor.chunk(3)) if len(theirs) == 3 else (tensor,), strict=True))
    return config, weights


def from_diffusers(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> Conversion:
    """Weights for the network that `diffusers_config.describe(config)` describes, from a file of `UNet2DModel`.

    Names of attention before and after diffusers 0.15 are understood. What does not fit is reported, never guessed.

    Raises UserError where our U-Net cannot compute what `config` says.
    """
    described = describe(config)
    with torch.device("meta"):
        ours = network_of(described).state_dict()
    theirs = {_new_name(name): (name, tensor) for name, tensor in state_dict.items()}
    weights: dict[str, Tensor] = {}
    missing, mismatched = [], []
    for name, place in ours.items():
        sources = _their_names(name)
        if not all(source in theirs for source in sources):
            missing.append(name)
            continue
        parts = [theirs.pop(source)[1] for source in sources]
        found = torch.cat(parts) if len(parts) > 1 else parts[0]
        if found.shape != place.shape:
            mismatched.append(f"{name}: {tuple(found.shape)} in the file, {tuple(place.shape)} in the network")
        else:
            weights[name] = found
    return Conversion(weights, tuple(missing), tuple(name for name, _ in theirs.values()), tuple(mismatched))


def network_of(described: Described) -> UNetNetwork:
    """A fresh network as a config describes it, with weights from torch's global generator."""
    inputs = (ConditionInput("class", "embedding", classes=described.classes),) if described.classes else ()
    return UNetNetwork(described.model, inputs, described.shape, outputs=described.outputs, timesteps=described.timesteps)


def _described(network: UNetNetwork) -> Described:
    """Raises UserError for conditions that a `UNet2DModel` has no place for."""
    for part in network.inputs:
        if part.kind != "class" or part.by != "embedding":
            raise UserError(
                "a UNet2DModel is told nothing but the time and, by embedding, a class",
                field="condition",
                value=f"{part.kind} by {part.by}",
                fix="export it in our own form",
            )
    classes = network.inputs[0].classes if network.inputs else 0
    return Described(network.spec, network.shape, network.outputs, network.timesteps, classes)


def _their_names(name: str) -> tuple[str, ...]:
    for pattern, replacement in _PARTS:
        place = re.match(pattern, name)
        if place is None:
            continue
        head, rest = place.expand(replacement), name[place.end() :]
        part, _, parameter = rest.rpartition(".")
        within = next((names for kind, names in _WITHIN.items() if f".{kind}." in head), {})
        return tuple(f"{head}{theirs}.{parameter}".replace("..", ".") for theirs in within.get(part, (part,)))
    raise KeyError(f"no UNet2DModel has a {name}")


def _new_name(name: str) -> str:
    head, _, rest = name.rpartition(".attentions.")
    if not head:
        return name
    number, part, parameter = rest.split(".", 1)[0], rest.split(".", 1)[1].rpartition(".")[0], rest.rpartition(".")[2]
    return f"{head}.attentions.{number}.{_OLD_NAMES.get(part, part)}.{parameter}"
