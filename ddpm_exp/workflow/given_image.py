"""An image file of a user's own, with its mask, checked before anything is drawn from it. Knows no sampler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ddpm_exp.data.square import square_pixels
from ddpm_exp.spec.condition import ImageCondition, parts_of
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.asking import Asked
from ddpm_exp.workflow.loaded_run import LoadedRun
from ddpm_exp.workflow.samples import Samples

GREY = 0.25
"""Largest share of a mask that may be neither black nor white. Smooth edges are; a photograph is more."""


def draw_from_image(
    loaded: LoadedRun,
    n: int,
    image: str,
    mask: str | None,
    *,
    condition: Asked,
    resamples: int | None,
    seed: int,
    sampling: Sampling,
) -> Samples:
    """`n` drawings from one image file; see `read_given`. `resamples`: for RePaint alone."""
    pixels, known = read_given(loaded, image, mask)
    same = pixels.expand(n, -1, -1, -1)
    if known is None:
        return loaded.upscale(same, condition=condition, seed=seed, sampling=sampling)
    led = {} if resamples is None else {"resamples": resamples}
    return loaded.restore(same, known, condition=condition, seed=seed, sampling=sampling, **led)


def read_given(loaded: LoadedRun, image: str, mask: str | None) -> tuple[Tensor, Tensor | None]:
    """(uint8 [C, H, W], bool [H, W] True where it is known) at the size and in the channels of the run's images.

    `image` and `mask` are files that Pillow reads, of one size; the largest centred square of each is resized. For
    super-resolution the mask is None, and an image smaller than the run's comes at the small size. Raises `UserError` for a
    network without images, a file that cannot be read, sizes that differ, and a mask that is missing, not black and white, or
    leaves nothing to draw or nothing to keep.
    """
    if loaded.codec is not None:
        raise UserError("this network draws no images", field="--image", value=image, fix="leave --image out")
    channels, side, _ = loaded.facts.shape
    upscales = loaded.image_task == "super-resolution"
    if upscales and mask is not None:
        raise UserError(
            "this network makes small images large, and takes no mask", field="--mask", value=mask, fix="leave --mask out"
        )
    if not upscales and mask is None:
        raise UserError("is missing: what of the image is known", field="--mask", fix="give --mask FILE, white where it is known")
    size = _size("--image", image)
    if upscales and min(size) < side:
        side //= next(part.factor for part in parts_of(loaded.experiment.condition) if isinstance(part, ImageCondition))
    pixels = torch.from_numpy(_pixels("--image", image, side, channels))
    if mask is None:
        return pixels, None
    other = _size("--mask", mask)
    if other != size:
        raise UserError(
            f"it is {_times(other)} pixels and the image is {_times(size)}",
            field="--mask",
            value=mask,
            fix="make both the same size",
        )
    return pixels, torch.from_numpy(_known(mask, side))


def _known(mask: str, side: int) -> NDArray[np.bool_]:
    light = _pixels("--mask", mask, side, 1)[0]
    grey = float(((light >= 64) & (light < 192)).mean())
    if grey > GREY:
        raise UserError(
            f"a mask is black and white, and {grey:.0%} of this one is grey",
            field="--mask",
            value=mask,
            fix="paint it white where the image is known and black where it is to be drawn",
        )
    known: NDArray[np.bool_] = light >= 128
    if known.all():
        raise UserError(
            f"at the network's {side}x{side} pixels nothing of it is black, so nothing is left to draw",
            field="--mask",
            value=mask,
            fix="paint black what is to be drawn, inside the largest centred square",
        )
    if not known.any():
        raise UserError(
            f"at the network's {side}x{side} pixels nothing of it is white, so nothing of the image is known",
            field="--mask",
            value=mask,
            fix="paint white what is known; or leave --image and --mask out",
        )
    return known


def _size(field: str, file: str) -> tuple[int, int]:
    """Width and height, upright."""
    try:
        with Image.open(Path(file).expanduser()) as opened:
            return ImageOps.exif_transpose(opened).size
    except Exception as error:  # as below
        raise _unreadable(field, file, error) from None


def _pixels(field: str, file: str, side: int, channels: int) -> NDArray[np.uint8]:
    try:
        return square_pixels(Path(file).expanduser(), side, channels)
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise _unreadable(field, file, error) from None


def _unreadable(field: str, file: str, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"there is no such file (seen from {Path.cwd()})", field=field, value=file, fix="name an image file")
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        why = "no format that Pillow knows"
    return UserError(f"it cannot be read as an image ({why})", field=field, value=file, fix="name a PNG, JPEG or other image file")


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
