"""Files that are either whole or absent, whenever the process or the machine stops. Not what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ddpm_exp.spec.errors import RunError

TEMPORARY = ".tmp"
"""Ending of a file that is being written; one that a killed process left is safe to delete."""


class HashingWriter:
    """A file open for writing that knows the SHA-256 of what went into it, and the first error of the disk.

    torch reports a failed write as an error of its own archive format; `error` keeps the true cause.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, block: Any) -> int:
        """Write and hash one block; remembers and raises OSError."""
        try:
            written = self._file.write(block)
        except OSError as error:
            self.error = self.error or error
            raise
        self._digest.update(block)
        return written

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()

    def hexdigest(self) -> str:
        """SHA-256 of everything written so far."""
        return self._digest.hexdigest()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` and made durable if the block succeeds, else deleted.

    The block must flush and sync its own file. Raises what the block raises; OSError if renaming fails.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_whole(temporary: Path, fill: Callable[[HashingWriter], object]) -> str:
    """Create `temporary` through `fill`, make it durable and return its SHA-256. Raises OSError when the disk refuses."""
    with temporary.open("wb") as file:
        writer = HashingWriter(file)
        try:
            fill(writer)
        except Exception:
            if writer.error is not None:
                raise writer.error from None
            raise
        file.flush()
        os.fsync(file.fileno())
    return writer.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames within `folder` survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refused(path: Path, error: OSError) -> RunError:
    """The disk's refusal as an error that a user can mend."""
    return RunError(
        f"the checkpoint could not be written: {error.strerror or error}; the ones before it are untouched",
        field=str(path),
        fix="free disk space or raise the limit of file sizes, then run the same command again to continue",
    )
