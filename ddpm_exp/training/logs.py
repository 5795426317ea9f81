"""What the steps since the last log were like: taken when a log is due, read when the device has got there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ddpm_exp.training.clock import Clock
from ddpm_exp.training.diverged import Diverged
from ddpm_exp.training.statistics import Taken
from ddpm_exp.training.trainer import Trainer

LATER = 8
"""Steps that a CUDA device is given between the moment of a log and its reading: it does them while the host writes the log, which
takes some milliseconds. Counted, not looked up, so that all processes of a run read in the same step."""


@dataclass(frozen=True)
class _Due:
    """A log of a moment that the device may not have reached."""

    images: int
    rate: float
    waited: float
    taken: Taken
    clock: Clock
    read_at: int
    """Steps after which it is to be read."""


class Logs:
    """The logs of one training, in the order of their moments."""

    def __init__(
        self,
        trainer: Trainer,
        on_log: Callable[[int, dict[str, float]], None],
        stop_after_bad_steps: int,
        later: int | None = None,
    ) -> None:
        """`on_log`: gets (images seen, means since the log before). `later`: as LATER; None: that on CUDA, and 0 elsewhere."""
        self._trainer, self._on_log, self._stop_after = trainer, on_log, stop_after_bad_steps
        self._device = next(trainer.network.parameters()).device
        self._later = later if later is not None else LATER if self._device.type == "cuda" else 0
        self._steps = 0
        self._due: _Due | None = None
        self._clock = Clock(self._device)

    def start(self) -> None:
        """Steps begin, on an idle device."""
        self._clock.start()

    def stop(self) -> None:
        """No more steps for now."""
        self._clock.stop()

    def begin_again(self) -> float:
        """Forget the time so far, and return it in seconds."""
        self._clock.stop()
        seconds, self._clock = self._clock.seconds, Clock(self._device)
        self._clock.start()
        return seconds

    def stepped(self, images: int) -> None:
        """Count a step of so many images."""
        self._steps += 1
        self._clock.images += images

    def take(self) -> None:
        """A log of now. Reads the one before it, if that was not yet."""
        self.read()
        trainer, clock = self._trainer, self._clock
        taken = trainer.statistics.take()
        self._clock = clock.next()
        self._due = _Due(trainer.images_seen, trainer.rate(), trainer.source.waited, taken, clock, self._steps + self._later)
        trainer.source.waited = 0.0

    def read_due(self) -> None:
        """`read`, if its time has come."""
        if self._due is not None and self._steps >= self._due.read_at:
            self.read()

    def read(self) -> None:
        """Call back with what was taken and not yet read. Waits until the device has got there. Raises Diverged."""
        due, self._due = self._due, None
        if due is None:
            return
        values, bad = due.taken.read()
        if bad.longest >= self._stop_after:
            scale = self._trainer.loss_scale
            raise Diverged(bad, images=due.images, rate=due.rate, loss_scale=float(scale.scale) if scale.adapts else None)
        values["train/learning_rate"] = due.rate
        seconds = due.clock.seconds
        if seconds > 0 and due.clock.images:
            values["speed/images_per_second"] = due.clock.images / seconds
        if seconds > 0 and due.waited:
            values["speed/data_wait_share"] = min(1.0, due.waited / seconds)
        if self._device.type == "cuda":
            values["memory/peak_bytes"] = float(torch.cuda.max_memory_reserved())
        self._on_log(due.images, values)
