"""Checkpoints in a folder: save, find the latest whole one, load. Not which tensors a training needs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ddpm_exp.checkpoints import sharded
from ddpm_exp.checkpoints.atomic import TEMPORARY, HashingWriter, refused, sync_folder, whole_file, write_whole
from ddpm_exp.spec.errors import RunError

FORMAT = 1
"""Form of the file; raise it when its parts change."""

BEST = "best-"
"""What names of the checkpoints begin with that are kept because a measure was best there. They are a series of their own in the
same folder: the latest of them is the best, and keeping or deleting one series leaves the other alone."""

_NAME = re.compile(r"\d{12}\.(pt|dcp)")


@dataclass
class Checkpoint:
    """The state of a run after `images_seen` training images."""

    images_seen: int
    tensors: dict[str, Any]
    """Nested dicts, lists and tuples of tensors, numbers, text and None: network, ema, optimizer, ..."""

    facts: dict[str, Any] = field(default_factory=dict)
    """Plain JSON data."""


def save(folder: Path, checkpoint: Checkpoint, keep: int = 2, series: str = "") -> Path:
    """Write `folder`/<images seen, 12 digits>.pt with its checksum, then delete all but the last `keep` (at least this one).

    `series`: what the name begins with; see `BEST`. Whenever the process dies or the disk refuses, the files before are as they
    were. Raises RunError if it refuses, TypeError for content that would not load again.
    """
    _plain(checkpoint.tensors, "tensors")
    content = {
        "format": FORMAT,
        "images_seen": checkpoint.images_seen,
        "tensors": checkpoint.tensors,
        "facts": json.dumps(checkpoint.facts),
    }
    path = folder / f"{series}{checkpoint.images_seen:012d}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        _write(path, content)
        prune(folder, path, keep, series)
    except OSError as error:
        raise refused(path, error) from error
    return path


def latest(folder: Path, on_broken: Callable[[RunError], None] | None = None, series: str = "") -> tuple[Path, Checkpoint] | None:
    """The newest checkpoint (of `series`) that is whole; None if there is no checkpoint.

    Each broken one is passed to `on_broken` (default: a warning) and the one before it is tried. Raises RunError if there are
    checkpoints and all are broken: starting over silently would lose a run.
    """
    paths = checkpoints(folder, series)
    for path in reversed(paths):
        try:
            return path, load(path)
        except RunError as error:
            if on_broken is None:
                warnings.warn(str(error), stacklevel=2)
            else:
                on_broken(error)
    if paths:
        raise RunError(
            f"none of its {len(paths)} checkpoints can be loaded",
            field=str(folder),
            fix="restore the folder from a copy, or start the run again with --fresh",
        )
    return None


def has_any(folder: Path) -> bool:
    """Whether there is a checkpoint, whole or not: then `latest` gives one or raises."""
    return bool(checkpoints(folder))


def load(path: Path) -> Checkpoint:
    """The checkpoint at `path`, tensors on the CPU. Never runs code from the file. Raises RunError if it is missing,
    differs from its checksum, is of another format or holds anything but tensors and plain data."""
    if path.suffix == sharded.ENDING:
        return Checkpoint(*sharded.load(path))
    _verify(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise  # says nothing about the file
    except Exception as error:  # torch raises many kinds for files that are not its own; each means the same here
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _broken(path, f"it is not a file of tensors and plain data alone ({first})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise _broken(path, f"its format is {found!r}, and this version reads format {FORMAT}")
    try:
        return Checkpoint(int(content["images_seen"]), dict(content["tensors"]), json.loads(content["facts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"a part is missing or damaged ({error})") from error


def _write(path: Path, content: dict[str, Any]) -> None:
    """Checksum first, then the file: a crash between leaves a checksum without a file, which harms nobody.

    Where a file of that name exists, both checksums stand until the new file is in its place.
    """
    sidecar = _sidecar(path)
    with whole_file(path) as temporary:

        def fill(writer: HashingWriter) -> None:
            torch.save(content, writer)  # type: ignore[arg-type]

        digest = write_whole(temporary, fill)
        before = _digests(sidecar) if path.exists() else []
        _write_sidecar(sidecar, path.name, [*before, digest])
    if before:
        _write_sidecar(sidecar, path.name, [digest])


def _write_sidecar(sidecar: Path, name: str, digests: list[str]) -> None:
    text = "".join(f"{digest}  {name}\n" for digest in dict.fromkeys(digests)).encode()
    with whole_file(sidecar) as temporary:
        write_whole(temporary, lambda writer: writer.write(text))


def _verify(path: Path) -> None:
    """Raise RunError unless the file is there and has a checksum of its sidecar, in the form of `sha256sum`."""
    try:
        expected = _digests(_sidecar(path))
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _broken(path, f"it cannot be read ({error.strerror or error})") from error
    if not expected:
        raise _broken(path, f"its checksum {_sidecar(path).name} is missing, so nothing says that it is whole")
    if found not in expected:
        raise _broken(path, "it is truncated or damaged: its checksum differs")


def _digests(sidecar: Path) -> list[str]:
    if not sidecar.exists():
        return []
    return [line.split()[0] for line in sidecar.read_text(errors="replace").splitlines() if line.strip()]


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def checkpoints(folder: Path, series: str = "") -> list[Path]:
    """Files named like checkpoints of `series`, and folders of those that several processes wrote, oldest first."""
    return sorted(path for path in folder.glob(f"{series}*.*") if _NAME.fullmatch(path.name.removeprefix(series)))


def images_of(path: Path) -> int:
    """Images seen, as the name of a checkpoint says."""
    return int(path.stem.removeprefix(BEST))


def prune(folder: Path, written: Path, keep: int, series: str = "") -> None:
    """Delete all but `written` and the `keep` - 1 before it. Files with more images than `written` are of a course that the run
    left when it continued from an earlier checkpoint; they go too, or they would be taken for the latest."""
    older = [path for path in checkpoints(folder, series) if path.name < written.name]
    kept = {written, *older[-(keep - 1) :]} if keep > 1 else {written}
    for path in checkpoints(folder, series):
        if path not in kept:
            _delete(path)
            _sidecar(path).unlink(missing_ok=True)
    sync_folder(folder)


def _sweep(folder: Path) -> None:
    """Delete what a killed process left: temporary files, and checksums without a file."""
    for path in folder.glob(f"*{TEMPORARY}"):
        _delete(path)
    for sidecar in folder.glob("*.pt.sha256"):
        if not sidecar.with_suffix("").exists():
            sidecar.unlink(missing_ok=True)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _plain(value: Any, where: str) -> None:
    """Raise TypeError for anything that loading with `weights_only` would refuse."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str | int):
                raise TypeError(f"{where} has a key of type {type(key).__name__}; keys are text or integers")
            _plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            _plain(item, f"{where}.{place}")
    elif value is not None and type(value) not in (bool, int, float, str) and not isinstance(value, torch.Tensor):
        raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors, numbers, text and None")


def _broken(path: Path, what: str) -> RunError:
    return RunError(
        f"this checkpoint cannot be used: {what}",
        field=str(path),
        fix="take the checkpoint before it, or a copy of this one together with its .sha256 file",
    )
