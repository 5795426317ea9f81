"""The part of `check` about time and cost: a line for each GPU, and what a guide claims. Estimates nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ddpm_exp.cli.prices import price_of

if TYPE_CHECKING:
    from rich.table import Table

    from ddpm_exp.memory.rows import PlanRow, Speed, Timing
    from ddpm_exp.spec.plan import Plan
    from ddpm_exp.spec.presets.claims import Claim


def time_table(rows: Sequence[PlanRow], prices: Mapping[str, float]) -> Table | None:
    """Training speed, time and cost on each GPU that has a plan; None where no time is known. Of the whole run also the range that
    the truth is expected in; `evaluation` is the part of it that is not training. The cost is there only with prices."""
    from ddpm_exp.cli.output import table

    known = [(row, row.timing) for row in rows if row.timing is not None]
    if not known:
        return None
    columns = ["GPU", "images/s", "epoch", "whole run", "evaluation", *(["cost"] if prices else []), "within"]
    grid = table(*columns, right=tuple(columns[1:]))
    for row, timing in known:
        cost = run_cost(row, prices)
        cells = [row.gpu.name, f"{timing.images_per_second:,.0f}", short_text(timing.epoch_seconds)]
        cells += [span_text(timing.run_seconds, timing.factor), short_text(timing.evaluation_seconds)]
        cells += [("?" if cost is None else f"{cost:,.2f}" if cost < 100 else f"{cost:,.0f}")] if prices else []
        grid.add_row(*cells, f"{timing.factor:.3g}x")
    return grid


def run_cost(row: PlanRow, prices: Mapping[str, float]) -> float | None:
    """Of the whole run on all its devices; None without a price, a plan or a time."""
    hourly = price_of(row.gpu.name, prices)
    if hourly is None or row.plan is None or row.timing is None or row.timing.run_seconds is None:
        return None
    return row.timing.run_seconds / 3600 * hourly * row.plan.devices


def time_notes(rows: Sequence[PlanRow], claim: Claim | None) -> list[str]:
    """What the table cannot say: why a length is unknown, and a guide's claim beside the estimate."""
    timings = [row.timing for row in rows if row.timing is not None]
    notes = []
    for source in dict.fromkeys(timing.source for timing in timings if timing.source != "measured"):
        names = ", ".join(row.gpu.name for row in rows if row.timing is not None and row.timing.source == source)
        notes.append(f"times for {names}: {source}")
    notes += [_measured(row, row.plan, row.speed) for row in rows if row.plan is not None and row.speed is not None]
    if any(timing.run_seconds is None for timing in timings):
        notes.append("?: only its files tell how many images an epoch has; data.subset=N says it")
    if claim is not None:
        notes.append(_beside(rows, claim))
    return notes


def _measured(row: PlanRow, plan: Plan, speed: Speed) -> str:
    from ddpm_exp.cli.amounts import bytes_text

    other = "" if speed.micro_batch == plan.micro_batch else f", where the estimate took {plan.micro_batch}"
    return (
        f"times for {row.gpu.name}: speed measured by 'ddpm-exp probe' at micro-batch {speed.micro_batch}{other} "
        f"(peak {bytes_text(speed.peak_bytes)}); evaluations estimated" + (f"; {speed.unlike}" if speed.unlike else "")
    )


def claim_facts(rows: Sequence[PlanRow], claim: Claim | None) -> dict[str, Any] | None:
    """The claim for programs, with our estimate for each GPU that it speaks of."""
    if claim is None:
        return None
    ours = {row.gpu.name: _claimed_part(row.timing, claim) for row in rows if _is_meant(row, claim) and row.timing is not None}
    return {**claim._asdict(), "estimated_seconds": ours}


def _beside(rows: Sequence[PlanRow], claim: Claim) -> str:
    length = {None: "the whole training", 1: "an epoch"}.get(claim.epochs, f"{claim.epochs} epochs")
    low, high = _amounts((claim.low, claim.high))
    text = f"claim of guide {claim.guide}, not ours: {low}-{high} for {length} on {claim.gpu}"
    ours = [
        f"{row.gpu.name} {span_text(_claimed_part(row.timing, claim), row.timing.factor)}"
        for row in rows
        if _is_meant(row, claim) and row.timing is not None
    ]
    if not ours and any(row.gpu.name.split("-")[0] == claim.gpu for row in rows):
        return text
    if not ours:
        return f"{text}; --gpu {claim.gpu.replace(' ', '')} estimates it"
    return f"{text}; estimated here: {', '.join(ours)}"


def _is_meant(row: PlanRow, claim: Claim) -> bool:
    return row.gpu.name.split("-")[0] == claim.gpu and row.timing is not None


def _claimed_part(timing: Timing, claim: Claim) -> float | None:
    if claim.epochs is None:
        return timing.run_seconds
    return None if timing.epoch_seconds is None else timing.epoch_seconds * claim.epochs


def span_text(seconds: float | None, factor: float) -> str:
    """`3.2 h (1.6-6.4)`: a time, divided and multiplied by `factor`; `?` where unknown."""
    if seconds is None:
        return "?"
    middle, low, high = _in_unit((seconds, seconds / factor, seconds * factor))
    return f"{middle} ({low.split()[0]}-{high.split()[0]})"


def short_text(seconds: float | None) -> str:
    """`54 s`, `12 min`, `3.2 h`, `4.1 d`; `?` where unknown."""
    return "?" if seconds is None else _in_unit((seconds,))[0]


_UNITS = (("d", 86400.0, 2.0), ("h", 3600.0, 2.0), ("min", 60.0, 2.0), ("s", 1.0, 0.0))
"""Name, seconds, and how many of them there must be."""


def _in_unit(times: tuple[float, ...]) -> tuple[str, ...]:
    """All in the unit that fits the first."""
    name, size = next((name, size) for name, size, least in _UNITS if times[0] >= least * size)
    return tuple(f"{time / size:.{_digits(time / size)}f} {name}" for time in times)


def _amounts(times: tuple[float, float]) -> tuple[str, str]:
    """A range whose unit is said once."""
    low, high = _in_unit(times)
    return low.split()[0], high


def _digits(number: float) -> int:
    return 0 if number >= 10 or number == int(number) else 1 if number >= 0.1 else 2
