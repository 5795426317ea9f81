"""Examples in memory: images as 8-bit pixels, all else scaled numbers; labels, class names, values and their fingerprint.
Not where they come from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddpm_exp.data.codec import Codec
from ddpm_exp.data.pixels import to_model_range

if TYPE_CHECKING:
    from ddpm_exp.data.stored import Stored


class Batch(NamedTuple):
    """Examples as a network sees them, on one device."""

    x0: Tensor
    """float32 [B, *shape]: images in [-1, 1], all else scaled as the codec says."""

    labels: Tensor | None
    """int64 [B]; None where the data has no classes."""

    values: Tensor | None
    """float32 [B, K], standardised, NaN where one is missing; None where the condition asks for none."""


@dataclass(frozen=True)
class Examples:
    """Some examples of one shape, in a fixed order."""

    x: Tensor
    """On the CPU: images uint8 [N, C, H, W], 0 black to 255; all else float32 [N, *shape], scaled."""

    labels: Tensor | None
    """int64 [N], indices into `class_names`; None where the data has no classes."""

    class_names: tuple[str, ...]
    """Empty where the data has no classes."""

    values: Tensor | None = None
    """float32 [N, K], standardised by the training examples; NaN where a value is missing. None without values."""

    value_names: tuple[str, ...] = ()
    """Name of each of the K values."""

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: Tensor) -> Examples:
        """The examples at `indices` (int64 [K]), in that order."""
        labels = None if self.labels is None else self.labels[indices]
        values = None if self.values is None else self.values[indices]
        return Examples(self.x[indices].contiguous(), labels, self.class_names, values, self.value_names)

    def batch(self, indices: Tensor | slice, device: torch.device | str = "cpu") -> Batch:
        """The examples at `indices` as a network sees them, never mirrored."""
        x = self.x[indices].to(device)
        labels = None if self.labels is None else self.labels[indices].to(device)
        values = None if self.values is None else self.values[indices].to(device)
        return Batch(to_model_range(x) if x.dtype == torch.uint8 else x, labels, values)


@dataclass(frozen=True)
class Facts:
    """What conditions have to know of the data; survives without it, as JSON."""

    shape: tuple[int, ...]
    """Sizes of one example."""

    class_names: tuple[str, ...] = ()
    """Empty where the data has no classes."""

    value_names: tuple[str, ...] = ()
    """The values that the condition asks for."""

    value_means: tuple[float, ...] = ()
    """Mean of each value over the training examples, in its own unit."""

    value_stds: tuple[float, ...] = ()
    """Standard deviation of each, likewise."""

    def to_json(self) -> dict[str, Any]:
        """Plain lists, strings and numbers."""
        return {name: list(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Facts:
        """The inverse of `to_json`."""
        return cls(**{name: tuple(found) for name, found in facts.items()})


@dataclass(frozen=True)
class Splits:
    """What is trained on and what is held out."""

    train: Examples
    held_out: Examples
    fingerprint: str
    """16 hexadecimal digits that agree exactly where data, labels, class names and order of both sets agree."""

    codec: Codec | None = None
    """Undoes the scaling, writes files of samples; None for images."""

    facts: Facts = field(default_factory=lambda: Facts(()))
    """What conditions have to know."""

    stored: Stored | None = None
    """All training images, where they stay in their files; `train` and `held_out` are then the first so many."""

    place: str | None = None
    """Where the training images are and why, where there was a choice."""

    @property
    def training_images(self) -> int:
        """Examples in one epoch."""
        return len(self.train if self.stored is None else self.stored)


def split(train: Examples, held_out: Examples, facts: Facts | None = None, also: bytes = b"") -> Splits:
    """The two sets of images with their fingerprint, over the pixels and the bytes `also`."""
    digest = hashlib.sha256()
    for part in (train, held_out):
        if part.x.dtype != torch.uint8 or part.x.ndim != 4:
            raise TypeError(f"images are uint8 [N, C, H, W], not {part.x.dtype} {tuple(part.x.shape)}")
        head = {"shape": list(part.x.shape), "classes": part.class_names, "labelled": part.labels is not None}
        digest.update(json.dumps(head, sort_keys=True).encode() + b"\n")
        digest.update(part.x.contiguous().numpy().data)
        _add_labels(digest, part)
    digest.update(also)
    known = Facts(tuple(train.x.shape[1:]), train.class_names) if facts is None else facts
    return Splits(train, held_out, digest.hexdigest()[:16], None, known)


def split_scaled(
    train: Examples,
    held_out: Examples,
    raw: tuple[NDArray[np.float64], NDArray[np.float64]],
    raw_values: tuple[str, ...],
    codec: Codec,
    facts: Facts,
) -> Splits:
    """Two sets of scaled examples. Their fingerprint is over `raw`, the numbers before scaling, [N, ...]: scaled
    ones may differ in the last bit between machines. `raw_values` names the values among them."""
    digest = hashlib.sha256()
    for part, numbers in zip((train, held_out), raw, strict=True):
        head = {
            "shape": list(numbers.shape),
            "classes": part.class_names,
            "labelled": part.labels is not None,
            "values": raw_values,
            "columns": codec.columns,
        }
        digest.update(json.dumps(head, sort_keys=True).encode() + b"\n")
        digest.update(np.ascontiguousarray(numbers, dtype="<f8").data)
        _add_labels(digest, part)
    return Splits(train, held_out, digest.hexdigest()[:16], codec, facts)


def _add_labels(digest: Any, part: Examples) -> None:
    if part.labels is not None:
        digest.update(part.labels.contiguous().numpy().astype("<i8").data)
