"""torch's caching allocator for CUDA, as far as it decides how much of a device a process takes. Allocates nothing.

Sizes are rounded up to 512 bytes. Up to 1 MiB, a request is served from segments of 2 MiB; larger ones, below 10 MiB, from segments
of 20 MiB; what is larger still gets a segment of its own, rounded up to 2 MiB. A request takes the smallest free block that is
large enough, of equal ones that with the lowest address, and leaves the rest as a block, unless that is too small to keep (512
bytes in small segments, 1 MiB in large ones). The driver puts each new segment below the ones before, as recorded on an H100. Where
segments that were given back are taken again it chooses otherwise, by no rule that is known: an `Order` says what is assumed.
Freed blocks merge with free neighbours. Memory goes back to the device only when asked (`release`). Each stream and each captured
graph has blocks of its own: a `pool`. (torch's notes on CUDA semantics, "Memory management".)
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

Order = Literal["below", "above", "parts first"]
"""Where a new segment lies: below the ones before, or above them. `parts first` stands for addresses that waste much: of equal free
blocks one that is part of a segment is taken before one that is all of its own, so that the part's neighbours cannot join it and
what is larger than both needs a new segment."""

MIB = 1024**2
ROUNDING = 512
SMALL, SMALL_SEGMENT = MIB, 2 * MIB
MEDIUM, MEDIUM_SEGMENT = 10 * MIB, 20 * MIB


@dataclass(eq=False, slots=True)
class _Block:
    """A part of a segment; `before` and `after` are its neighbours there."""

    start: int
    size: int
    pool: tuple[str, bool]
    free: bool = False
    before: _Block | None = None
    after: _Block | None = None

    @property
    def is_segment(self) -> bool:
        """Whether it is all of one."""
        return self.before is None and self.after is None


@dataclass
class Allocator:
    """What is allocated, what is reserved, and the highest that either was."""

    order: Order = "below"
    allocated: int = 0
    reserved: int = 0
    highest_allocated: int = 0
    highest_reserved: int = 0
    _blocks: dict[object, _Block] = field(default_factory=dict)
    _free: dict[tuple[str, bool], list[tuple[int, int, _Block]]] = field(default_factory=lambda: defaultdict(list))
    _span: int = 0

    def copy(self) -> Allocator:
        """The same state; what happens to one from here on does not happen to the other."""
        copies: dict[int, _Block] = {}
        for block in (*self._blocks.values(), *(block for blocks in self._free.values() for _, _, block in blocks)):
            if id(block) not in copies:
                _copy_segment(block, copies)
        other = replace(self, _blocks={name: copies[id(block)] for name, block in self._blocks.items()}, _free=defaultdict(list))
        for pool, blocks in self._free.items():
            other._free[pool] = [(size, start, copies[id(block)]) for size, start, block in blocks]
        return other

    def follow(self, events: Iterable[tuple[int, int]], pool: str) -> None:
        """Births and deaths of tensors of `pool`, as of a `Script`."""
        for tensor, size in events:
            if size < 0:
                self.free((pool, tensor))
            else:
                self.allocate((pool, tensor), size, pool)

    def allocate(self, name: object, size: int, pool: str = "") -> None:
        """A tensor of `size` bytes, known by `name` from now on. Of nothing, nothing."""
        if size <= 0:
            return
        size = -(-size // ROUNDING) * ROUNDING
        small = size <= SMALL
        kind = pool, small
        block = self._take(kind, size) or self._segment(kind, size)
        rest = block.size - size
        if rest >= ROUNDING if small else rest > SMALL:
            remainder = _Block(block.start + size, rest, block.pool, True, block, block.after)
            if block.after is not None:
                block.after.before = remainder
            block.after, block.size = remainder, size
            self._keep(remainder)
        block.free = False
        self._blocks[name] = block
        self.allocated += block.size
        if self.allocated > self.highest_allocated:
            self.highest_allocated = self.allocated

    def free(self, name: object) -> None:
        """The tensor is gone; its memory stays reserved."""
        block = self._blocks.pop(name, None)
        if block is None:
            return
        self.allocated -= block.size
        before, after = block.before, block.after
        if before is not None and before.free:
            self._forget(before)
            block = _merged(before, block)
        if after is not None and after.free:
            self._forget(after)
            block = _merged(block, after)
        block.free = True
        self._keep(block)

    def release(self, keep: tuple[str, ...] = ()) -> None:
        """Give segments that are free as a whole back to the device, but for the pools in `keep`, which captured graphs own."""
        for (pool, _), blocks in self._free.items():
            if pool in keep:
                continue
            whole = [entry for entry in blocks if entry[2].is_segment]
            for entry in whole:
                blocks.remove(entry)
                self.reserved -= entry[0]

    def forget_highest(self) -> None:
        """What was highest is what is now."""
        self.highest_allocated, self.highest_reserved = self.allocated, self.reserved

    def _take(self, pool: tuple[str, bool], size: int) -> _Block | None:
        blocks = self._free[pool]
        place = bisect.bisect_left(blocks, (size,))
        if place == len(blocks):
            return None
        if self.order == "parts first":
            equal = range(place, bisect.bisect_right(blocks, (blocks[place][0] + 1,)))
            place = next((at for at in equal if not blocks[at][2].is_segment), place)
        return blocks.pop(place)[2]

    def _segment(self, pool: tuple[str, bool], size: int) -> _Block:
        own = -(-size // SMALL_SEGMENT) * SMALL_SEGMENT
        total = SMALL_SEGMENT if size <= SMALL else MEDIUM_SEGMENT if size < MEDIUM else own
        self._span += total + 1
        block = _Block(self._span if self.order == "above" else -self._span, total, pool)
        self.reserved += total
        self.highest_reserved = max(self.highest_reserved, self.reserved)
        return block

    def _keep(self, block: _Block) -> None:
        bisect.insort(self._free[block.pool], (block.size, block.start, block))

    def _forget(self, block: _Block) -> None:
        blocks = self._free[block.pool]
        del blocks[bisect.bisect_left(blocks, (block.size, block.start))]


def _copy_segment(block: _Block, copies: dict[int, _Block]) -> None:
    """All blocks of the segment of `block`, to be found by the identity of their originals."""
    while block.before is not None:
        block = block.before
    last: _Block | None = None
    part: _Block | None = block
    while part is not None:
        mine = copies[id(part)] = _Block(part.start, part.size, part.pool, part.free, last)
        if last is not None:
            last.after = mine
        last, part = mine, part.after


def _merged(first: _Block, second: _Block) -> _Block:
    """`first` with its neighbour behind it."""
    first.size += second.size
    first.after = second.after
    if second.after is not None:
        second.after.before = first
    return first
