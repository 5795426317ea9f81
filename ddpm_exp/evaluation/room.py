"""How many examples evaluations send through a network at once, once memory ran out in one of them. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from ddpm_exp.ranks.full_device import is_out_of_memory, release, said_by
from ddpm_exp.ranks.shares import Shares
from ddpm_exp.spec.errors import RunError

T = TypeVar("T")


@dataclass(frozen=True)
class Fewer:
    """A batch had no room, and is done again with half as many examples at once, as all such work after it."""

    doing: str
    """What was done with them, as in `drawing samples`."""

    before: int
    """Examples of the batch."""

    at_once: int
    """Examples at once from now on."""

    said: str
    """The first line of what the device said."""

    def __str__(self) -> str:
        return (
            f"memory ran out while {self.doing}, {self.before} at once ({self.said}): from there on {self.at_once} at once. "
            "Noise and conditions of each stay; results differ by rounding"
        )


@dataclass(frozen=True)
class _Full:
    """A batch had no room. The words alone: the error would hold on to every tensor of the batch."""

    said: str


class Room:
    """What one run's evaluations learnt of the memory that its device has left; all of them share it."""

    def __init__(self, on_fewer: Callable[[Fewer], None] | None = None) -> None:
        self.on_fewer = on_fewer
        """Told when memory ran out within a batch, before that is done again in two halves. None: the error is left to the caller,
        who tries what fits."""
        self._at_once: dict[str, int] = {}

    def each(
        self,
        shares: Shares,
        work: Callable[[slice], T],
        doing: str,
        device: torch.device,
        give_back: Callable[[], bool] = lambda: False,
    ) -> list[T]:
        """What `work` makes of this process's batches, in order; of a batch that had no room, of its parts instead.

        `work` is begun again where memory runs out in it, so that it may leave nothing but its result. `give_back` frees what was
        kept to be fast, and says whether there was any: then the same batch is tried once more before it is cut.

        Raises RunError where one example has no room, and at once where several processes share the work: they wait for each
        other, batch by batch, and would not if one had more of them.
        """
        found: list[T] = []
        freed: slice | None = None
        for part in shares:
            first = part.start
            while first < part.stop:
                now = slice(first, min(part.stop, first + self._at_once.get(doing, shares.together)))
                result = self._tried(work, now)
                if not isinstance(result, _Full):
                    found.append(result)
                    first = now.stop
                    continue
                if shares.ranks.size > 1:
                    raise _not_together(doing, now.stop - first, shares.ranks.size, result.said)
                kept = give_back()
                release(device, workspaces=False)  # the training's captured step lives on
                if kept and freed != now:
                    freed = now
                else:
                    self._halve(doing, now.stop - first, device, result.said)
        return found

    def once(self, work: Callable[[], T], what: str, device: torch.device) -> T:
        """What `work` makes, of which there is one. Raises RunError where `what` it makes has no room."""
        result = self._tried(lambda part: work(), slice(1))
        if isinstance(result, _Full):
            raise _no_room(what, device, result.said)
        return result

    def _tried(self, work: Callable[[slice], T], part: slice) -> T | _Full:
        try:
            return work(part)
        except RuntimeError as error:
            if self.on_fewer is None or not is_out_of_memory(error):
                raise
            return _Full(said_by(error))

    def _halve(self, doing: str, before: int, device: torch.device, said: str) -> None:
        if before == 1:
            raise _no_room(f"{doing}, not even one at once", device, said)
        self._at_once[doing] = before // 2
        assert self.on_fewer is not None
        self.on_fewer(Fewer(doing, before, before // 2, said))


def _no_room(what: str, device: torch.device, said: str) -> RunError:
    return RunError(
        f"there is no room for {what}: {said}",
        field="device",
        value=str(device),
        fix="free memory that other programs hold, and give the same command again",
    )


def _not_together(doing: str, before: int, processes: int, said: str) -> RunError:
    return RunError(
        f"memory ran out while {doing}, {before} at once, which several processes cannot cut anew in mid-run: {said}",
        field="hardware.devices",
        value=processes,
        fix="free memory that other programs hold, or set hardware.headroom higher (0.5 at most), with which fewer go at once; "
        "the same command goes on from the last checkpoint",
    )
