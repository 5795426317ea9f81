"""One image file to a square of 8-bit pixels: colour, orientation, size. Not which files, nor what they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def square_pixels(path: Path | BinaryIO, side: int, channels: int) -> NDArray[np.uint8]:
    """uint8 [channels, side, side] of the image at `path` (or in an open file), upright by its EXIF tag.

    The largest centred square is resized with Pillow's antialiased Lanczos filter. Transparent parts are laid on white,
    16-bit values are scaled to 8 bits. Raises whatever Pillow's decoder raises.
    """
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        image = _in_mode(_eight_bit(image), "L" if channels == 1 else "RGB")
        square = ImageOps.fit(image, (side, side), method=Image.Resampling.LANCZOS, centering=(0.5, 0.5))
    pixels: NDArray[np.uint8] = np.array(square, dtype=np.uint8).reshape(side, side, channels).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels)


def _eight_bit(image: Any) -> Any:
    """A 16-bit grey image scaled to 8 bits: Pillow's own `convert` would clip everything above 255 to white."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.clip(np.asarray(image).astype(np.float64), 0, 65535)
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    return image


def _in_mode(image: Any, mode: str) -> Any:
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
