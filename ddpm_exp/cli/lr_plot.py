"""The curve of a learning-rate range test in characters, as wide as the terminal. ASCII alone, so that any log shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

HEIGHT = 13
_LABEL = 9
_NARROWEST, _WIDEST = 24, 100


def lr_plot(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], marks: Mapping[str, float | None], width: int
) -> list[str]:
    """Lines of at most `width` columns (but at least 35): `.` a loss, `*` the smoothed curve, over the logarithm of the rate.

    `marks`: letter to rate; each stands under the axis below its rate, and letters of the same column one below the other.
    """
    columns = max(_NARROWEST, min(width - _LABEL - 2, _WIDEST))
    start, span = math.log(rates[0]), max(math.log(rates[-1] / rates[0]), 1e-12)
    low, high = min(smoothed), max(smoothed)
    grid = [[" "] * columns for _ in range(HEIGHT)]

    def column(rate: float) -> int:
        return round((math.log(rate) - start) / span * (columns - 1))

    def row(loss: float) -> int:
        return round((high - loss) / max(high - low, 1e-12) * (HEIGHT - 1))

    for rate, loss in zip(rates, losses, strict=True):
        if 0 <= row(loss) < HEIGHT:
            grid[row(loss)][column(rate)] = "."
    for place in range(columns):
        nearest = round(place / (columns - 1) * (len(rates) - 1))
        grid[row(smoothed[nearest])][place] = "*"
    lines = []
    for number, cells in enumerate(grid):
        label = f"{high - (high - low) * number / (HEIGHT - 1):.3g}" if number % 4 == 0 else ""
        lines.append(f"{label:>{_LABEL}} |{''.join(cells)}".rstrip())
    lines.append(f"{'':>{_LABEL}} +{_axis(rates, column, columns)}")
    lines += [f"{'':>{_LABEL}}  {line}".rstrip() for line in _labels(rates, column, columns)]
    lines += [f"{'':>{_LABEL}}  {line}".rstrip() for line in _marks(marks, column, columns)]
    return lines


def _decades(rates: Sequence[float]) -> list[int]:
    """Exponents of the powers of ten within the range."""
    first, last = math.log10(rates[0]), math.log10(rates[-1])
    return list(range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1))


def _axis(rates: Sequence[float], column: Callable[[float], int], columns: int) -> str:
    line = ["-"] * columns
    for exponent in _decades(rates):
        line[column(10.0**exponent)] = "+"
    return "".join(line)


def _labels(rates: Sequence[float], column: Callable[[float], int], columns: int) -> list[str]:
    """The powers of ten under the axis, as many as have room."""
    line = ""
    for exponent in _decades(rates):
        text = f"1e{exponent}"
        place = min(column(10.0**exponent), columns - len(text))
        if not line or place > len(line):
            line = line.ljust(place) + text
    return [line] if line else []


def _marks(marks: Mapping[str, float | None], column: Callable[[float], int], columns: int) -> list[str]:
    """Letters at their columns; what lies outside the axis is left out."""
    lines: list[list[str]] = []
    for letter, rate in marks.items():
        place = -1 if rate is None else column(rate)
        if not 0 <= place < columns:
            continue
        free = next((line for line in lines if line[place] == " "), None)
        if free is None:
            free = [" "] * columns
            lines.append(free)
        free[place] = letter
    return ["".join(line) for line in lines]
