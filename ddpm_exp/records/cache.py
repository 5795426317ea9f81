"""Answers that took time to find, kept in the user's cache folder for the next time. What is lost there is only time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ddpm_exp.records.atomic import write_atomically
from ddpm_exp.spec.errors import RunError

VARIABLE = "DDPM_EXP_CACHE"
"""The environment variable that names another folder."""

Json = Any
"""A value that `json` writes and reads back unchanged: keys are text, no tuples."""


def cache_folder() -> Path:
    """`$DDPM_EXP_CACHE`, else `ddpm-exp` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`). It may not exist yet."""
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddpm-exp"


@dataclass(frozen=True)
class Kept:
    """One kind of answers, in a folder of its own: one small file for each question."""

    kind: str
    """Name of the folder within `cache_folder()`."""

    most: int = 500
    """Answers that are kept; beyond it those that were asked for least recently go."""

    def find(self, question: Json) -> Json | None:
        """The answer that was kept for exactly `question`; None without one, or where its file is damaged."""
        path = self._path(question)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if entry["question"] != question or entry["digest"] != _digest(entry["answer"]):
                return None
        except (OSError, ValueError, TypeError, KeyError):
            return None
        with contextlib.suppress(OSError):  # a folder that may only be read
            os.utime(path)  # so that it is not the next to go
        return entry["answer"]

    def keep(self, question: Json, answer: Json) -> None:
        """Keep `answer` for the next `find(question)`. A folder that cannot be written costs time and is no error."""
        entry = {"question": question, "answer": answer, "digest": _digest(answer)}
        with contextlib.suppress(RunError, OSError):
            write_atomically(self._path(question), json.dumps(entry, allow_nan=False).encode())
            self._forget()

    def has(self, question: Json) -> bool:
        """Whether there is a file for `question`, damaged or not: `find` tells which."""
        return self._path(question).exists()

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return cache_folder() / self.kind

    def _path(self, question: Json) -> Path:
        return self.folder / f"{_digest(question)[:32]}.json"

    def _forget(self) -> None:
        files = list(self.folder.glob("*.json"))
        if len(files) > self.most:
            for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)[: len(files) - self.most]:
                file.unlink(missing_ok=True)  # another process may have been faster


def _digest(value: Json) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


@cache
def source_digest() -> str:
    """Digest of every file of this package: an edited checkout never answers from what it would have said before."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(file for file in root.rglob("*") if "__pycache__" not in file.parts and file.is_file()):
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def version_of(package: str) -> str | None:
    """The installed version of a distribution, read without importing it; None where there is none. It need not say the build."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
