"""Files and folders that a user named: whole or absent, never in another's place unless asked. Not what is in them."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from ddpm_exp.records.atomic import refusal, write_atomically
from ddpm_exp.spec.errors import UserError


def require_free(path: Path, *, force: bool) -> None:
    """Raise UserError where a folder is in the place of the file `path`, or a file and `force` is not given."""
    if path.is_dir():
        raise UserError("this is a folder, and a file is to be written", field=str(path), fix="name a file")
    if path.exists() and not force:
        raise _taken(path)


def write_new(path: Path, data: bytes, *, force: bool) -> Path:
    """Write `data` to `path`, whole or not at all; see `require_free`."""
    require_free(path, force=force)
    write_atomically(path, data)
    return path


@contextlib.contextmanager
def new_folder(path: Path, *, force: bool, ours: str) -> Iterator[Path]:
    """A temporary folder beside `path` to write into; renamed to `path` if the block succeeds, else deleted.

    A folder with files at `path` is replaced only with `force`, and only if it holds the file `ours`: nobody's other files
    are deleted. Raises UserError for what is in the way, RunError where the disk refuses.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        if not force:
            raise _taken(path)
        if not (path / ours).is_file():
            raise UserError(
                f"only a folder with a {ours} is replaced, and this has none", field=str(path), fix="name a new or an empty folder"
            )
    name = f".{path.name}.{secrets.token_hex(4)}"
    temporary, before = path.with_name(f"{name}.tmp"), path.with_name(f"{name}.old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rename(before)
        temporary.rename(path)
    except OSError as error:
        if before.exists() and not path.exists():
            before.rename(path)
        raise refusal(path, error) from error
    finally:
        for rest in (temporary, before):
            shutil.rmtree(rest, ignore_errors=True)


def _taken(path: Path) -> UserError:
    return UserError("there is something here already", field=str(path), fix="name another place, or give --force to replace it")
