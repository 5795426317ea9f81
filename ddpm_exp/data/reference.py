"""What sampling needs of the training data: its mean, its range and some of its examples. Kept with the run, so that drawing from
it needs no data set."""

from __future__ import annotations

from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor

from ddpm_exp.data.examples import Batch, Splits
from ddpm_exp.data.pixels import to_model_range, to_uint8
from ddpm_exp.spec.data import Family

IMAGES = 64
"""Images that are kept: each has thousands of numbers to measure by, where a row of a table has few."""

OTHERS = 256
"""Examples of anything else that are kept."""

_FOR_MEAN = 1024


@dataclass(frozen=True)
class Reference:
    """Facts of the training examples as the network sees them, on the CPU."""

    mean: Tensor
    """float32 [*shape]: images, over at most 1,024 at even steps; all else, over all. Of clouds, whose points have no order, one
    value a coordinate."""

    low: Tensor
    """float32, of a shape that broadcasts to examples: the smallest value of all training examples, per feature of a table, per
    channel of sequences and clouds. Images: -1."""

    high: Tensor
    """The largest, likewise."""

    examples: Batch
    """Some of them, at even steps through the set."""

    def to_bytes(self) -> bytes:
        """As a safetensors file; images as 8-bit pixels."""
        x0 = self.examples.x0
        tensors = {"mean": self.mean, "low": self.low, "high": self.high, "x0": to_uint8(x0) if x0.dim() == 4 else x0}
        for name in ("labels", "values"):
            found = getattr(self.examples, name)
            if found is not None:
                tensors[name] = found
        return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})

    @classmethod
    def from_bytes(cls, content: bytes) -> Reference:
        """The inverse of `to_bytes`. Raises ValueError or KeyError for a file that is none."""
        try:
            found = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(str(error)) from error
        x0 = found["x0"]
        x0 = to_model_range(x0) if x0.dtype == torch.uint8 else x0
        return cls(found["mean"], found["low"], found["high"], Batch(x0, found.get("labels"), found.get("values")))


def reference_of(splits: Splits, family: Family) -> Reference:
    """Of the training examples (where they stay in their files, of those that are at hand)."""
    train = splits.train
    examples = train.batch(_even(len(train), IMAGES if family == "image" else OTHERS))
    if family == "image":
        mean = train.batch(_even(len(train), _FOR_MEAN)).x0.mean(0)
        return Reference(mean, torch.tensor(-1.0), torch.tensor(1.0), examples)
    x = train.x
    over = (0,) if family == "vector" else (0, *range(2, x.dim()))
    mean = x.mean(0)
    if family == "points":
        mean = mean.mean(dim=tuple(range(1, mean.dim())), keepdim=True).expand(mean.shape).contiguous()
    low, high = (edge(x, dim=over, keepdim=True)[0] for edge in (torch.amin, torch.amax))
    return Reference(mean, low, high, examples)


def _even(count: int, at_most: int) -> Tensor:
    """At most `at_most` of 0 .. count - 1 at even steps: files are often sorted."""
    return torch.linspace(0, count - 1, min(count, at_most), dtype=torch.float64).round().long()
