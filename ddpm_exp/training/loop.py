"""The loop around the step: when to read statistics, when to call back, when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ddpm_exp.training.logs import Logs
from ddpm_exp.training.trainer import Trainer


@dataclass(frozen=True)
class Callbacks:
    """What the loop calls, always between two steps."""

    on_log: Callable[[int, dict[str, float]], None]
    """(images seen, means since the last call), every `log_images`; on CUDA a few steps after that moment, see LATER."""

    on_images: Callable[[int], None]
    """(images seen), whenever a multiple of any of `stops` is passed, and at the end."""

    should_stop: Callable[[], bool]
    """Asked after every step; True ends the loop early."""

    before_pause: Callable[[int], None] = lambda images: None
    """(images seen), once the device has all steps before an `on_images` and may still be doing them."""

    complete: Callable[[], bool] = lambda: False
    """Asked after `on_images`; True ends the loop as if the training had its whole length."""

    on_compiled: Callable[[float], None] = lambda seconds: None
    """(seconds of the first step), where the network is compiled in it; they count for no speed."""


def train(
    trainer: Trainer,
    *,
    log_images: int,
    stops: tuple[int, ...],
    stop_after_bad_steps: int,
    callbacks: Callbacks,
    read_later: int | None = None,
) -> bool:
    """Step until `trainer.length.total_images`; True when it got there or is complete, False when it was asked to stop.

    `read_later`: steps between the moment of a log and its call, see LATER; before a pause and at the end none is left to come.
    Raises Diverged after `stop_after_bad_steps` non-finite steps in a row (noticed at the next log).
    """
    total = trainer.length.total_images
    logs = Logs(trainer, callbacks.on_log, stop_after_bad_steps, read_later)
    logs.start()
    compiling = trainer.compiles
    while trainer.images_seen < total:
        before = trainer.images_seen
        trainer.step()
        now = trainer.images_seen
        if compiling:
            compiling = False
            callbacks.on_compiled(logs.begin_again())
        else:
            logs.stepped(now - before)
        done, asked = now >= total, callbacks.should_stop()
        log = done or _passed(before, now, log_images)
        call = done or any(_passed(before, now, every) for every in stops)
        if log:
            logs.take()
        if not (call or asked):
            logs.read_due()
            continue
        logs.stop()
        if call:
            callbacks.before_pause(now)
        wait_for(trainer)
        logs.read()
        if call:
            callbacks.on_images(now)
            if callbacks.complete():
                if not log:
                    logs.take()
                    logs.read()
                return True
        if asked and not done:
            return False
        logs.start()
    return True


def _passed(before: int, now: int, every: int) -> bool:
    """Whether a positive multiple of `every` lies in (before, now]."""
    return every > 0 and now // every > before // every


def wait_for(trainer: Trainer) -> None:
    """Return when the device has done all its steps."""
    device = next(trainer.network.parameters()).device
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def is_idle(trainer: Trainer) -> bool:
    """Whether the device has done all its steps already. A processor has."""
    device = next(trainer.network.parameters()).device
    return device.type != "cuda" or torch.cuda.current_stream(device).query()
