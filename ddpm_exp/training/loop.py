"""The loop around the step: when to read statistics, when to call back, when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ddpm_exp.training.diverged import Diverged
from ddpm_exp.training.trainer import Trainer


@dataclass
class Clock:
    """Seconds spent in steps since `reset`, without callbacks, and the images trained in them."""

    seconds: float = 0.0
    images: int = 0
    _started: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        """Steps begin."""
        self._started = time.perf_counter()

    def stop(self, images: int) -> None:
        """Steps ended after `images` more; the device must be idle for the time to be true."""
        self.seconds += time.perf_counter() - self._started
        self.images += images


@dataclass(frozen=True)
class Callbacks:
    """What the loop calls, always between two steps."""

    on_log: Callable[[int, dict[str, float]], None]
    """(images seen, means since the last call), every `log_images`."""

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
) -> bool:
    """Step until `trainer.length.total_images`; True when it got there or is complete, False when it was asked to stop.

    Raises Diverged after `stop_after_bad_steps` non-finite steps in a row (noticed at the next log).
    """
    total, step_images = trainer.length.total_images, 0
    clock = Clock()
    clock.start()
    compiling = trainer.compiles
    while trainer.images_seen < total:
        before = trainer.images_seen
        trainer.step()
        now = trainer.images_seen
        if compiling:
            compiling = False
            wait_for(trainer)
            clock.stop(0)
            callbacks.on_compiled(clock.seconds)
            clock = Clock()
        else:
            step_images += now - before
        done, asked = now >= total, callbacks.should_stop()
        log = done or _passed(before, now, log_images)
        call = done or any(_passed(before, now, every) for every in stops)
        if not (log or call or asked):
            continue
        if call:
            callbacks.before_pause(now)
        wait_for(trainer)
        clock.stop(step_images)
        step_images = 0
        if log:
            _log(trainer, clock, callbacks, stop_after_bad_steps)
            clock = Clock()
        if call:
            callbacks.on_images(now)
            if callbacks.complete():
                if not log:
                    _log(trainer, clock, callbacks, stop_after_bad_steps)
                return True
        if asked and not done:
            return False
        clock.start()
    return True


def _log(trainer: Trainer, clock: Clock, callbacks: Callbacks, stop_after_bad_steps: int) -> None:
    values, bad = trainer.statistics.read()
    if bad.longest >= stop_after_bad_steps:
        scale = float(trainer.loss_scale.scale) if trainer.loss_scale.adapts else None
        raise Diverged(bad, images=trainer.images_seen, rate=trainer.rate(), loss_scale=scale)
    values["train/learning_rate"] = trainer.rate()
    if clock.seconds > 0 and clock.images:
        values["speed/images_per_second"] = clock.images / clock.seconds
    if clock.seconds > 0 and trainer.source.waited:
        values["speed/data_wait_share"] = min(1.0, trainer.source.waited / clock.seconds)
    trainer.source.waited = 0.0
    if torch.cuda.is_available() and next(trainer.network.parameters()).is_cuda:
        values["memory/peak_bytes"] = float(torch.cuda.max_memory_reserved())
    callbacks.on_log(trainer.images_seen, values)


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
