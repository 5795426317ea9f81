"""The part of `check` about memory: a line for each GPU. Plans nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from ddpm_exp.memory.rows import PlanRow


def memory_table(rows: Sequence[PlanRow]) -> Table:
    """The memory and batch plan of each GPU; `no` where there is none."""
    from rich.text import Text

    from ddpm_exp.cli.amounts import bytes_text
    from ddpm_exp.cli.output import table

    grid = table("GPU", "precision", "micro x steps", "expected peak", "of", "largest part", right=("expected peak", "of"))
    for row in rows:
        memory = bytes_text(row.gpu.usable_bytes)
        if row.plan is None:
            grid.add_row(row.gpu.name, Text("no", "red"), "", "", memory, "")
            continue
        plan = row.plan
        peak = f"{bytes_text(plan.peak_bytes)} +- {plan.uncertainty:.0%}"
        slices = f"{plan.micro_batch} x {plan.accumulation}" + (f" x {plan.devices} GPUs" if plan.devices > 1 else "")
        grid.add_row(row.gpu.name, plan.precision, slices, peak, memory, Text(plan.largest_term))
    return grid
