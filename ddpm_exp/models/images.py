"""What networks ask of their inputs: an image's shape, the condition's presence, its channels beside the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddpm_exp.models.conditions import Encoded


def image_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Channels and height of an image's shape (channels, height, width).

    Raises ValueError for a shape of another family.
    """
    if len(shape) != 3:
        raise ValueError(f"this network draws images, of three sizes (channels, height, width), not examples of shape {shape}")
    return shape[0], shape[1]


def beside(x: Tensor, channels: Tensor | None) -> Tensor:
    """x [B, C, *places], followed by a condition's channels: [B, C', *places] as they are, [B, C'] the same at every place."""
    if channels is None:
        return x
    if channels.dim() == 2:
        channels = channels[(..., *[None] * (x.dim() - 2))].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, channels.to(x.dtype)], dim=1)


def told_by(encoder: nn.Module | None, condition: dict[str, Tensor] | None) -> Encoded:
    """What `encoder` makes of the condition; nothing, if the network was built without one.

    Raises ValueError if one of the two is there without the other: the condition would be ignored.
    """
    if (condition is None) != (encoder is None):
        raise ValueError("this network was built without a condition" if encoder is None else "this network needs its condition")
    if encoder is None:
        return Encoded(None, None, None, None)
    told: Encoded = encoder(condition)
    return told
