"""Writing files that are either there whole or not there at all. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from ddpm_exp.spec.errors import RunError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path`: temporary file beside it, fsync, rename, fsync of the folder. Makes parent folders.

    Raises RunError where the machine refuses (disk full, no permission); what was at `path` before is then still there
    and the temporary file is gone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise refusal(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):  # some network file systems cannot sync a folder; the rename itself holds
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def refusal(path: Path, error: OSError) -> RunError:
    """The machine's refusal to read or write `path` in the user's words: what happened and what to do."""
    if error.errno in _NO_ROOM:
        return RunError(
            f"no room to write: {error.strerror}; what was on disk before is untouched",
            field=str(path),
            fix="free disk space (or raise the quota or file-size limit) and give the same command again: the run resumes",
        )
    return RunError(
        f"the machine refused: {error.strerror or error}",
        field=str(path),
        fix="check that the folder exists and is writable, then give the same command again",
    )
