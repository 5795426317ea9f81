"""A shard as a plain tar file here, in which every entry can be read on its own: unpacked or fetched where needed, once."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from ddpm_exp.data.shard_names import is_remote
from ddpm_exp.spec.errors import UserError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60


def plain_tar(shard: str, cache: str | None, field: str) -> Path:
    """The shard itself if it is a plain tar file here, else its unpacked copy in the folder `cache`.

    Copies are written under another name and moved into place, so several processes may ask at once, and one that was cut off
    leaves none behind. Raises UserError, naming `field` and the shard, where it cannot be read, fetched or stored.
    """
    packed = shard.split("?", 1)[0].endswith("gz")
    if not is_remote(shard) and not packed:
        return Path(shard)
    try:
        copy = folder_of(cache) / f"{_key(shard)}.tar"
        if not copy.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            with copy.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes, one unpacks and the others wait
                if not copy.is_file():
                    _store(shard, packed, copy)
    except (OSError, EOFError, zlib.error) as error:
        why = "is damaged or cut off" if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile) else "cannot be read"
        raise UserError(
            f"the shard {shard} {why}: {error}",
            field=field,
            value=shard,
            fix="replace the shard or check its address; unpacked copies need room in the folder data.cache",
        ) from error
    return copy


def is_plain_here(shard: str, cache: str | None) -> bool:
    """Whether `plain_tar` would neither unpack nor fetch anything. Asks no other machine."""
    if is_remote(shard):
        return False
    return not shard.endswith("gz") or (folder_of(cache) / f"{_key(shard)}.tar").is_file()


def folder_of(cache: str | None) -> Path:
    """Where unpacked copies are kept."""
    if cache is not None:
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddpm-exp" / "shards"


def _key(shard: str) -> str:
    """A name for the copy, which changes when the shard does."""
    if is_remote(shard):
        with _ask(urllib.request.Request(shard, method="HEAD")) as answer:
            version = [answer.headers.get(name) or "" for name in ("ETag", "Last-Modified", "Content-Length")]
    else:
        status = Path(shard).stat()
        version = [str(status.st_size), str(status.st_mtime_ns)]
        shard = str(Path(shard).resolve())
    return hashlib.sha256("\n".join([shard, *version]).encode()).hexdigest()[:24]


def _store(shard: str, packed: bool, copy: Path) -> None:
    handle, name = tempfile.mkstemp(dir=copy.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as target, _opened(shard) as source:
            shutil.copyfileobj(gzip.GzipFile(fileobj=source) if packed else source, target, _CHUNK)
            expected = getattr(source, "length", None)  # what an http answer has not yet given
            if expected:
                raise EOFError(f"the connection ended {expected:,} bytes too early")
            target.flush()
            os.fsync(target.fileno())
        Path(name).replace(copy)
    finally:
        Path(name).unlink(missing_ok=True)


def _ask(request: urllib.request.Request) -> Any:
    # An opener of its own reads the proxies of now; urllib's shared one keeps those of its first use.
    return urllib.request.build_opener().open(request, timeout=_TIMEOUT_SECONDS)


def _opened(shard: str) -> BinaryIO:
    if is_remote(shard):
        answer: BinaryIO = _ask(urllib.request.Request(shard))
        return answer
    return Path(shard).open("rb")
