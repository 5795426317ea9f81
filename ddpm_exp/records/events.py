"""What happened to a run beside its numbers: an append-only file of JSON lines, in the order of happening."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ddpm_exp.records.atomic import refusal
from ddpm_exp.records.manifest import now
from ddpm_exp.records.redaction import redact_all

EVENTS = "events.jsonl"


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    kind: str
    """`rollback`, `out-of-memory` or `symptom`."""

    images: int
    """Images seen when it was noticed."""

    text: str
    """What happened, as it was printed."""

    facts: dict[str, Any] = field(default_factory=dict)
    """Its numbers, as plain JSON data."""

    time: str = field(default_factory=now)


class EventsLog:
    """`events.jsonl`: a line is written whole and synced, and none is ever taken back. One process appends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: Event) -> None:
        """Record `event`. Raises RunError where the disk refuses."""
        data = json.dumps(redact_all(asdict(event)), allow_nan=False, ensure_ascii=False).encode() + b"\n"
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data  # what a crash cut off stays a line of its own
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise refusal(self.path, error) from error

    def read(self) -> list[Event]:
        """All events. A line that a crash cut off is left out."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refusal(self.path, error) from error
        return [event for line in lines if (event := _event(line)) is not None]


def _event(line: bytes) -> Event | None:
    try:
        return Event(**json.loads(line))
    except (TypeError, ValueError):
        return None
