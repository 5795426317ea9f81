"""A comparison and the board as tables for the terminal (rich)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ddpm_exp.decisions.board import BoardRow
from ddpm_exp.reports.comparison import Comparison
from ddpm_exp.reports.markdown import BOARD_HEAD, board_cells, comparison_cells, comparison_head

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {"accepted": "green", "rejected": "red", "inconclusive": "yellow", "refused": "magenta"}


def comparison_table(comparison: Comparison) -> Table:
    """A line per metric; the better arm is bold where metric and interval say which it is."""
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=Text(". ".join(comparison.notes)) if comparison.notes else None)
    for index, name in enumerate(comparison_head(comparison)):
        table.add_column(Text(name), justify="right" if index in (2, 3, 4, 5, 6) else "left", overflow="fold")
    for row in comparison.rows:
        # Text, not str: rich would read brackets in a name as markup.
        cells = [Text(cell) for cell in comparison_cells(row, comparison)]
        if row.favours is not None:
            cells[3 if row.favours == "a" else 5].stylize("bold")
        table.add_row(*cells)
    return table


def board_table(rows: Sequence[BoardRow]) -> Table:
    """A line per decision."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in BOARD_HEAD:
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = [Text(cell) for cell in board_cells(row)]
        cells[3].stylize(_STYLES.get(row.verdict, ""))
        table.add_row(*cells)
    return table
