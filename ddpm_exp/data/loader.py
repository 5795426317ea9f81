"""Training images that stay in their files: worker processes decode what the next steps need, in the order of their ordinals."""

from __future__ import annotations

import atexit
import signal
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ddpm_exp.data.examples import Batch
from ddpm_exp.data.order import Draw, index_of
from ddpm_exp.data.source import Fetched, Finish
from ddpm_exp.data.stored import DamagedError, Stored
from ddpm_exp.spec.errors import RunError

_AHEAD = 4
"""Batches that each worker prepares before they are asked for."""


@dataclass(frozen=True)
class Slice:
    """The ordinals of one process: of each step's `images_per_step`, the `share` from `start` on."""

    images_per_step: int
    share: int
    start: int = 0

    def batches(self, first: int, size: int) -> Iterator[list[int]]:
        """Ordinals, `size` at a time, from `first` on and over all later steps."""
        step, place = divmod(first, self.images_per_step)
        place -= self.start
        while True:
            base = step * self.images_per_step + self.start
            for at in range(place, self.share, size):
                yield list(range(base + at, base + min(at + size, self.share)))
            step, place = step + 1, 0


class _Order:
    """What the workers are to do next; set before each new start."""

    def __init__(self, part: Slice) -> None:
        self.part, self.first, self.size = part, 0, 1

    def __iter__(self) -> Iterator[list[int]]:
        return self.part.batches(self.first, self.size)


class _Decoded(Dataset[Any]):
    """Ordinals to pixels and labels; lives in each worker."""

    def __init__(self, stored: Stored, seed: int) -> None:
        self._stored, self._seed = stored, seed

    def __getitems__(self, ordinals: list[int]) -> tuple[Tensor, ...] | str:
        index = index_of(self._seed, torch.tensor(ordinals), len(self._stored))
        try:
            pixels = self._stored.decode(index)
        except DamagedError as error:
            return str(error)  # an exception would come back without its fields
        labels = self._stored.labels
        return (pixels,) if labels is None else (pixels, labels[index])


class Loaded:
    """A `Source` of stored images. Any order of asking gives the right images; asking as `part` says is what is prepared ahead."""

    def __init__(
        self, stored: Stored, seed: int, flip: bool, device: torch.device | str, draw: Draw, *, part: Slice, workers: int
    ) -> None:
        self.device = torch.device(device)
        self.count = len(stored)
        self.waited = 0.0
        self._labelled = stored.labels is not None
        self._finish = Finish(seed, flip, draw)
        self._order = _Order(part)
        cuda = self.device.type == "cuda"
        self._loader: DataLoader[Any] = DataLoader(
            _Decoded(stored, seed),
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=cuda,
            persistent_workers=workers > 0,
            prefetch_factor=_AHEAD if workers else None,
            generator=torch.Generator(),  # nothing here is random, and torch's own generator is left alone
            worker_init_fn=_leave_signals_to_the_run,
            # Workers touch neither the device nor the network, and a script needs no guard for them.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        )
        self._batches: Iterator[Any] | None = None
        self._coming: Iterator[list[int]] = iter(())
        self._done: torch.cuda.Event | None = None
        self._end: weakref.finalize[[Iterator[Any]], Loaded] | None = None

    def fetch(self, ordinals: Tensor) -> Fetched:
        """Pixels uint8 [B, C, H, W] and, with classes, labels int64 [B]. Raises RunError for an image that cannot be read."""
        asked = ordinals.tolist()
        if self._batches is None or next(self._coming) != asked:
            self._start(asked)
        assert self._batches is not None
        idle = self._is_idle()
        started = time.perf_counter()
        found = next(self._batches)
        # While the device still has work queued, waiting here costs nothing.
        if idle or self._is_idle():
            self.waited += time.perf_counter() - started
        if isinstance(found, str):
            raise RunError(
                f"an image of the training data cannot be read: {found}",
                field="data",
                fix="replace or remove it, and start the run again; it goes on from its last checkpoint",
            )
        # Pinned memory is not given out again before the copy that was queued from it has ended: torch's allocator sees to that.
        fetched = tuple(one.to(self.device, non_blocking=True) for one in found)
        if self.device.type == "cuda":
            self._done = torch.cuda.current_stream(self.device).record_event()
        return fetched

    def batch(self, fetched: Fetched, ordinals: Tensor) -> Batch:
        """As `Source.batch`."""
        return self._finish(fetched[0], fetched[1] if self._labelled else None, None, ordinals)

    def _is_idle(self) -> bool:
        """Whether the device has done all that was queued before the last fetch's copies."""
        return self._done is None or bool(self._done.query())  # type: ignore[no-untyped-call]

    def _start(self, asked: list[int]) -> None:
        """Let the workers go on from `asked`; what they had prepared is dropped."""
        self._order.first, self._order.size = asked[0], len(asked)
        if next(iter(self._order)) != asked:
            raise ValueError(f"ordinals {asked[0]} to {asked[-1]} are not a part of this process's share of a step")
        self._coming = iter(self._order)
        next(self._coming)
        first = self._batches is None
        self._batches = iter(self._loader)
        if first:
            # Workers end by themselves, not by a signal: with their source, also where that is collected as part of a cycle,
            # or with the program. Registered after torch's own preparation for its end, so that this comes before it.
            self._end = weakref.finalize(self, _shut_down, self._batches)
            self._end.atexit = False
            atexit.register(self._end)

    def close(self) -> None:
        """End the workers."""
        if self._end is not None:
            self._end()


def _as_it_is(found: Any) -> Any:
    return found


def _leave_signals_to_the_run(worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach the whole group of processes; the run ends its step and then its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _shut_down(batches: Iterator[Any]) -> None:
    shut_down = getattr(batches, "_shutdown_workers", None)  # without workers there is nothing to end
    if shut_down is not None:
        shut_down()
