"""Where the tensors of a state lie in one row of bytes, and their copying there with a launch per type. Waits for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_ALIGNED = 512


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a row of bytes."""

    start: int
    bytes: int
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]

    @property
    def end(self) -> int:
        """Where the next of its type begins."""
        return self.start + self.bytes

    def alone(self, memory: Any) -> Tensor:
        """The tensor in the array `memory`, with a storage that ends where it ends, so that a file gets no more of it."""
        if not self.bytes:
            return torch.empty_strided(self.shape, self.stride, dtype=self.dtype)
        count = self.bytes // self.dtype.itemsize
        return torch.frombuffer(memory, dtype=self.dtype, count=count, offset=self.start).as_strided(self.shape, self.stride)


@dataclass(frozen=True)
class Row:
    """Tensors of one type on a device, whose places follow each other from byte `first` to `end`."""

    first: int
    end: int
    numbers: list[int]
    """Which of the device's tensors, in the order of their places."""
    views: list[Tensor]
    """Each as a row of numbers: a view of what was copied last, which keeps that memory and so its address to itself."""

    def pack(self, tensors: list[Tensor], flat: Tensor) -> None:
        """Copy them to their bytes of `flat`, with one launch for many tensors."""
        for place, number in enumerate(self.numbers):
            if self.views[place].data_ptr() != tensors[number].data_ptr():
                self.views[place] = _numbers(tensors[number])
        torch.cat(self.views, out=flat[self.first : self.end].view(self.views[0].dtype))


@dataclass(frozen=True)
class Layout:
    """Places for tensors like those of a state, and views of them, which take longer to make than the copy itself."""

    like: list[tuple[torch.dtype, torch.Size, tuple[int, ...]]]
    copies: list[Tensor]
    """In the host's memory, in the order of the state."""
    rows: list[Row]
    """Of the device's tensors."""


def places_of(tensors: list[Tensor]) -> list[Place]:
    """Places for all, in their order: those on the device first, type by type without gaps, each as dense as its tensor allows."""
    groups: dict[tuple[bool, torch.dtype], list[int]] = {}
    for number, one in enumerate(tensors):
        groups.setdefault((not one.is_cuda, one.dtype), []).append(number)
    places: dict[int, Place] = {}
    start = 0
    for _, numbers in sorted(groups.items(), key=lambda group: group[0][0]):
        start = -(-start // _ALIGNED) * _ALIGNED  # a whole number of elements of any type
        for number in numbers:
            like = torch.empty_like(tensors[number], device="meta")  # keeps the order of strides, without gaps
            places[number] = Place(start, like.numel() * like.element_size(), like.dtype, like.shape, like.stride())
            start = places[number].end
    return [places[number] for number in range(len(tensors))]


def total_bytes(places: list[Place]) -> int:
    """Of the row that they lie in."""
    return max((place.end for place in places), default=0)


def rows_of(tensors: list[Tensor], places: list[Place]) -> list[Row]:
    """Rows of `tensors`, which lie in the first of `places`; none if one of them has gaps in its memory."""
    if any(one.stride() != place.stride for one, place in zip(tensors, places, strict=False)):
        return []
    by_type: dict[torch.dtype, list[int]] = {}
    for number, one in enumerate(tensors):
        by_type.setdefault(one.dtype, []).append(number)
    return [
        Row(places[numbers[0]].start, places[numbers[-1]].end, numbers, [_numbers(tensors[number]) for number in numbers])
        for numbers in by_type.values()
    ]


def _numbers(tensor: Tensor) -> Tensor:
    """The tensor's numbers in the order of its memory, which has no gaps."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))
