"""What a run does whose steps are no longer finite: back to the last good checkpoint with half the rate, or to its end."""

from __future__ import annotations

from pathlib import Path

from ddpm_exp.checkpoints.store import Checkpoint, checkpoints, load, save
from ddpm_exp.records.events import Event
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.training import Training
from ddpm_exp.training.diverged import Diverged
from ddpm_exp.training.state import restore, to_checkpoint
from ddpm_exp.training.statistics import bad_at_the_end
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.display import Display

MOST = 3
"""Times that a run goes back before it stops all the same."""


def go_back(error: Diverged, training: Training, trainer: Trainer, run: RunDirectory, display: Display) -> None:
    """Put `trainer` where the last checkpoint from before the bad steps was made, with half the rate, durably.

    Raises `error` with that checkpoint's path where `training.remedy` is to stop, where the run went back `MOST` times already, or
    where there is no such checkpoint. No other thread may be writing one.
    """
    if trainer.spread:  # it does not go back, and may not fit a host that would look at it
        raise error
    found = _last_good(run, display)
    if found is None:
        raise error.knowing("no checkpoint is from before these steps; training.keep_checkpoints keeps more of them") from error
    path, checkpoint = found
    if training.remedy == "stop":
        raise error.knowing(f"the last good checkpoint is {path}") from error
    if trainer.rollbacks >= MOST:
        raise error.knowing(f"it went back {MOST} times already; the last good checkpoint is {path}") from error
    times = trainer.rollbacks + 1
    event = _event(error, checkpoint, times)
    # Killed from here on, the run is either where it was, and notices again, or where it goes back to.
    run.events.append(event)
    restore(trainer, checkpoint)
    trainer.rollbacks = times
    save(run.checkpoints, to_checkpoint(trainer, checkpoint.facts), keep=training.keep_checkpoints)
    run.metrics.cut(trainer.images_seen)
    display.warn(event.text)


def _last_good(run: RunDirectory, display: Display) -> tuple[Path, Checkpoint] | None:
    """The newest whole checkpoint whose last step was finite; the one before, if the run went back to that already and made no
    other since: its weights were on their way out."""
    went_to = [event.facts.get("to_images") for event in run.events.read() if event.kind == "rollback"][-1:]
    tried = None
    for path in reversed(checkpoints(run.checkpoints)):
        try:
            found = load(path)
        except RunError as error:
            display.warn(str(error))
            continue
        if bad_at_the_end(found.tensors["statistics"]):
            continue
        if tried is not None or [found.images_seen] != went_to:
            return path, found
        tried = path, found
    return tried


def _event(error: Diverged, checkpoint: Checkpoint, times: int) -> Event:
    halved = 0.5**times
    text = (
        f"{error.bad.longest} steps in a row had {error.cause}: back from {error.images:,} to {checkpoint.images_seen:,} images, "
        f"and on with {halved:g} times the learning rate (rollback {times} of {MOST})"
    )
    facts = {
        "to_images": checkpoint.images_seen,
        "rollback": times,
        "rate_factor": halved,
        "rate": error.rate,
        "bad_loss": error.bad.by_loss,
        "bad_gradient": error.bad.by_gradient,
        "loss_scale": error.loss_scale,
    }
    return Event("rollback", error.images, text, facts)
