"""Files of JSON lines that are only ever added to: each is written whole and synced. Knows nothing of what the lines say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ddpm_exp.records.atomic import refusal
from ddpm_exp.records.redaction import redact_all


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Add `content`, plain JSON data, redacted. Raises RunError where the disk refuses."""
    data = json.dumps(redact_all(content), allow_nan=False, ensure_ascii=False).encode() + b"\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
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
        raise refusal(path, error) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines that are JSON objects; one that a crash cut off is left out. Raises RunError where the file cannot be read."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise refusal(path, error) from error
    found = []
    for line in lines:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            found.append(content)
    return found
