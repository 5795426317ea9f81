"""Lets one process at a time go on with a recorded run. The lock is the kernel's: it ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from ddpm_exp.records.run_directory import MANIFEST, RunDirectory
from ddpm_exp.spec.errors import UserError
from ddpm_exp.workflow.display import Display


@contextlib.contextmanager
def sole_writer(run: RunDirectory | None, display: Display) -> Iterator[None]:
    """Hold `run`, if there is one to go on with, against every other process. Raises UserError where another has it.

    A run's own word that it is under way comes from its first seconds on; the lock on its manifest, which never changes,
    covers the time between two processes reading that word and either writing it.
    """
    if run is None:
        yield
        return
    with (run.path / MANIFEST).open("r+b") as manifest:
        try:
            fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _under_way(run) from None
        except OSError as error:  # a file system without locks
            display.warn(f"nothing keeps a second process from going on with {run.path} at the same time ({error.strerror})")
        if run.status().state == "running":
            raise _under_way(run)
        yield


def _under_way(run: RunDirectory) -> UserError:
    return UserError(
        "this run is under way in another process",
        field=str(run.path),
        value=f"pid {run.status().pid}",
        fix="wait for it, or --fresh",
    )
