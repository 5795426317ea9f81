"""`ddpm-exp run`: plans, trains, evaluates and records. Chooses which runs to do; the doing is `workflow`'s."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddpm_exp.cli import completion
from ddpm_exp.cli.failures import INTERRUPTED
from ddpm_exp.cli.words import DEFAULT_RUNS, Amend, ExperimentWord, Json, MemoryLimit, Overrides, Runs, bytes_of

if TYPE_CHECKING:
    from ddpm_exp.decisions.verdict import Verdict
    from ddpm_exp.workflow.display import Display
    from ddpm_exp.workflow.jobs import Job
    from ddpm_exp.workflow.options import RunOptions
    from ddpm_exp.workflow.run import Outcome


def run(
    file: str | Path,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    every: bool = False,
    amend: str | None = None,
    options: RunOptions | None = None,
    display: Display | None = None,
    on_jobs: Callable[[list[Job]], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run one seed of an experiment, or with `every` all that is missing of every planned seed and arm.

    Without `seed`, the first planned seed that is not finished; if all are, the first is reused. An interruption ends
    the list. `amend`: why seeds were added after runs were made, recorded beside the runs. `on_jobs` is called with what will be
    done, `on_outcome` after each run. Raises `UserError` or `RunError`.
    """
    from ddpm_exp.loading.loaded import load_experiment, resolve

    # Before anything that takes torch, whose import costs seconds: a mistake in the file is told at once.
    loaded = load_experiment(resolve(str(file)), overrides)

    from ddpm_exp.spec.errors import UserError
    from ddpm_exp.workflow.amend import settle_plan
    from ddpm_exp.workflow.display import Quiet
    from ddpm_exp.workflow.jobs import jobs, next_seed
    from ddpm_exp.workflow.options import RunOptions
    from ddpm_exp.workflow.run import run_seed
    from ddpm_exp.workflow.started import follow_all, started

    with started(loaded.experiment, options or RunOptions()) as (ranks, options):
        if not ranks.leads:
            follow_all(loaded, options, ranks)
            return []
        if not options.smoke:
            settle_plan(loaded, options.root, amend)
        elif amend is not None:
            raise UserError("--smoke decides nothing", field="--amend", value=amend, fix="leave out --amend or --smoke")
        clock = _Clock(options)
        if every:
            planned = jobs(loaded, options)
            if on_jobs is not None:
                on_jobs(planned)
            work = [(job.loaded, job.seed) for job in planned if job.state != "finished"]
        else:
            work = [(loaded, next_seed(loaded, options) if seed is None else seed)]
        outcomes: list[Outcome] = []
        for arm, number in work:
            if outcomes and clock.is_over():
                break
            ranks.share({"baseline": arm.name.removesuffix("-smoke") != loaded.name, "seed": number})
            outcome = run_seed(arm, number, clock.options_now(), display or Quiet(), ranks)
            outcomes.append(outcome)
            if on_outcome is not None:
                on_outcome(outcome)
            if outcome.state == "interrupted":
                break
        ranks.share(None)
        return outcomes


def verdict_so_far(file: str | Path, overrides: Sequence[str] = (), root: Path = DEFAULT_RUNS) -> Verdict | None:
    """What the runs recorded under `root` say about the experiment's decision; None if it decides nothing.

    Writes no page. Raises `UserError` where its runs cannot be compared with the baseline's.
    """
    from ddpm_exp.loading.loaded import load_experiment, resolve

    loaded = load_experiment(resolve(str(file)), overrides)
    if loaded.experiment.decision is None:
        return None
    from ddpm_exp.workflow.judge import page_of

    return page_of(loaded, root)[0]


def _start_processes(
    file: str, overrides: Sequence[str], *, seed: int | None, every: bool, amend: str | None, options: RunOptions, as_json: bool
) -> None:
    """Where `hardware.devices` are several, do the command in as many processes, and exit as they do."""
    from ddpm_exp.loading.loaded import load_experiment, resolve

    devices = load_experiment(resolve(str(file)), overrides).experiment.hardware.devices
    if devices == 1:
        return
    from ddpm_exp.ranks.launch import launch

    words = ["run", str(file), *overrides, "--runs", str(options.root)]
    limit = None if options.memory_limit is None else f"{options.memory_limit}B"
    named = {"--gpu": options.gpu, "--memory-limit": limit, "--seed": seed, "--max-hours": options.max_hours, "--amend": amend}
    for name, value in named.items():
        words += [] if value is None else [name, str(value)]
    flags = {"--all": every, "--smoke": options.smoke, "--fresh": options.fresh, "--online": options.online, "--json": as_json}
    words += [name for name, chosen in flags.items() if chosen]
    raise typer.Exit(launch(words, devices, on_gpus=(options.gpu or "").lower() != "cpu"))


class _Clock:
    """`--max-hours` over several runs: each gets what the ones before it left."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._started = time.monotonic()

    def is_over(self) -> bool:
        """Whether the hours are used up."""
        return self._left() is not None and self._left() == 0

    def options_now(self) -> RunOptions:
        """The options with the hours that are left."""
        return replace(self._options, max_hours=self._left())

    def _left(self) -> float | None:
        if self._options.max_hours is None:
            return None
        return max(0.0, self._options.max_hours - (time.monotonic() - self._started) / 3600)


def command(
    file: ExperimentWord,
    overrides: Overrides = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu",
            metavar="NAME",
            help="On a larger GPU, get no more memory than this one has; 'cpu' forces the CPU.",
            autocompletion=completion.gpus,
        ),
    ] = None,
    memory_limit: MemoryLimit = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Train this seed.")] = None,
    every: Annotated[bool, typer.Option("--all", help="List every missing seed x arm with its cost, then do them.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few steps of a small network: does everything work?")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Neither reuse finished runs nor resume unfinished ones.")] = False,
    max_hours: Annotated[
        float | None, typer.Option("--max-hours", metavar="H", help="Checkpoint and stop after so many hours.")
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Log to the W&B server, not only to the disk.")] = False,
    amend: Amend = None,
    root: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Plan, train, evaluate and record an experiment: the first seed that is not finished, or --all of them.

    Finished identical runs are reused and unfinished ones resumed, unless --fresh. Ctrl-C and SIGTERM write a
    checkpoint and say how to go on.

    Exit codes: 0 finished, or stopped by --max-hours; 1 failed; 2 wrong input; 130 stopped by Ctrl-C or SIGTERM.
    The verdict's exit codes belong to 'ddpm-exp decide'.

    \b
    ddpm-exp run experiments/quickstart.py
    ddpm-exp run adr_0002 training.learning_rate=3e-4 --seed 1
    ddpm-exp run adr_0002 --all --max-hours 3
    """
    from ddpm_exp.cli import outcomes
    from ddpm_exp.cli.display import display_for
    from ddpm_exp.cli.output import console, print_json, say
    from ddpm_exp.ranks.environment import launched
    from ddpm_exp.spec.errors import UserError
    from ddpm_exp.workflow.options import RunOptions

    if every and seed is not None:
        raise UserError("--all runs every planned seed", field="--seed", value=seed, fix="leave out --all or --seed")
    if max_hours is not None and max_hours <= 0:
        raise UserError("must be greater than 0", field="--max-hours", value=max_hours, fix="write hours, such as --max-hours 1.5")
    limit = bytes_of(memory_limit)
    options = RunOptions(root, gpu, limit, smoke, fresh, max_hours, online, ("ddpm-exp", *sys.argv[1:]))
    place = launched()
    if place is None:
        _start_processes(file, overrides or (), seed=seed, every=every, amend=amend, options=options, as_json=as_json)
    elif place[0] > 0:
        run(file, overrides or (), amend=amend, options=options)
        return
    screen = console(stderr=as_json)
    display = display_for(screen)

    def ended(outcome: Outcome) -> None:
        display.close()
        if not as_json:
            outcomes.print_outcome(screen, outcome, whole=every)

    try:
        done = run(
            file,
            overrides or (),
            seed=seed,
            every=every,
            amend=amend,
            options=options,
            display=display,
            on_jobs=lambda planned: outcomes.print_jobs(screen, planned),
            on_outcome=ended,
        )
    finally:
        display.close()
    complete = bool(done) and done[-1].state != "interrupted" and not smoke
    verdict, problem = None, None
    if complete:
        try:
            verdict = verdict_so_far(file, overrides or (), root)
        except UserError as error:
            problem = error
    if as_json:
        print_json({"runs": done, "verdict": verdict})
    else:
        outcomes.print_verdict_so_far(screen, file, verdict, problem)
        if smoke:
            say(screen, "--smoke leaves out weights to start from, a guide, FID and FD")
            say(screen, "--smoke only shows that everything works: it learns nothing, and no verdict comes from it")
    if any(outcome.signalled for outcome in done):
        raise typer.Exit(INTERRUPTED)
