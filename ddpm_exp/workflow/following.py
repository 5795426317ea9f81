"""What every process but the first does in a run: its share of the work, when the first one says so. Records and prints nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from ddpm_exp.checkpoints.store import Checkpoint
from ddpm_exp.evaluation.drawing import Stopped
from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.ranks.together import StopTogether
from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.diverged import Diverged
from ddpm_exp.training.loop import Callbacks, train
from ddpm_exp.training.state import restore, to_checkpoint
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.assemble import Runtime
from ddpm_exp.workflow.measure_images import assist
from ddpm_exp.workflow.orders import Order, hear, pauses
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.spread_state import restore_together, save_together


def start_alike(trainer: Trainer, ranks: Ranks) -> None:
    """Give every process the state that the first one's trainer has. Raises RunError where they still differ."""
    if ranks.size == 1 or trainer.spread:
        return
    state = to_checkpoint(trainer, {}) if ranks.leads else None
    found = ranks.share(None if state is None else {"images_seen": state.images_seen, "tensors": state.tensors})
    if state is None:
        restore(trainer, Checkpoint(int(found["images_seen"]), found["tensors"]))
    total = float(sum(weight.detach().double().sum() for weight in trainer.network.parameters()))
    if ranks.largest(total) != -ranks.largest(-total):
        raise RunError(
            "the processes do not start with the same weights",
            field="hardware.devices",
            value=ranks.size,
            fix="use the same version of torch on every host",
        )


def start_again_alike(trainer: Trainer, checkpoints: Path | None) -> None:
    """Go on, in all processes, from where the first has gone back to. The first one tells the others `alike`, and then calls this
    with its folder of checkpoints; whole weights are those that its trainer has now, spread ones are read from the folder."""
    if trainer.spread:
        restore_together(trainer, checkpoints)
    start_alike(trainer, trainer.ranks)


def follow(prepared: Prepared, runtime: Runtime, ranks: Ranks, wish: Callable[[], bool]) -> None:
    """Do what the first process orders until it ends the run. `wish`: whether this process was asked to stop."""
    with contextlib.suppress(_EndedError):
        _Follower(prepared, runtime, ranks, wish).obey()


class _EndedError(Exception):
    """The run was ended where training paused."""


class _Follower:
    """A process that computes and does not decide."""

    def __init__(self, prepared: Prepared, runtime: Runtime, ranks: Ranks, wish: Callable[[], bool]) -> None:
        self._prepared, self._runtime, self._ranks = prepared, runtime, ranks
        self._wish = wish
        self._complete = False
        # Evaluations stop where memory runs out (see `Room.each`), with an error that says so.
        runtime.artist.room.on_fewer = lambda fewer: None

    def obey(self) -> Order:
        """Carry out orders up to one that ends a pause of training or the run, and return that."""
        while True:
            order = hear(self._ranks)
            if order == "evaluate":
                self._assist(lambda: self._runtime.evaluator.assist(self._runtime.averaged()))
            elif order == "fid":
                self._assist(lambda: assist(self._prepared, self._runtime))
            elif order == "checkpoint":
                save_together(self._runtime.trainer, None)
            elif order == "alike":
                start_again_alike(self._runtime.trainer, None)
            elif order == "train":
                self._train()
            else:
                return order

    def _assist(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Stopped:
            return  # the first process has stopped too, and says what follows

    def _train(self) -> None:
        training = self._prepared.experiment.training
        self._complete = False
        # All see the same numbers: where the first goes back, the others hear of it here; where it ends the run, they need not.
        self._runtime.trainer.on_halved = lambda halved: None  # each process has a device of its own to fit
        goes_back = training.remedy == "rollback"
        with contextlib.suppress(Diverged):
            self._step_on(training.stop_after_bad_steps if goes_back else sys.maxsize)

    def _step_on(self, stop_after_bad_steps: int) -> None:
        training, epoch = self._prepared.experiment.training, self._prepared.units.images_per_epoch
        train(
            self._runtime.trainer,
            log_images=training.images(training.log_every, epoch),
            stops=pauses(self._prepared),
            stop_after_bad_steps=stop_after_bad_steps,
            callbacks=Callbacks(
                on_log=lambda images, values: None,
                on_images=self._pause,
                should_stop=StopTogether(self._ranks, self._wish),
                complete=lambda: self._complete,
            ),
        )

    def _pause(self, images: int) -> None:
        order = self.obey()
        if order == "end":
            raise _EndedError
        self._complete = order == "complete"
