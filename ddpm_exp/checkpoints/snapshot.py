"""Copies of a state in host memory that the next step does not touch. Writes no file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.checkpoints.layout import Layout, places_of, rows_of, total_bytes


@dataclass(frozen=True)
class _Part:
    """What was found in one part of a state, which takes longer than to copy it."""

    source: Any
    distant: list[Tensor]
    """Those on a device."""
    near: list[Tensor]
    """Those in the host's memory."""
    copied: list[Any] = field(default_factory=list)
    """The part with copies in place of its tensors, once there are places for them."""


class Snapshots:
    """One copy of a state at a time, in memory that is kept for the next.

    On CUDA all tensors are put into one buffer on the device, which is fast, and that goes to pinned memory of the host beside
    the steps that follow. Where the device has no room for it, they go to the host at once, and the device waits for that.
    """

    def __init__(self) -> None:
        self._host: Tensor | None = None
        self._layout: Layout | None = None
        self._stream: torch.cuda.Stream | None = None
        self._expected: dict[str, _Part] = {}

    def reserve(self, state: dict[str, Any], more_bytes: int = 0) -> None:
        """Get the host's memory for a `state` on CUDA, and `more_bytes`, while nothing waits for it: pinning takes long.

        Without CUDA there is nothing to do.
        """
        found = list(_tensors(state))
        if any(one.is_cuda for one in found):
            self._memory(total_bytes(places_of(found)) + more_bytes, pinned=True)

    def lay_out(self, state: dict[str, Any]) -> None:
        """Find places for the tensors of a `state` before it is copied, which takes longer than the copy."""
        self._laid_out([_found_in(part) for part in state.values()])

    def expect(self, state: dict[str, Any]) -> None:
        """Look through a `state` that is about to be taken: of parts that are then the same objects, only numbers are left."""
        self._expected = {name: _found_in(part) for name, part in state.items()}
        parts = list(self._expected.values())
        _with_copies(parts, self._laid_out(parts).copies)

    def take(self, state: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], None]]:
        """`state` (nested dicts, lists and tuples) with every tensor copied as it is now, and what to call, in any thread,
        before its numbers are read. The copy taken before is overwritten."""
        expected, self._expected = self._expected, {}
        known = {name: part for name, part in expected.items() if name in state and part.source is state[name]}
        named = {name: known.get(name) or _found_in(part) for name, part in state.items()}
        parts, before = list(named.values()), self._layout
        layout = self._laid_out(parts)
        if layout is not before:  # other places than were expected
            for part in parts:
                part.copied.clear()
        _with_copies(parts, layout.copies)
        distant, near = _in_order(parts)
        with torch.no_grad():
            _copy(layout.copies[len(distant) :], near)
            ready = self._bring(distant, layout) if distant else _nothing
        return {name: part.copied[0] for name, part in named.items()}, ready

    def _laid_out(self, parts: list[_Part]) -> Layout:
        """Places for all of them: those of the copy before where they are as they were, which a run's are but for the first."""
        distant, near = _in_order(parts)
        tensors = [*distant, *near]
        like = [(one.dtype, one.shape, one.stride()) for one in tensors]
        if self._layout is None or self._layout.like != like:
            places = places_of(tensors)
            memory = self._memory(total_bytes(places), pinned=bool(distant)).numpy()
            self._layout = Layout(like, [place.alone(memory) for place in places], rows_of(distant, places))
        return self._layout

    def _bring(self, distant: list[Tensor], layout: Layout) -> Callable[[], None]:
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


def _found_in(part: Any) -> _Part:
    found = list(_tensors(part))
    return _Part(part, [one for one in found if one.is_cuda], [one for one in found if not one.is_cuda])


def _in_order(parts: list[_Part]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors of all that are on a device, and those in the host's memory."""
    return [one for part in parts for one in part.distant], [one for part in parts for one in part.near]


def _with_copies(parts: list[_Part], copies: list[Tensor]) -> None:
    """Put `copies`, which lie in the order of `_in_order`, in place of the tensors of those parts where that was not done yet."""
    from_device, from_host = 0, sum(len(part.distant) for part in parts)
    for part in parts:
        if not part.copied:
            distant, near = iter(copies[from_device:]), iter(copies[from_host:])
            part.copied.append(_replaced(part.source, distant, near))
        from_device, from_host = from_device + len(part.distant), from_host + len(part.near)


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for item in state.values() if isinstance(state, dict) else state:
            yield from _tensors(item)


def _replaced(state: Any, from_device: Iterator[Tensor], from_host: Iterator[Tensor]) -> Any:
    """`state` in containers of its own, with the next of one of the two for each of its tensors, in the order of `_tensors`."""
    if isinstance(state, Tensor):
        return next(from_device if state.is_cuda else from_host)
    if isinstance(state, dict):
        return {key: _replaced(item, from_device, from_host) for key, item in state.items()}
    if isinstance(state, list | tuple):
        items = [_replaced(item, from_device, from_host) for item in state]
        return items if isinstance(state, list) else tuple(items)
    return state
