"""Checkpoints written by a thread while training goes on: a copy is taken at once, all else happens beside the steps."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ddpm_exp.checkpoints.snapshot import Snapshots
from ddpm_exp.checkpoints.store import BEST, Checkpoint, save


class Background:
    """Writes one checkpoint at a time; a second waits for the first.

    What goes wrong in the thread is raised by the next call of any method, in the thread that trains. As a context it waits for
    the last checkpoint however its block ends.
    """

    def __init__(
        self, folder: Path, keep: int = 2, write: Callable[..., object] = save, before: Callable[[], object] = lambda: None
    ) -> None:
        """`keep`: how many of the last ones stay. `write(folder, checkpoint, keep, series)` makes a checkpoint durable.

        `before`: called in the thread before each, to make durable what has to be there when a run goes on from it.
        """
        self._folder, self._keep, self._write, self._before = folder, keep, write, before
        self._snapshots = Snapshots()
        self._preparing: threading.Thread | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._join()
        if error is None:  # else the first error is the one to tell
            self.check()

    def reserve(self, checkpoint: Checkpoint, more_bytes: int = 0) -> None:
        """Get the memory for copies of a state like `checkpoint`'s and `more_bytes` before it is needed."""
        self._snapshots.reserve(checkpoint.tensors, more_bytes)

    def prepare(self, state: Callable[[], Checkpoint]) -> None:
        """Lay out copies of a state like `state()` beside the steps, so that the first `save` does not have to. Only the first call
        does anything; what goes wrong is left to `save`, which does it again."""
        if self._preparing is None:
            work = functools.partial(self._snapshots.lay_out, state().tensors)
            self._preparing = threading.Thread(target=_quietly, args=(work,), name="checkpoint layout")
            self._preparing.start()

    def expect(self, checkpoint: Checkpoint) -> None:
        """Look through a `checkpoint` that is to be saved once the device has done its steps, while it does them. What `save` gets
        then may share parts with it. Waits for the one before."""
        self.wait()
        self._snapshots.expect(checkpoint.tensors)

    def save(self, checkpoint: Checkpoint, *, last: bool = True, best: bool = False) -> None:
        """Have `checkpoint` written as it is now; its tensors may change as soon as this returns.

        `last`, `best`: as the last one, and as the one where a measure was best, of which the one before is kept too. Waits for the
        one before. Raises what went wrong with that.
        """
        self.wait()
        tensors, ready = self._snapshots.take(checkpoint.tensors)
        copied = Checkpoint(checkpoint.images_seen, tensors, dict(checkpoint.facts))

        def work() -> None:
            try:
                ready()
                self._before()
                if best:  # first, so that whoever goes on from the last one has the best before it
                    self._write(self._folder, copied, 2, BEST)
                if last:
                    self._write(self._folder, copied, self._keep, "")
            except BaseException as error:
                self._error = error

        # No daemon: an interpreter that ends waits for the file.
        self._thread = threading.Thread(target=work, name="checkpoint")
        self._thread.start()

    def check(self) -> None:
        """Raise what went wrong since the last call, such as the RunError of a full disk. Does not wait."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Return when everything given to `save` is durable. Raises what went wrong."""
        self._join()
        self.check()

    def _join(self) -> None:
        if self._preparing is not None:
            self._preparing.join()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def _quietly(work: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        work()
