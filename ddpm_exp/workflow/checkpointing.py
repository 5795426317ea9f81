"""When a run's checkpoints are due, and how long training stands still for them. What is in them is the trainer's affair."""

from __future__ import annotations

import time

from ddpm_exp.checkpoints.background import Background
from ddpm_exp.checkpoints.store import Checkpoint
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.training.loop import is_idle, wait_for
from ddpm_exp.training.state import moments_to_come, to_checkpoint
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.orders import lead
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.spread_state import save_together


class Checkpointing:
    """The checkpoints of one sitting, written beside the steps but where weights are spread over processes."""

    def __init__(self, prepared: Prepared, trainer: Trainer, run: RunDirectory) -> None:
        training, epoch = prepared.experiment.training, prepared.units.images_per_epoch
        self._trainer, self._run, self._keep = trainer, run, training.keep_checkpoints
        self._every, self._total = training.images(training.checkpoint_every, epoch), prepared.units.total_images
        self._facts = {"science_hash": run.manifest.science_hash, "seed": run.manifest.seed}
        self._begun: Checkpoint | None = None
        self._waited_ahead = 0.0
        self._stood_still: float | None = None
        self.beside = Background(run.checkpoints, training.keep_checkpoints, before=run.metrics.sync)
        """What writes them."""

    def due(self, images: int) -> bool:
        """Whether a training that has seen so many gets one."""
        return images >= self._total or images % self._every == 0

    def reserve(self) -> None:
        """Before the first step: get the host's memory for copies, moments of the optimizer that come with it included."""
        self._begun = None  # of a course that may have been left
        if not self._trainer.spread:
            self.beside.reserve(to_checkpoint(self._trainer, {}), moments_to_come(self._trainer))

    def prepare(self) -> None:
        """After some steps: find places for copies, in a thread, the first time that this is called."""
        if not self._trainer.spread:
            self.beside.prepare(lambda: to_checkpoint(self._trainer, {}))

    def look_ahead(self, images: int) -> None:
        """The device has its last steps before a pause at so many `images`: look up what is to be copied while it does them."""
        if self._trainer.spread or not self.due(images):
            return
        began = time.perf_counter()
        self._begun = to_checkpoint(self._trainer, self._facts)
        self.beside.expect(self._begun)
        self._waited_ahead = time.perf_counter() - began if is_idle(self._trainer) else 0.0  # idle: it may have waited for this

    def write(self, *, last: bool = True, best: bool = False) -> None:
        """Have one written of this moment, as the last one and as the best."""
        trainer = self._trainer
        wait_for(trainer)  # steps that the device has yet to do are not what a checkpoint costs
        began = time.perf_counter()
        if trainer.spread:
            lead(trainer.ranks, "checkpoint")
            self._run.metrics.sync()
            save_together(trainer, self._run.checkpoints, self._facts, self._keep)
        else:
            self.beside.save(to_checkpoint(trainer, self._facts, self._begun), last=last, best=best)
            self._begun = None
        took, self._waited_ahead = self._waited_ahead + time.perf_counter() - began, 0.0
        self._stood_still = max(self._stood_still or 0.0, took)

    def seconds(self) -> dict[str, float]:
        """How long training stood still for one of those since the last call, for the log; nothing if there was none."""
        if self._stood_still is None:
            return {}
        seconds, self._stood_still = self._stood_still, None
        return {"speed/checkpoint_seconds": seconds}
