"""From a model's spec to its network: the one door into this room. Knows nothing of diffusion, data or devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from ddpm_exp.models.conditions import ClassFeatures
from ddpm_exp.models.text import TextEncoder
from ddpm_exp.models.unet import UNetNetwork
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.model import UNet


@dataclass(frozen=True)
class ConditionSize:
    """How large the network's view of its condition is. Fields that a kind does not use stay 0."""

    kind: Literal["none", "class", "prompt"]
    classes: int = 0
    """Number of classes; label `classes` is the null label."""

    vocabulary: int = 0
    """Number of token ids: 0 is padding, 1 an unknown word."""

    length: int = 0
    """Tokens per prompt, padding included."""

    width: int = 0
    """Features per token."""

    layers: int = 0
    """Transformer layers of the text encoder."""


def build_network(model: UNet, condition: ConditionSize, shape: Shape) -> nn.Module:
    """A network with forward(x, c_noise, condition) -> [B, C, H, W], of fresh weights from torch's global generator.

    x: [B, C, H, W] as `shape` says. c_noise: float [B], also between whole indices. condition: None for kind "none",
    int64 labels [B] for "class", int64 token ids [B, length] for "prompt".
    """
    encoder: nn.Module | None = None
    if condition.kind == "class":
        encoder = ClassFeatures(condition.classes, model.time_embedding)
    elif condition.kind == "prompt":
        encoder = TextEncoder(
            vocabulary=condition.vocabulary,
            length=condition.length,
            width=condition.width,
            layers=condition.layers,
            out=model.time_embedding,
        )
    return UNetNetwork(model, shape, encoder)
