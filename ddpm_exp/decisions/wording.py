"""Numbers, intervals and tables as text, the same on pages, boards and comparisons. Knows no statistics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

NOT_AVAILABLE = "n/a"


def number(value: float | None) -> str:
    """Four significant digits, or n/a."""
    return NOT_AVAILABLE if value is None else f"{value:.4g}"


def signed(value: float | None) -> str:
    """Four significant digits with the sign, or n/a."""
    return NOT_AVAILABLE if value is None else "0" if value == 0 else f"{value:+.4g}"


def with_deviation(mean: float | None, deviation: float | None) -> str:
    """`0.0912 ± 0.0031`; without the deviation where there is one value only."""
    return number(mean) if deviation is None else f"{number(mean)} ± {deviation:.2g}"


def with_interval(difference: float | None, interval: tuple[float, float] | None) -> str:
    """`-0.012 [-0.015, -0.009]`; without the interval where there is none."""
    if difference is None or interval is None:
        return signed(difference)
    return f"{signed(difference)} [{signed(interval[0])}, {signed(interval[1])}]"


def plain(value: Any) -> str:
    """A configuration value as JSON, strings bare."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def count(amount: int) -> str:
    """`2,048`."""
    return f"{amount:,}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells may hold anything, also bars and line ends."""
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
