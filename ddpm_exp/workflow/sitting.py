"""One sitting of a run: train, log, evaluate and checkpoint until the end or until asked to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from ddpm_exp.checkpoints.store import BEST, checkpoints, has_any, images_of
from ddpm_exp.evaluation.drawing import Stopped
from ddpm_exp.ranks.together import StopTogether
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.records.sink import Sink
from ddpm_exp.training.collector import passed_over
from ddpm_exp.training.diverged import Diverged
from ddpm_exp.training.loop import Callbacks, train
from ddpm_exp.training.out_of_memory import NoRoomError
from ddpm_exp.training.stopping import Early
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.assemble import Runtime
from ddpm_exp.workflow.averages import keep_averages
from ddpm_exp.workflow.checkpointing import Checkpointing
from ddpm_exp.workflow.display import Display, Progress
from ddpm_exp.workflow.early import ended_early
from ddpm_exp.workflow.following import start_again_alike
from ddpm_exp.workflow.going_back import go_back
from ddpm_exp.workflow.noticing import Noticing
from ddpm_exp.workflow.orders import lead, pauses
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.short_of_memory import told, with_remedies
from ddpm_exp.workflow.time_left import TimeLeft

STATUS_SECONDS = 10.0
"""Shortest time between two words of how far training is, in status.json."""

_EVALUATED = "val/denoising"


class Sitting:
    """Connects the training loop with the run directory, the evaluator, the sink and the display."""

    def __init__(
        self,
        prepared: Prepared,
        runtime: Runtime,
        run: RunDirectory,
        sink: Sink,
        display: Display,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        self._prepared, self._runtime, self._run = prepared, runtime, run
        self._sink, self._display, self._asked = sink, display, asked_to_stop
        self._noticing = Noticing(prepared, run, display)
        training, epoch = prepared.experiment.training, prepared.units.images_per_epoch
        self._log_images = training.images(training.log_every, epoch)
        self._evaluate_images = training.images(prepared.experiment.evaluation.every, epoch)
        self._started = time.monotonic()
        self._time_left = TimeLeft(prepared.units.total_images)
        self._seconds_before = run.status().seconds
        self._early: Early | None = None
        self._checkpoints = Checkpointing(prepared, runtime.trainer, run)
        self._said: float | None = None
        self._best_now = False

    def go(self) -> bool:
        """Continue from where the trainer is; True when the run is complete, False when stopped (and resumable).

        However it ends, no checkpoint is being written any more.
        """
        trainer = self._runtime.trainer
        trainer.on_halved = lambda halved: told(halved, self._run, self._display)
        try:
            with self._checkpoints.beside:
                return self._go()
        finally:
            trainer.on_halved = None  # whoever drops the runtime drops all of it, and the workers of its data end

    def _go(self) -> bool:
        trainer, total = self._runtime.trainer, self._prepared.units.total_images
        self._run.set_status("running", images_seen=trainer.images_seen, total_images=total)
        try:
            self._evaluate_if_due(trainer.images_seen)
            if self._best_now:
                self._checkpoint(last=False)
            self._early = ended_early(self._prepared, self._run)
            complete = self._early is not None or self._train(trainer)
        except Stopped:
            # Not one step further: the next sitting begins with the evaluation that this one broke off.
            complete = False
        if not complete:
            self._checkpoint()
            self._run.set_status("running", images_seen=trainer.images_seen, seconds=self.seconds)
        return complete

    def _train(self, trainer: Trainer) -> bool:
        training = self._prepared.experiment.training
        if training.remedy == "rollback" and not has_any(self._run.checkpoints):
            self._checkpoint()
        while True:
            if self._asked():
                return False
            try:
                with passed_over(self._prepared.machine.device):
                    return self._train_on(trainer)
            except Diverged as error:
                self._checkpoints.beside.wait()
                go_back(error, training, trainer, self._run, self._display)
                self._noticing = Noticing(self._prepared, self._run, self._display)
            except NoRoomError as error:
                raise with_remedies(error, self._prepared) from error
            lead(trainer.ranks, "alike")
            start_again_alike(trainer, self._run.checkpoints)

    def _train_on(self, trainer: Trainer) -> bool:
        lead(trainer.ranks, "train")
        self._checkpoints.reserve()
        if trainer.compiles:
            self._display.phase("compiling the network in the first step, a minute or two")
        return train(
            trainer,
            log_images=self._log_images,
            stops=pauses(self._prepared),
            stop_after_bad_steps=self._prepared.experiment.training.stop_after_bad_steps,
            callbacks=Callbacks(
                self._on_log,
                self._on_images,
                StopTogether(trainer.ranks, self._asked),
                before_pause=self._checkpoints.look_ahead,
                complete=lambda: self._early is not None,
                on_compiled=lambda seconds: self._display.note(f"compiled in {seconds:.0f} s"),
            ),
        )

    @property
    def seconds(self) -> float:
        """Time spent on the run in all its sittings."""
        return self._seconds_before + time.monotonic() - self._started

    def _on_log(self, images: int, values: dict[str, float]) -> None:
        if "speed/images_per_second" in values:
            values["speed/epoch_seconds"] = self._prepared.units.images_per_epoch / values["speed/images_per_second"]
        self._checkpoints.beside.check()
        values |= self._checkpoints.seconds()
        self._checkpoints.prepare()  # by now the optimizer has its moments
        self._noticing.measure(values)
        # A run goes on from a checkpoint, before which lines are synced; what comes after it is recorded again.
        self._run.metrics.append(images, values, sync=False)
        self._sink.log(images, values)
        self._say_how_far(images)
        self._display.progress(self._progress(images, values))
        self._noticing.look(images, values)

    def _say_how_far(self, images: int) -> None:
        """In status.json, which takes several waits for the disk, and which nobody reads more often."""
        if self._said is None or time.monotonic() - self._said >= STATUS_SECONDS:
            self._run.set_status("running", images_seen=images, seconds=self.seconds)
            self._said = time.monotonic()

    def _progress(self, images: int, values: dict[str, float]) -> Progress:
        units = self._prepared.units
        left = self._time_left.seconds(time.monotonic(), images, values.get("speed/images_per_second"))
        return Progress(images, units.total_images, images / units.images_per_epoch, values, left)

    def _on_images(self, images: int) -> None:
        trainer, total = self._runtime.trainer, self._prepared.units.total_images
        # Before the evaluation, which may be broken off: the next sitting begins with that, and not with a snapshot.
        keep_averages(self._prepared, trainer, self._run, ends=images >= total)
        self._evaluate_if_due(images)
        self._early = ended_early(self._prepared, self._run)
        if self._early is not None:
            keep_averages(self._prepared, trainer, self._run, ends=True)
        due = self._early is not None or self._checkpoints.due(images)
        if due or self._best_now:
            self._checkpoint(last=due)
        lead(trainer.ranks, "go on" if self._early is None else "complete")

    def _evaluate_if_due(self, images: int) -> None:
        """Evaluate at the start, at every multiple of the interval and at the end, unless that is already recorded.

        Raises Stopped if asked to stop meanwhile; nothing of the evaluation is then recorded.
        """
        total = self._prepared.units.total_images
        due = images >= total or images % self._evaluate_images == 0
        if not due or any(at == images for at, _ in self._run.metrics.series(_EVALUATED)):
            return
        self._evaluate(images)
        self._best_now = self._is_best(images)

    def _is_best(self, images: int) -> bool:
        """Whether the evaluation at `images`, which is recorded, is to be kept as the best. An untrained network is none."""
        if not images or not self._prepared.experiment.training.keep_best:
            return False
        found = dict(self._run.metrics.series(_EVALUATED))
        # Later ones, and those that the record does not know, are of a course that the run left.
        before = [at for path in checkpoints(self._run.checkpoints, BEST) if (at := images_of(path)) < images and at in found]
        return not math.isnan(found[images]) and (not before or found[images] < found[before[-1]])

    def _evaluate(self, images: int) -> None:
        epoch = images / self._prepared.units.images_per_epoch
        self._display.phase(f"evaluating at {images:,} images (epoch {epoch:.4g})")
        lead(self._runtime.trainer.ranks, "evaluate")
        found = self._runtime.evaluator.evaluate(self._runtime.averaged(), f"{images:,} images, epoch {epoch:.4g}")
        values = found.values | self._fall(images, found.values[_EVALUATED])
        if images == 0:
            values |= self._runtime.evaluator.of_noise()
        paths: list[Path] = []
        for name, (png, caption) in found.pictures.items():
            path = self._run.write_bytes(f"samples/{name}-{images:010d}.png", png)
            self._sink.image(name, path, images, caption)
            paths.append(path)
        codec = self._prepared.splits.codec
        if codec is not None:
            paths.append(self._run.write_bytes(f"samples/samples-{images:010d}.csv", codec.csv(found.drawn)))
        self._run.metrics.append(images, values)
        self._sink.log(images, values)
        self._display.evaluated(images, values, paths)
        self._noticing.look(images, values)

    def _fall(self, images: int, now: float) -> dict[str, float]:
        """Mean fall of val/denoising per epoch since before the first step; nothing at the start itself."""
        points = self._run.metrics.series(_EVALUATED)
        if not images or not points or points[0][0] != 0:
            return {}
        return {"val/denoising_fall_per_epoch": (points[0][1] - now) / (images / self._prepared.units.images_per_epoch)}

    def _checkpoint(self, *, last: bool = True) -> None:
        self._checkpoints.write(last=last, best=self._best_now)
        self._best_now = False
