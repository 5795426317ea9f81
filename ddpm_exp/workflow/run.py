"""`run`: one seed of one experiment, from its file to a finished, interrupted or reused run directory."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ddpm_exp.checkpoints.store import has_any
from ddpm_exp.evaluation.drawing import Stopped
from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.ranks.environment import require_agreement
from ddpm_exp.ranks.lost import Lost
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.records.sink import Sink
from ddpm_exp.records.wandb_sink import build_sink
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.phases import in_words
from ddpm_exp.workflow.assemble import Runtime, assemble
from ddpm_exp.workflow.begin import begin, size_to_gpu
from ddpm_exp.workflow.display import Display, Quiet
from ddpm_exp.workflow.finish import finish
from ddpm_exp.workflow.following import follow, start_again_alike, start_alike
from ddpm_exp.workflow.interruption import Interruption
from ddpm_exp.workflow.jobs import find_run, go_on_command
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.orders import lead
from ddpm_exp.workflow.prepare import Prepared, find_machine, prepare
from ddpm_exp.workflow.record import last_values
from ddpm_exp.workflow.short_of_memory import evaluations_told
from ddpm_exp.workflow.sitting import Sitting
from ddpm_exp.workflow.smoke import one_thread, smoke
from ddpm_exp.workflow.sole_writer import sole_writer


@dataclass(frozen=True)
class Outcome:
    """What `run_seed` did."""

    run: Path
    state: Literal["finished", "interrupted", "reused"]
    seed: int
    values: dict[str, float]
    """The last value of every metric."""

    seconds: float
    """Time spent on the run in all its sittings."""

    pictures: tuple[Path, ...]
    """The last sample grid and the last reconstructions."""

    how_to_go_on: str | None
    signalled: bool = False
    """Stopped by Ctrl-C or SIGTERM rather than by a time limit."""


def run_seed(loaded: Loaded, seed: int, options: RunOptions, display: Display, ranks: Ranks = SINGLE) -> Outcome:
    """Train, evaluate and record one seed; reuse a finished identical run and resume an unfinished one unless `fresh`.

    The first of several processes calls this, and all others `follow_seed`. Raises UserError for wrong input, before anything is
    written, and RunError where the run fails; what is on disk stays there.
    """
    if options.smoke and not loaded.name.endswith("-smoke"):
        loaded = smoke(loaded)
    display.phase(f"preparing {loaded.id}, seed {seed}")
    machine = find_machine(options)
    require_agreement(ranks, loaded.experiment, gpus=machine.visible)
    prepared = prepare(loaded, machine)
    run = None if options.fresh else find_run(prepared.loaded, prepared.science_hash, seed, options.root)
    if run is not None and _is_trial() and run.status().state in ("finished", "running"):
        display.note(f"{run.path} is the same experiment; this is a W&B agent's trial, which has to report, so it trains again")
        run = None
    threads = one_thread() if options.smoke else contextlib.nullcontext()
    limit, writer = machine.held_to_limit(), sole_writer(run, display)
    with threads, limit, writer, Interruption(options.max_hours) as interruption:
        if run is not None and run.status().state == "finished":
            display.note(f"reusing the finished run {run.path}; --fresh trains again")
            if run.manifest.evaluation_noise != "per-seed":
                display.warn(
                    "it is of before each seed had its own noise and predictions were calibrated: its numbers do not compare with "
                    "those of runs that are made now"
                )
            ranks.share(False)
            return outcome(run, "reused", seed)
        ranks.share(True)
        prepared = size_to_gpu(prepared, run, display, ranks)
        if prepared.splits.place is not None:
            display.note(prepared.splits.place)
        initial = run is None or not has_any(run.checkpoints)
        runtime = assemble(prepared, seed, initial=initial, should_stop=interruption.asked, note=display.phase, ranks=ranks)
        run = begin(prepared, runtime, run, seed, options, display)
        done = _sit(prepared, runtime, run, seed, options, display, interruption)
        lead(ranks, "end")
        return done


def follow_seed(loaded: Loaded, seed: int, options: RunOptions, ranks: Ranks) -> None:
    """Take part in the `run_seed` that the first process does with the same arguments. Raises as that, and `Lost` without it."""
    if options.smoke and not loaded.name.endswith("-smoke"):
        loaded = smoke(loaded)
    machine = find_machine(options)
    require_agreement(ranks, loaded.experiment, gpus=machine.visible)
    prepared = prepare(loaded, machine)
    threads = one_thread() if options.smoke else contextlib.nullcontext()
    with threads, machine.held_to_limit(), Interruption(None) as interruption:
        if not ranks.share(None):
            return
        prepared = size_to_gpu(prepared, None, Quiet(), ranks)
        # Spread weights begin where they are; whole ones come from the first process.
        spread = prepared.experiment.hardware.shard
        runtime = assemble(prepared, seed, initial=spread, should_stop=interruption.asked, ranks=ranks)
        start_again_alike(runtime.trainer, None)
        follow(prepared, runtime, ranks, interruption.asked)


def _is_trial() -> bool:
    """Whether a W&B agent started this process: it waits for this very run."""
    return bool(os.environ.get("WANDB_SWEEP_ID") or os.environ.get("WANDB_RUN_ID"))


def _sit(
    prepared: Prepared,
    runtime: Runtime,
    run: RunDirectory,
    seed: int,
    options: RunOptions,
    display: Display,
    interruption: Interruption,
) -> Outcome:
    sink = build_sink(prepared.experiment.tracking, online=options.online or None, warn=display.warn)
    sink.start(run.manifest, run.path)
    sitting = Sitting(prepared, runtime, run, sink, display, interruption.asked)
    started = time.monotonic()
    count = runtime.parameters
    size = f"{count / 1e6:.1f} M" if count >= 100_000 else f"{count:,}"
    if phases := in_words(prepared.experiment.training):
        display.note(f"in phases: {phases}")
    display.phase(f"training {size} parameters on {prepared.machine.gpu.name}")
    try:
        start_alike(runtime.trainer, runtime.trainer.ranks)
        with evaluations_told(runtime, run, display):
            complete = sitting.go()
            if complete:
                finish(prepared, runtime, run, sink, display, lambda: sitting.seconds)
    except Stopped:  # while FID was measured
        complete = False
    except KeyboardInterrupt:
        _leave(run, "interrupted", "interrupted by a second Ctrl-C", sitting.seconds)
        _close(sink, 1, display)
        raise
    except UserError as error:
        _leave(run, "interrupted" if isinstance(error, Lost) else "failed", error.rule, sitting.seconds)
        _close(sink, 1, display)
        raise
    except BaseException as error:
        _leave(run, "failed", f"{type(error).__name__}: {error}", sitting.seconds)
        _close(sink, 1, display)
        raise
    if not complete:
        go_on = go_on_command(prepared.loaded, seed, options)
        why = interruption.reason or "asked to stop on another host"
        _leave(run, "interrupted", f"{why}; go on with: {go_on}", sitting.seconds)
        _close(sink, 1, display)
        return outcome(run, "interrupted", seed, go_on, interruption.signalled)
    _close(sink, 0, display)
    display.note(f"trained for {time.monotonic() - started:.0f} s in this sitting")
    return outcome(run, "finished", seed)


def _leave(run: RunDirectory, state: Literal["interrupted", "failed"], message: str, seconds: float) -> None:
    # A disk that broke the run also refuses this line; a dead process then reads as interrupted.
    with contextlib.suppress(RunError):
        run.set_status(state, message=message, seconds=seconds)


def _close(sink: Sink, exit_code: int, display: Display) -> None:
    """End the copy of the run that the sink holds, and say where that is or how it is sent."""
    sink.finish(exit_code)
    if sink.where is not None:
        display.note(f"W&B: {sink.where}")


def outcome(
    run: RunDirectory,
    state: Literal["finished", "interrupted", "reused"],
    seed: int,
    how_to_go_on: str | None = None,
    signalled: bool = False,
) -> Outcome:
    """What the run directory says now."""
    last = [max(run.samples.glob(f"{name}-*.png"), default=None) for name in ("samples", "reconstructions")]
    pictures = tuple(path for path in last if path is not None)
    return Outcome(run.path, state, seed, last_values(run), run.status().seconds, pictures, how_to_go_on, signalled)
