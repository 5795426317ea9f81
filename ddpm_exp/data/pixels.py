"""The one boundary between 8-bit pixels and the model's range [-1, 1]. No resizing, no normalisation by statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from ddpm_exp.spec.errors import RunError


def to_model_range(pixels: Tensor) -> Tensor:
    """uint8 0..255 of any shape to float32 in [-1, 1]: x / 127.5 - 1 (Ho et al. 2020, section 3.3)."""
    if pixels.dtype != torch.uint8:
        raise TypeError(f"pixels are uint8 0..255, not {pixels.dtype}")
    return pixels.to(torch.float32) / 127.5 - 1.0


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [-1, 1] to uint8: clamped to the range and rounded to the nearest level, never truncated."""
    return ((images.to(torch.float32).clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)


def assert_model_range(images: Tensor) -> None:
    """Raise RunError unless every value is one of the 256 levels k / 127.5 - 1 that 8-bit pixels have in [-1, 1].

    That settles the usual mistakes exactly, without guessing from minimum or mean: pixels left in 0..255 or normalised
    twice leave the range, and pixels in [0, 1] fall between levels (black would be 0.0, which is no level).
    Waits for the device; meant for the first batch.
    """
    low, high = (float(value) for value in torch.aminmax(images.to(torch.float32)))
    if not (low >= -1.0 and high <= 1.0):
        raise _wrong(f"they reach from {low:g} to {high:g}")
    level = (images.to(torch.float32) + 1.0) * 127.5
    between = (level - level.round()).abs() > 1e-3
    if bool(between.any()):
        raise _wrong(f"{float(between.float().mean()):.0%} of them lie between two levels, as in images scaled to [0, 1]")


def assert_finite(x: Tensor) -> None:
    """Raise RunError unless every number of scaled, non-image data is finite. Waits for the device; meant for the first batch."""
    if not bool(torch.isfinite(x).all()):
        raise RunError("training examples hold numbers that are not finite", field="data", fix="clean the data's file")


def _wrong(what: str) -> RunError:
    return RunError(
        f"training images are the 256 levels of 8-bit pixels scaled to [-1, 1], but {what}",
        field="data",
        fix="pass images through to_model_range once, and through nothing else that changes their range",
    )
