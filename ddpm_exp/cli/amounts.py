"""Numbers as people read them: durations, bytes, counts, metric values. Knows no terminal."""

from __future__ import annotations

import math


def seconds_text(seconds: float | None) -> str:
    """A duration in its two largest units: `45 s`, `2 min 05 s`, `3 h 10 min`; `?` where unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = max(0, int(seconds + 0.5))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def bytes_text(count: float | None) -> str:
    """Bytes in binary units with one decimal: `1.3 GiB`; `?` where unknown."""
    if count is None or not math.isfinite(count):
        return "?"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def hours_text(hours: float | None) -> str:
    """Hours as a duration; `unknown` before anything was timed."""
    return "unknown" if hours is None else seconds_text(hours * 3600)


def value_text(value: float | None, unit: str = "") -> str:
    """A measured value with four significant digits; bytes in binary units; `-` where nothing was measured."""
    if value is None:
        return "-"
    if unit == "B":
        return bytes_text(value)
    if math.isfinite(value) and value == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    return f"{value:.4g}"


def config_text(value: object) -> str:
    """A value of an experiment as it would be written in Python; tuples of numbers stay on one line."""
    if isinstance(value, list | tuple):
        inside = ", ".join(config_text(item) for item in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {config_text(item)}" for key, item in value.items()) + "}"
    return repr(value)
