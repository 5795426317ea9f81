"""What `ddpm-exp run` prints before and after the training: jobs with their cost, metrics, paths, the verdict so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ddpm_exp.cli.amounts import hours_text, seconds_text, value_text
from ddpm_exp.cli.output import say, table

if TYPE_CHECKING:
    from rich.console import Console

    from ddpm_exp.workflow.jobs import Job
    from ddpm_exp.workflow.run import Outcome


def print_jobs(screen: Console, planned: Sequence[Job]) -> None:
    """Every seed x arm with its state and cost, and the sum of what is left."""
    grid = table("experiment", "seed", "state", "images left", "time", right=("seed", "images left", "time"))
    for job in planned:
        left = f"{job.images_left:,}" if job.state != "finished" else "-"
        cost = hours_text(job.hours) if job.state != "finished" else "-"
        grid.add_row(job.loaded.name, str(job.seed), job.state, left, cost)
    screen.print(grid)
    waiting = [job for job in planned if job.state != "finished"]
    if not waiting:
        say(screen, "nothing is missing: every planned run is finished")
        return
    known = [job.hours for job in waiting if job.hours is not None]
    total = seconds_text(sum(known) * 3600) if len(known) == len(waiting) else "a time unknown until one run has been timed"
    say(screen, f"{len(waiting)} of {len(planned)} runs to do, {total}")


def print_outcome(screen: Console, outcome: Outcome) -> None:
    """A run's end: its state, its last metrics with units and directions, and where everything lies."""
    from ddpm_exp.spec.metrics import METRIC_NAMES, find_metric

    words = {"finished": "finished", "reused": "was finished before and is reused (--fresh trains again)"}
    say(screen, f"seed {outcome.seed}: {words.get(outcome.state, outcome.state)}, {seconds_text(outcome.seconds)}", "bold")
    if outcome.values:
        grid = table("metric", "value", "unit", "better", right=("value",))
        for name, value in outcome.values.items():
            if name in METRIC_NAMES:
                found = find_metric(name)
                grid.add_row(name, value_text(value, found.unit), found.unit, found.better)
            else:
                grid.add_row(name, value_text(value), "", "")
        screen.print(grid)
    say(screen, f"run:    {outcome.run}")
    if outcome.pictures:
        say(screen, f"grid:   {outcome.pictures[-1]}")
    page = outcome.run / "adr.md"
    if page.exists():
        say(screen, f"page:   {page}")
    if outcome.how_to_go_on:
        say(screen, outcome.how_to_go_on, "yellow")
