"""A run's numbers over images seen: an append-only file of JSON lines. Knows no metric by name."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddpm_exp.records.atomic import refusal, write_atomically
from ddpm_exp.spec.errors import RunError

_KEY = "images"


@dataclass(frozen=True)
class Row:
    """What was recorded at once."""

    images: int
    """Images seen when it was recorded."""
    values: dict[str, float]
    """NaN stands for every number that was not finite: strict JSON has no word for them, so the file holds null."""


class MetricsLog:
    """`metrics.jsonl`: each line is `{"images": 1280, "train/loss": 0.21, ...}`, written whole, and synced unless told otherwise.

    One process appends; any number may read meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked = False

    def append(self, images: int, values: Mapping[str, float], *, sync: bool = True) -> None:
        """Record `values` at `images` seen. Numbers that are not finite are written as null and read as NaN.

        Without `sync` the line outlives the process at once, and a power cut after the next `sync`. Raises RunError where the disk
        refuses; the file is then as it was before.
        """
        if _KEY in values:
            raise ValueError(f"a metric cannot be called '{_KEY}': it is the key of the line")
        numbers = {name: float(value) for name, value in values.items()}
        line = {_KEY: int(images), **{name: value if math.isfinite(value) else None for name, value in numbers.items()}}
        data = json.dumps(line, allow_nan=False, ensure_ascii=False).encode() + b"\n"
        if not self._checked:
            self._set_damage_aside()
            self._checked = True
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                before = os.fstat(descriptor).st_size
                try:
                    written = os.write(descriptor, data)
                    while written < len(data):  # a full disk takes a part first and refuses the rest
                        written += os.write(descriptor, data[written:])
                    if sync:
                        os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, before)
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise refusal(self.path, error) from error

    def sync(self) -> None:
        """Make every line so far outlive a power cut. Raises RunError where the disk refuses. May be called in another thread."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return
        except OSError as error:
            raise refusal(self.path, error) from error

    def read(self) -> list[Row]:
        """All rows in the order of writing. A last line cut off by a crash is left out; `damage` tells of it.

        Raises RunError where any other line is damaged.
        """
        lines, _ = self._split()
        return [self._parse(line, number) for number, line in enumerate(lines, 1)]

    def damage(self) -> str | None:
        """A sentence about a last line that was cut off in writing, or None."""
        lines, rest = self._split()
        if not rest:
            return None
        return f"{self.path}: line {len(lines) + 1} was cut off in writing and is ignored ({len(rest)} bytes)"

    def series(self, name: str) -> list[tuple[int, float]]:
        """(images, value) of one metric in order of images; of several values at one point the last counts."""
        points = {row.images: row.values[name] for row in self.read() if name in row.values}
        return sorted(points.items())

    def last(self, name: str) -> float | None:
        """The value at the most images, or None where it was never recorded."""
        points = self.series(name)
        return points[-1][1] if points else None

    def cut(self, images: int) -> Path | None:
        """Take out every row beyond `images` seen, so that a run resumed from there records each point once.

        The rows taken out (and a damaged last line) stay beside it as `metrics.tail-N.jsonl`, whose path is returned;
        None where there was nothing to take out. The tail is safe on disk before the file is replaced. -1 takes all.
        """
        lines, rest = self._split()
        kept = [line for number, line in enumerate(lines, 1) if self._parse(line, number).images <= images]
        tail = [line for number, line in enumerate(lines, 1) if self._parse(line, number).images > images]
        if not tail and not rest:
            return None
        beside = self._keep_aside(b"".join(line + b"\n" for line in tail) + rest)
        write_atomically(self.path, b"".join(line + b"\n" for line in kept))
        return beside

    def _set_damage_aside(self) -> None:
        """Move a line that a crash cut off out of the way, or the next line would continue it."""
        lines, rest = self._split()
        if rest:
            self._keep_aside(rest)
            write_atomically(self.path, b"".join(line + b"\n" for line in lines))

    def _keep_aside(self, data: bytes) -> Path:
        taken = len(list(self.path.parent.glob("metrics.tail-*.jsonl")))
        beside = self.path.with_name(f"metrics.tail-{taken + 1}.jsonl")
        write_atomically(beside, data)
        return beside

    def _split(self) -> tuple[list[bytes], bytes]:
        """Whole lines, and what follows the last of them (a last line that ends but does not parse counts as cut off)."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], b""
        except OSError as error:
            raise refusal(self.path, error) from error
        *lines, rest = data.split(b"\n")
        if lines and not rest and _row(lines[-1]) is None:
            rest = lines.pop() + b"\n"
        return lines, rest

    def _parse(self, line: bytes, number: int) -> Row:
        row = _row(line)
        if row is None:
            raise RunError(
                f"line {number} is damaged: a line is one JSON object with images and numbers",
                field=str(self.path),
                value=line[:60].decode(errors="replace"),
                fix=f"mend or delete line {number}, or move the run directory away",
            )
        return row


def _row(line: bytes) -> Row | None:
    try:
        values = json.loads(line, parse_constant=_refuse)
    except ValueError:
        return None
    if not isinstance(values, dict) or type(values.get(_KEY)) is not int:
        return None
    images = values.pop(_KEY)
    if not all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values.values()):
        return None
    return Row(images, {name: math.nan if value is None else float(value) for name, value in values.items()})


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
