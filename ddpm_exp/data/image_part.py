"""A part of each image: all but a hole, or all of it but small. The network draws the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ddpm_exp.data.examples import Batch
from ddpm_exp.data.parts import Draws, Part
from ddpm_exp.spec.condition import ImageCondition
from ddpm_exp.spec.errors import UserError


class ImagePart(Part):
    """float32 [B, C + 1, H, W]: what is known of the image, 0 elsewhere, then 1 where it is known. All zero is null."""

    word = "image"

    def __init__(self, condition: ImageCondition, shape: tuple[int, ...], draws: Draws) -> None:
        if len(shape) != 3:
            raise UserError(
                "an image condition shows a part of an image, and these examples are no images",
                field="condition",
                value=condition.kind,
                fix="take ClassLabels(), ContinuousValues() or Unconditional(), or a data set of images",
            )
        if condition.task == "super-resolution" and (shape[1] % condition.factor or shape[2] % condition.factor):
            raise UserError(
                f"the small image's side is the image's, {shape[1]}, divided by the factor without remainder",
                field="condition.factor",
                value=condition.factor,
                fix="take a factor that divides it, or another data.image_size",
            )
        self._spec, self._shape, self._draws, self.dropout = condition, shape, draws, condition.dropout

    @property
    def input(self) -> dict[str, Any]:
        return {"kind": "image", "by": self._spec.by, "channels": self._shape[0] + 1}

    def null(self, n: int, device: torch.device | str) -> Tensor:
        channels, height, width = self._shape
        return torch.zeros(n, channels + 1, height, width, device=device)

    def train(self, batch: Batch, seed: int, ordinals: Tensor) -> Tensor:
        hidden = self._draws.hidden(seed, ordinals, self.dropout)[:, None, None, None]
        if self._spec.task == "super-resolution":
            return self._small(batch.x0).masked_fill(hidden, 0.0)
        drawn = self._draws(seed, "hole", ordinals, 4)
        low, high = self._spec.hole
        mask = self._outside(low + (high - low) * drawn[:, :2], drawn[:, 2:])
        return _known(batch.x0, mask).masked_fill(hidden, 0.0)

    def fixed(self, batch: Batch, device: torch.device | str, held_out: bool, turns: Tensor | None) -> Tensor:
        x0 = batch.x0.to(device)
        return self._small(x0) if self._spec.task == "super-resolution" else _known(x0, self.middle(len(x0), device))

    def middle(self, n: int, device: torch.device | str) -> Tensor:
        """float32 [n, 1, H, W]: 0 in the hole that evaluation takes, of mean size and in the middle; 1 outside."""
        share = torch.full((n, 2), sum(self._spec.hole) / 2, device=device)
        return self._outside(share, torch.full((n, 2), 0.5, device=device))

    def texts(self, batch: Batch, held_out: bool, turns: Tensor | None) -> list[str]:
        return [""] * len(batch.x0)

    def said(self, n: int, device: torch.device | str, said: Any) -> Tensor:
        """`said`: (image [n or 1, C, H, W] in [-1, 1], mask [n or 1, 1, H, W], 1 where known); for super-resolution the image
        may be the small one, and the mask is None."""
        x0, mask = said
        channels, height, width = self._shape
        if self._spec.task == "super-resolution":
            sizes = [(height, width), (height // self._spec.factor, width // self._spec.factor)]
            self._check(x0, channels, sizes)
            x0 = x0.to(device).float()
            grown = x0.shape[-2:] != (height, width)
            return self._small(self._grow(x0) if grown else x0).expand(n, -1, -1, -1)
        if mask is None:
            raise UserError(
                "inpainting needs a mask, 1 where the image is known", field="image", fix="give (image, mask), the mask 1xHxW"
            )
        self._check(x0, channels, [(height, width)])
        self._check(mask, 1, [(height, width)])
        known = (mask.to(device) > 0.5).float()
        return _known(x0.to(device).float(), known).expand(n, -1, -1, -1)

    def _check(self, x: Tensor, channels: int, sizes: list[tuple[int, int]]) -> None:
        if x.dim() != 4 or x.shape[1] != channels or tuple(x.shape[2:]) not in sizes:
            wanted = " or ".join(f"{channels}x{height}x{width}" for height, width in sizes)
            raise UserError(
                f"it has {wanted} numbers, not {'x'.join(map(str, x.shape[1:]))}",
                field="image",
                fix="resize it to the images of the data",
            )

    def _outside(self, share: Tensor, place: Tensor) -> Tensor:
        """float32 [B, 1, H, W]: 0 in a rectangle. `share` [B, 2]: its height and width as shares of the image's; `place` [B, 2]
        in [0, 1]: from the top and left end of where it can lie to the other."""
        inside = []
        for axis, size in enumerate(self._shape[1:]):
            extent = (share[:, axis] * size).round().clamp(1, size)
            first = (place[:, axis] * (size - extent + 1)).floor().minimum(size - extent)
            pixels = torch.arange(size, device=share.device)
            inside.append((pixels >= first[:, None]) & (pixels < (first + extent)[:, None]))
        return (~(inside[0][:, None, :, None] & inside[1][:, None, None, :])).float()

    def _small(self, x0: Tensor) -> Tensor:
        """Means over squares of `factor` pixels, at full size again, and a channel of ones."""
        small = self._grow(functional.avg_pool2d(x0, self._spec.factor))
        return torch.cat([small, torch.ones_like(small[:, :1])], dim=1)

    def _grow(self, small: Tensor) -> Tensor:
        return small.repeat_interleave(self._spec.factor, dim=2).repeat_interleave(self._spec.factor, dim=3)


def _known(x0: Tensor, mask: Tensor) -> Tensor:
    return torch.cat([x0 * mask, mask.expand(len(x0), -1, -1, -1)], dim=1)
