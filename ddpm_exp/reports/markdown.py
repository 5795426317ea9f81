"""A comparison and the board as Markdown, for pages and pull requests."""

from __future__ import annotations

from collections.abc import Sequence

from ddpm_exp.decisions.board import BoardRow
from ddpm_exp.decisions.wording import NOT_AVAILABLE, markdown_table, with_deviation, with_interval
from ddpm_exp.reports.comparison import LEVEL, Comparison, Row, Side


def comparison_markdown(comparison: Comparison) -> str:
    """A table with a line per metric; the better arm is bold where metric and interval say which it is."""
    head = comparison_head(comparison)
    rows = []
    for row in comparison.rows:
        cells = list(comparison_cells(row, comparison))
        if row.favours is not None:
            index = 3 if row.favours == "a" else 5
            cells[index] = f"**{cells[index]}**"
        rows.append(cells)
    table = markdown_table(head, rows) if rows else "No metrics recorded at the end of training."
    return "\n".join([table, *(f"\n{note}." for note in comparison.notes)]) + "\n"


def board_markdown(rows: Sequence[BoardRow]) -> str:
    """A table with a line per decision."""
    return markdown_table(BOARD_HEAD, (board_cells(row) for row in rows)) + "\n"


BOARD_HEAD = ("id", "title", "status", "verdict", "main effect", "runs", "hours", "note")


def board_cells(row: BoardRow) -> tuple[str, ...]:
    """The row's cells in the order of `BOARD_HEAD`."""
    runs = f"{row.done}/{row.planned}"
    return (row.experiment_id, row.title, row.status, row.verdict, row.effect, runs, f"{row.hours:.2f}", row.note)


def comparison_head(comparison: Comparison) -> tuple[str, ...]:
    """The column names."""
    alone = ("metric", "better", "n", comparison.a)
    return alone if comparison.b is None else (*alone, "n", comparison.b, f"difference [{LEVEL * 100:g} % interval]", "note")


def comparison_cells(row: Row, comparison: Comparison) -> tuple[str, ...]:
    """The row's cells in the order of `comparison_head`."""
    better = "" if row.better == "neither" else row.better
    alone = (row.metric, better, str(row.a.n), _value(row.a))
    if comparison.b is None:
        return alone
    return (*alone, str(row.b.n), _value(row.b), with_interval(row.difference, row.interval), row.note)


def _value(side: Side) -> str:
    return with_deviation(side.mean, side.deviation) if side.n else NOT_AVAILABLE
