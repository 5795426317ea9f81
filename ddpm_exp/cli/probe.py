"""`ddpm-exp probe`: finds the micro-batch by real steps on the GPU that is here. Parses and prints; `workflow` measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddpm_exp.cli import completion
from ddpm_exp.cli.words import ExperimentWord, Json, MemoryLimit, Overrides, bytes_of

if TYPE_CHECKING:
    from rich.console import Console

    from ddpm_exp.workflow.display import Display
    from ddpm_exp.workflow.probe_report import ProbeReport


def probe(
    file: str | Path,
    overrides: Sequence[str] = (),
    *,
    gpu: str | None = None,
    memory_limit: str | None = None,
    cached: bool = True,
    smoke: bool = False,
    display: Display | None = None,
) -> ProbeReport:
    """Try micro-batches of an experiment with real steps on this machine's GPU; see `ProbeReport`.

    `gpu` or `memory_limit` ("15GiB"): get no more memory than such a card has. Without `cached`, what an earlier probe found is
    found anew. Raises `UserError` for a wrong experiment, without a GPU, and where nothing fits.
    """
    from ddpm_exp.loading.loaded import load_experiment, resolve

    # Before anything that takes torch: a mistake is told at once.
    limit = bytes_of(memory_limit)
    loaded = load_experiment(resolve(str(file)), overrides)

    from ddpm_exp.workflow.display import Quiet
    from ddpm_exp.workflow.options import RunOptions
    from ddpm_exp.workflow.probe_report import probe_experiment

    options = RunOptions(gpu=gpu, memory_limit=limit, smoke=smoke)
    return probe_experiment(loaded, options, display or Quiet(), cached=cached)


def command(
    file: ExperimentWord,
    overrides: Overrides = None,
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", metavar="NAME", help="Get no more memory than this smaller GPU has.", autocompletion=completion.gpus),
    ] = None,
    memory_limit: MemoryLimit = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Measure again what an earlier probe found.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="A small network on little data: does everything work?")] = False,
    as_json: Json = False,
) -> None:
    """Find the micro-batch that fits this machine's GPU and is fastest, by real steps on it.

    Whole steps are tried as a run does them (optimizer, average, accumulation, captured or compiled), and a batch of sampling,
    around the estimate's micro-batch: twice as many while that is faster, half as many while that is as fast. Images per step
    stay the experiment's. Most searches end within half a minute, compilation apart. FID and validation are not tried.

    What was found is kept, and 'run' takes it without trying again while nothing that decides it has changed.

    Exit codes: 0 found; 1 failed; 2 wrong input, no GPU, or nothing fits.

    \b
    ddpm-exp probe experiments/adr_0002.py
    ddpm-exp probe 2 training.images_per_step=256 --memory-limit 15GiB
    ddpm-exp probe 2 --gpu T4 --no-cache
    """
    from ddpm_exp.cli.display import display_for
    from ddpm_exp.cli.output import console, print_json, say

    screen = console(stderr=as_json)
    display = display_for(screen)
    try:
        report = probe(
            file,
            overrides or (),
            gpu=gpu,
            memory_limit=memory_limit,
            cached=not no_cache,
            smoke=smoke,
            display=display,
        )
    finally:
        display.close()
    if as_json:
        print_json(report)
        return
    show(screen, report)
    if smoke:
        say(screen, "--smoke only shows that everything works: the sizes are those of another, smaller network")


def show(screen: Console, report: ProbeReport) -> None:
    """The sizes tried, the chosen one and why, and what it means for the run."""
    from ddpm_exp.cli.amounts import bytes_text, seconds_text
    from ddpm_exp.cli.output import say, table
    from ddpm_exp.cli.time_table import span_text
    from ddpm_exp.workflow.probe_report import band_in_words

    measured, found = report.measured, report.measured.probed.found
    plan, limit, share = measured.plan, measured.probed.limit_bytes, measured.plan.images_per_step // measured.plan.devices
    memory = f"{bytes_text(report.usable_bytes)}{', emulated on a larger card' if report.emulated else ''}"
    say(
        screen, f"{report.experiment_id} on {plan.gpu} ({memory}), {plan.precision}, {plan.images_per_step} images per step", "bold"
    )
    if measured.before:
        say(screen, "probed before on this GPU, with the same versions and settings; --no-cache measures again")
    grid = table("micro-batch x steps", "peak", "of", "images/s", "seconds", "verdict", right=("peak", "of", "images/s", "seconds"))
    for one in sorted(found.attempts, key=lambda one: one.micro_batch):
        chosen = one.micro_batch == plan.micro_batch
        grid.add_row(
            f"{one.micro_batch} x {share // one.micro_batch}" + (f" x {plan.devices} GPUs" if plan.devices > 1 else ""),
            "-" if one.peak_bytes is None else bytes_text(one.peak_bytes),
            bytes_text(limit),
            "-" if one.images_per_second is None else f"{one.images_per_second * plan.devices:,.0f}",
            f"{one.seconds:.1f}",
            f"{one.verdict(limit)}, chosen" if chosen else one.verdict(limit),
            style="bold" if chosen else None,
        )
    screen.print(grid)
    say(screen, f"micro-batch {plan.micro_batch}: {found.why}", "bold")
    band = band_in_words(plan.peak_bytes, report.usable_bytes)
    say(screen, f"the peak is {band}; hardware.headroom allows up to {limit / report.usable_bytes:.0%}")
    rate = measured.images_per_second
    say(
        screen,
        f"{seconds_text(report.epoch_seconds)} per epoch of {report.images_per_epoch:,} images at {rate:,.0f} images/s, "
        f"{seconds_text(report.total_images / max(1e-9, rate))} for the whole training, evaluation apart",
    )
    if report.timing is not None and report.timing.run_seconds is not None:
        whole = span_text(report.timing.run_seconds, report.timing.factor)
        say(screen, f"with evaluations, which were not measured, the whole run is estimated at {whole}")
    starting = report.starting_seconds
    began = f", of which {starting:.0f} s compiling kernels and starting" if starting >= 1 else ""
    took = f"measured in {report.seconds:.0f} s{began}"
    guess = report.estimated
    say(
        screen, f"{took}; the estimate was {guess.micro_batch} with {bytes_text(guess.peak_bytes)} (predicted, not measured)", "dim"
    )
    if plan.devices > 1:
        say(screen, "measured on one GPU with its share of a step; what devices say to each other is not in the rate", "dim")
