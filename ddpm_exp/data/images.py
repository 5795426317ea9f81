"""Images in memory as published: 8-bit pixels, labels, class names and their fingerprint. Not where they come from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """Some images of one size, in a fixed order."""

    images: Tensor
    """uint8 [N, C, H, W] on the CPU, 0 black to 255."""

    labels: Tensor | None
    """int64 [N], indices into `class_names`; None where the data has no classes."""

    class_names: tuple[str, ...]
    """Empty where the data has no classes."""

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor) -> ImageSet:
        """The images at `indices` (int64 [K]), in that order."""
        labels = None if self.labels is None else self.labels[indices]
        return ImageSet(self.images[indices].contiguous(), labels, self.class_names)


@dataclass(frozen=True)
class Splits:
    """What is trained on and what is held out."""

    train: ImageSet
    held_out: ImageSet
    fingerprint: str
    """16 hexadecimal digits that agree exactly where pixels, labels, class names and order of both sets agree."""


def split(train: ImageSet, held_out: ImageSet) -> Splits:
    """The two sets with their fingerprint."""
    digest = hashlib.sha256()
    for part in (train, held_out):
        if part.images.dtype != torch.uint8 or part.images.ndim != 4:
            raise TypeError(f"images are uint8 [N, C, H, W], not {part.images.dtype} {tuple(part.images.shape)}")
        head = {"shape": list(part.images.shape), "classes": part.class_names, "labelled": part.labels is not None}
        digest.update(json.dumps(head, sort_keys=True).encode() + b"\n")
        digest.update(part.images.contiguous().numpy().data)
        if part.labels is not None:
            digest.update(part.labels.contiguous().numpy().astype("<i8").data)
    return Splits(train, held_out, digest.hexdigest()[:16])
