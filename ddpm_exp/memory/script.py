"""Births and deaths of the tensors of a step, for any number of images: from two traces, every size is a straight line in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ddpm_exp.memory.reductions import buffer_bytes
from ddpm_exp.memory.trace import Trace
from ddpm_exp.memory.workspaces import Convolution, workspace

DEATH = -1


@dataclass(frozen=True)
class Script:
    """The events of one kind of step, in order."""

    events: tuple[tuple[int, int, int], ...]
    """(tensor, fixed bytes, bytes per image); a death has `DEATH` for its fixed bytes."""

    starts: tuple[tuple[int, str], ...]
    """Index of the first event of each phase, in order."""

    kinds: dict[int, str]
    """Term of each tensor; one that is missing is a temporary ("workspace")."""

    workspaces: dict[int, Callable[[int], int]]
    """Images to bytes of the temporaries that kernels take for themselves."""

    libraries: dict[int, list[tuple[str, str]]]
    """Thread and library that take a workspace of their own, to keep, before the event of this index."""

    heads: frozenset[int] = frozenset()
    """Channels of the heads whose attention is computed."""

    @classmethod
    def of(cls, trace_of: Callable[[int], Trace], images: tuple[int, int] = (2, 4)) -> Script:
        """`trace_of(images)` records the step. Raises ValueError if its operations change with the number of images."""
        few, many = images
        first, second = trace_of(few), trace_of(many)
        if first.shape() != second.shape():
            raise ValueError("the network's operations change with the number of images, so sizes between cannot be inferred")
        events = []
        for (tensor, low), (_, high) in zip(first.events, second.events, strict=True):
            slope = 0 if low < 0 else (high - low) // (many - few)
            events.append((tensor, DEATH if low < 0 else low - few * slope, slope))
        starts = tuple(sorted((start, name) for name, start in first.starts.items()))
        libraries: dict[int, list[tuple[str, str]]] = {}
        for caller, at in first.libraries.items():
            libraries.setdefault(at, []).append(caller)
        workspaces = {tensor: _bytes_of(tensor, first, second, images) for tensor in first.workspaces}
        return cls(tuple(events), starts, first.kinds, workspaces, libraries, first.heads)

    def at(self, images: int) -> Iterator[tuple[int, int]]:
        """(tensor, bytes) at a birth, (tensor, `DEATH`) at a death, for `images`."""
        for tensor, fixed, slope in self.events:
            if fixed == DEATH:
                yield tensor, DEATH
            elif tensor in self.workspaces:
                yield tensor, self.workspaces[tensor](images)
            else:
                yield tensor, max(0, fixed + images * slope)


def _bytes_of(tensor: int, first: Trace, second: Trace, images: tuple[int, int]) -> Callable[[int], int]:
    few, many = images
    purpose, again = first.workspaces[tensor], second.workspaces[tensor]
    if isinstance(purpose, Convolution) or isinstance(again, Convolution):
        return partial(workspace, purpose)
    return lambda count: buffer_bytes(purpose.scaled(again, (count - few) / (many - few)))
