"""Copies of a state in host memory that the next step does not touch. Writes no file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_ALIGNED = 512


@dataclass(frozen=True)
class _Place:
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
class _Row:
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
class _Layout:
    """Places for tensors like those of a state, and views of them, which take longer to make than the copy itself."""

    like: list[tuple[torch.dtype, torch.Size, tuple[int, ...]]]
    copies: list[Tensor]
    """In the host's memory, in the order of the state."""
    rows: list[_Row]
    """Of the device's tensors."""


class Snapshots:
    """One copy of a state at a time, in memory that is kept for the next.

    On CUDA all tensors are put into one buffer on the device, which is fast, and that goes to pinned memory of the host beside
    the steps that follow. Where the device has no room for it, they go to the host at once, and the device waits for that.
    """

    def __init__(self) -> None:
        self._host: Tensor | None = None
        self._layout: _Layout | None = None
        self._stream: torch.cuda.Stream | None = None

    def reserve(self, state: Any, more_bytes: int = 0) -> None:
        """Get the host's memory for a `state` on CUDA, and `more_bytes`, while nothing waits for it: pinning takes long.

        Without CUDA there is nothing to do.
        """
        found = list(_tensors(state))
        if any(one.is_cuda for one in found):
            self._memory(_total(_places(found)) + more_bytes, pinned=True)

    def lay_out(self, state: Any) -> None:
        """Find places for the tensors of a `state` before it is copied, which takes longer than the copy."""
        self._laid_out(*_by_place(state))

    def take(self, state: Any) -> tuple[Any, Callable[[], None]]:
        """`state` (nested dicts, lists and tuples) with every tensor copied as it is now, and what to call, in any thread,
        before its numbers are read. The copy taken before is overwritten."""
        distant, near = _by_place(state)
        layout = self._laid_out(distant, near)
        copies = layout.copies
        with torch.no_grad():
            _copy(copies[len(distant) :], near)
            ready = self._bring(distant, layout) if distant else _nothing
        from_device, from_host = iter(copies[: len(distant)]), iter(copies[len(distant) :])
        return _replaced(state, lambda one: next(from_device if one.is_cuda else from_host)), ready

    def _laid_out(self, distant: list[Tensor], near: list[Tensor]) -> _Layout:
        """Places for all of them: those of the copy before where they are as they were, which a run's are but for the first."""
        tensors = [*distant, *near]
        like = [(one.dtype, one.shape, one.stride()) for one in tensors]
        if self._layout is None or self._layout.like != like:
            places = _places(tensors)
            memory = self._memory(_total(places), pinned=bool(distant)).numpy()
            self._layout = _Layout(like, [place.alone(memory) for place in places], _rows(distant, places))
        return self._layout

    def _bring(self, distant: list[Tensor], layout: _Layout) -> Callable[[], None]:
        """Copy tensors of the device to the first places; returns when the next step may change them."""
        host, device = self._host, distant[0].device
        assert host is not None
        current, done = torch.cuda.current_stream(device), torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        end = max((row.end for row in layout.rows), default=0)
        flat = [_room(end, device) if layout.rows else None]
        if flat[0] is None:
            for copy, one in zip(layout.copies, distant, strict=False):
                copy.copy_(one, non_blocking=True)
            done.record(current)
        else:
            for row in layout.rows:
                row.pack(distant, flat[0])
            self._stream = self._stream or torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                host[:end].copy_(flat[0], non_blocking=True)
            done.record(self._stream)
        current.synchronize()  # so that who measures the pause measures the device's part of it

        def ready() -> None:
            done.synchronize()
            flat.clear()  # not before: nothing else keeps the device from using this memory again

        return ready

    def _memory(self, total: int, *, pinned: bool) -> Tensor:
        if self._host is None or len(self._host) < total:
            self._host = self._layout = None
            try:
                self._host = torch.empty(max(total, 1), dtype=torch.uint8, pin_memory=pinned)
            except RuntimeError:  # the system pins no more: copies are then the same and take longer
                self._host = torch.empty(max(total, 1), dtype=torch.uint8)
        return self._host


def _nothing() -> None:
    """The copies are there already."""


def _places(tensors: list[Tensor]) -> list[_Place]:
    """Places for all, in their order: those on the device first, type by type without gaps, each as dense as its tensor allows."""
    groups: dict[tuple[bool, torch.dtype], list[int]] = {}
    for number, one in enumerate(tensors):
        groups.setdefault((not one.is_cuda, one.dtype), []).append(number)
    places: dict[int, _Place] = {}
    start = 0
    for _, numbers in sorted(groups.items(), key=lambda group: group[0][0]):
        start = -(-start // _ALIGNED) * _ALIGNED  # a whole number of elements of any type
        for number in numbers:
            like = torch.empty_like(tensors[number], device="meta")  # keeps the order of strides, without gaps
            places[number] = _Place(start, like.numel() * like.element_size(), like.dtype, like.shape, like.stride())
            start = places[number].end
    return [places[number] for number in range(len(tensors))]


def _total(places: list[_Place]) -> int:
    return max((place.end for place in places), default=0)


def _rows(tensors: list[Tensor], places: list[_Place]) -> list[_Row]:
    """Rows of `tensors`, which lie in the first of `places`; none if one of them has gaps in its memory."""
    if any(one.stride() != place.stride for one, place in zip(tensors, places, strict=False)):
        return []
    by_type: dict[torch.dtype, list[int]] = {}
    for number, one in enumerate(tensors):
        by_type.setdefault(one.dtype, []).append(number)
    return [
        _Row(places[numbers[0]].start, places[numbers[-1]].end, numbers, [_numbers(tensors[number]) for number in numbers])
        for numbers in by_type.values()
    ]


def _numbers(tensor: Tensor) -> Tensor:
    """The tensor's numbers in the order of its memory, which has no gaps."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))


def _room(total: int, device: torch.device) -> Tensor | None:
    """Memory on the device, if it has twice that to spare: the run goes before its copy."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if torch.cuda.mem_get_info(device)[0] + unused < 2 * total:
        return None
    try:
        return torch.empty(total, dtype=torch.uint8, device=device)
    except torch.cuda.OutOfMemoryError:
        return None


def _copy(copies: list[Tensor], tensors: list[Tensor]) -> None:
    """All at once, type by type: a few launches instead of one for each tensor."""
    by_type: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for copy, one in zip(copies, tensors, strict=True):
        to, of = by_type.setdefault(one.dtype, ([], []))
        to.append(copy)
        of.append(one)
    for to, of in by_type.values():
        torch._foreach_copy_(to, of)


def _by_place(state: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Those on a device and those in the host's memory."""
    found = list(_tensors(state))
    return [one for one in found if one.is_cuda], [one for one in found if not one.is_cuda]


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for item in state.values() if isinstance(state, dict) else state:
            yield from _tensors(item)


def _replaced(state: Any, copy_of: Callable[[Tensor], Tensor]) -> Any:
    """`state` in containers of its own; what is in them, in the order of `_tensors`, is asked of `copy_of`."""
    if isinstance(state, Tensor):
        return copy_of(state)
    if isinstance(state, dict):
        return {key: _replaced(item, copy_of) for key, item in state.items()}
    if isinstance(state, list | tuple):
        items = [_replaced(item, copy_of) for item in state]
        return items if isinstance(state, list) else tuple(items)
    return state
