"""What `ddpm-exp run` prints before and after the training: jobs with their cost, metrics, paths, the verdict so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ddpm_exp.cli.amounts import hours_text, seconds_text, value_text
from ddpm_exp.cli.output import say, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ddpm_exp.decisions.verdict import Verdict
    from ddpm_exp.spec.errors import UserError
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


def print_outcome(screen: Console, outcome: Outcome, *, whole: bool = False) -> None:
    """A run's end: its state, its last metrics with units and directions, where everything lies, how to go on.

    `whole`: the run is one of all that an experiment needs.
    """
    words = {"finished": "finished", "reused": "was finished before and is reused (--fresh trains again)"}
    say(screen, f"seed {outcome.seed}: {words.get(outcome.state, outcome.state)}, {seconds_text(outcome.seconds)}", "bold")
    if outcome.values and outcome.state != "interrupted":
        screen.print(_metrics(outcome.values))
    say(screen, f"run:    {outcome.run}")
    if outcome.pictures:
        say(screen, f"grid:   {next((path for path in outcome.pictures if path.name.startswith('samples')), outcome.pictures[-1])}")
    page = outcome.run / "adr.md"
    if page.exists():
        say(screen, f"page:   {page}")
    if outcome.how_to_go_on:
        again = " (or the same command again, for all that is left)" if whole else ""
        say(screen, f"go on with: {outcome.how_to_go_on}{again}", "yellow")


def _metrics(values: dict[str, float]) -> Table:
    """The last value of each metric but of how many samples it is; what white noise reaches is named after it and has its unit,
    where one can be better than it."""
    from ddpm_exp.spec.metrics import METRIC_NAMES, METRICS, find_metric

    counts = {metric.out_of for metric in METRICS}
    grid = table("metric", "value", "unit", "better", right=("value",))
    for name, value in values.items():
        known = name.removeprefix("noise/")
        found = find_metric(known) if known in METRIC_NAMES else None
        if known in counts or (known != name and found and found.better == "neither"):
            continue
        unit = found.unit if found else ""
        shown = f"{known} of white noise" if known != name else name
        better = found.better if found and known == name and found.better != "neither" else ""
        grid.add_row(shown, value_text(value, unit), "" if unit == "B" else unit, better)
    return grid


def print_verdict_so_far(screen: Console, file: object, verdict: Verdict | None, problem: UserError | None) -> None:
    """The verdict on the runs there are, or why there is none yet, and how to go on."""
    from ddpm_exp.cli.decide import print_verdict
    from ddpm_exp.loading.lineage import id_of, resolve

    if problem is not None:
        say(screen, f"no verdict: {problem}", "yellow")
    if verdict is None:
        return
    print_verdict(screen, verdict)
    if verdict.missing:
        say(screen, f"run what is missing with: ddpm-exp run {file} --all")
    if id_of(resolve(str(file))).startswith("ADR-"):
        say(screen, f"write the decision's page with: ddpm-exp decide {file}")
