"""Cuts work on numbered items into batches that the processes take in turn, and puts the results together in order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm_exp.ranks.ranks import SINGLE, Ranks


@dataclass(frozen=True)
class Shares:
    """Batches of `count` items, at most `together` at once: process r of w takes batches r, r + w, r + 2w, ...

    All processes have equally many, which a network whose weights are spread over them needs: where batches run out, the last
    is done again and its result dropped.
    """

    count: int
    together: int
    ranks: Ranks = SINGLE

    @classmethod
    def of(cls, count: int, together: int, ranks: Ranks = SINGLE, *, at_least: int = 1) -> Shares:
        """Batches small enough that every process has work, but of `at_least` items, and as equal as they can be: what is kept for
        the size of one then serves the last, too."""
        most = max(at_least, min(together, math.ceil(count / ranks.size)), 1)
        return cls(count, max(at_least, math.ceil(count / max(1, math.ceil(count / most)))), ranks)

    @property
    def batches(self) -> int:
        """Batches of all processes."""
        return -(-self.count // self.together)

    def __iter__(self) -> Iterator[slice]:
        """This process's batches, as slices of the items."""
        size = self.ranks.size
        for first in range(0, self.batches, size):
            place = min(first + self.ranks.rank, self.batches - 1)
            yield slice(place * self.together, min((place + 1) * self.together, self.count))

    def collect(self, parts: Sequence[Tensor]) -> Tensor:
        """All items in order, on the CPU of the first process, from each process's result [B, ...] per batch.

        On other processes: their own parts, which nobody needs.
        """
        own = [part.cpu() for part in parts]
        ranks = self.ranks
        if ranks.size == 1:
            return torch.cat(own)
        if not ranks.leads:
            for turn, part in enumerate(own):
                if turn * ranks.size + ranks.rank < self.batches:
                    ranks.send(part)
            return torch.cat(own)
        whole = torch.empty((self.count, *own[0].shape[1:]), dtype=own[0].dtype)
        for place in range(self.batches):
            turn, owner = divmod(place, ranks.size)
            into = whole[place * self.together : (place + 1) * self.together]
            if owner == 0:
                into.copy_(own[turn])
            else:
                ranks.receive(into, owner)
        return whole

    def collect_rows(self, rows: Sequence[Tensor]) -> Tensor:
        """[batches, ...] on the first process, from one row per own batch: as `collect`, for what a batch amounts to."""
        return Shares(self.batches, 1, self.ranks).collect([row[None] for row in rows])
