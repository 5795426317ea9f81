"""Images that stay in their files until they are asked for: where each lies, and its decoding. Labels are in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddpm_exp.data.examples import Examples
from ddpm_exp.data.square import square_pixels


class DamagedError(Exception):
    """An image that cannot be decoded; says which and why."""


class Entry(NamedTuple):
    """Where one image's file lies."""

    file: int
    """Place in `Stored.files`."""

    offset: int
    """First byte."""

    size: int
    """Bytes."""


@dataclass(frozen=True)
class Stored:
    """Some images in a fixed order."""

    files: tuple[Path, ...]
    entries: Tensor
    """int64 [N, 3], an `Entry` each."""

    names: tuple[str, ...]
    """What to call each image in an error."""

    shape: tuple[int, int, int]
    """Channels, height and width after decoding; height and width agree."""

    labels: Tensor | None
    """int64 [N]."""

    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of all images, decoded."""
        return len(self) * int(np.prod(self.shape))

    def take(self, indices: Tensor) -> Stored:
        """The images at `indices` (int64 [K]), in that order."""
        labels = None if self.labels is None else self.labels[indices]
        names = tuple(self.names[index] for index in indices.tolist())
        return Stored(self.files, self.entries[indices], names, self.shape, labels, self.class_names)

    def pixels(self, index: int) -> Tensor:
        """uint8 [C, H, W] of one image. Raises DamagedError."""
        file, offset, size = self.entries[index].tolist()
        try:
            with self.files[file].open("rb") as opened:
                opened.seek(offset)
                encoded = opened.read(size)
            return torch.from_numpy(square_pixels(io.BytesIO(encoded), self.shape[1], self.shape[0]))
        except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
            raise DamagedError(f"{self.names[index]} ({str(error) or type(error).__name__})") from error

    def decode(self, indices: Tensor) -> Tensor:
        """uint8 [B, C, H, W] of the images at `indices`. Raises DamagedError."""
        return torch.stack([self.pixels(index) for index in indices.tolist()])

    def examples(self, pixels: Tensor) -> Examples:
        """These images, decoded to `pixels`, in memory."""
        return Examples(pixels, self.labels, self.class_names)
