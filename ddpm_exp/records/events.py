"""What happened to a run beside its numbers: an append-only file of JSON lines, in the order of happening."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ddpm_exp.records.json_lines import append_line, read_lines
from ddpm_exp.records.manifest import now

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
        append_line(self.path, asdict(event))

    def read(self) -> list[Event]:
        """All events. A line that a crash cut off is left out."""
        return [event for line in read_lines(self.path) if (event := _event(line)) is not None]


def _event(line: dict[str, Any]) -> Event | None:
    try:
        return Event(**line)
    except TypeError:
        return None
