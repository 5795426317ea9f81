"""`lr-find`: a learning-rate range test of an experiment with a trainer of its own. Records nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.training import Training
from ddpm_exp.training.range_reading import Reading, read
from ddpm_exp.training.range_test import RangeTest, range_test
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.begin import size_to_gpu
from ddpm_exp.workflow.display import Display, Progress
from ddpm_exp.workflow.interruption import Interruption
from ddpm_exp.workflow.lr_picture import picture
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.outputs import require_free, write_new
from ddpm_exp.workflow.prepare import Machine, find_machine, prepare
from ddpm_exp.workflow.smoke import smoke


@dataclass(frozen=True)
class RateFound:
    """A finished or interrupted range test."""

    experiment_id: str
    training: Training
    plan: Plan
    seed: int
    test: RangeTest
    reading: Reading
    out: Path | None
    """The picture, where one was asked for."""

    signalled: bool = False
    """Stopped by Ctrl-C or SIGTERM."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        reading, test = self.reading, self.test
        return {
            "experiment": self.experiment_id,
            "learning_rate": self.training.learning_rate,
            "recommended": reading.recommended,
            "suggestions": {"steepest": reading.steepest, "tenth_of_lowest": reading.tenth},
            "lowest": reading.lowest,
            "still_falling": reading.still_falling,
            "end": test.end,
            "seed": self.seed,
            "gpu": self.plan.gpu,
            "precision": self.plan.precision,
            "images_per_step": self.plan.images_per_step,
            "steps": len(test.rates),
            "planned_steps": test.planned,
            "rates": test.rates,
            "losses": test.losses,
            "smoothed": reading.smoothed,
            "out": self.out,
        }


def find_rate(
    loaded: Loaded,
    rates: Sequence[float],
    options: RunOptions,
    display: Display,
    *,
    seed: int = 0,
    out: Path | None = None,
    force: bool = False,
) -> RateFound:
    """Train one step at each of `rates` from the initial weights of `seed`, with the experiment's optimizer, clipping and plan.

    Of `options` counts where (`gpu`) and how small (`smoke`). Writes the picture `out` and nothing else. Raises UserError before
    the first step.
    """
    _require_picture(out, force=force)
    if options.smoke and not loaded.name.endswith("-smoke"):
        loaded = smoke(loaded)
    machine = find_machine(options)
    with machine.held_to_limit():
        return _found(loaded, machine, rates, display, seed, out, force=force)


def _found(
    loaded: Loaded, machine: Machine, rates: Sequence[float], display: Display, seed: int, out: Path | None, *, force: bool
) -> RateFound:
    display.phase(f"preparing {loaded.id}, seed {seed}")
    prepared = size_to_gpu(prepare(_without_drawing(loaded), machine), None, display)
    trainer = assemble(prepared.whole_task, seed).trainer
    display.phase(f"range test from {rates[0]:g} to {rates[-1]:g} in {len(rates)} steps on {prepared.machine.gpu.name}")
    started, done = time.monotonic(), 0

    def on_step(rate: float, loss: float) -> None:
        nonlocal done
        done += 1
        images, left = trainer.images_seen, (time.monotonic() - started) / done * (len(rates) - done)
        total = images + (len(rates) - done) * prepared.plan.images_per_step
        values = {"train/loss": loss, "train/learning_rate": rate}
        display.progress(Progress(images, total, images / prepared.units.images_per_epoch, values, left))

    with Interruption(None) as interruption:
        test = range_test(trainer, rates, should_stop=interruption.asked, on_step=on_step)
    found = RateFound(loaded.id, prepared.experiment.training, prepared.plan, seed, test, read(test), None, interruption.signalled)
    if out is None or not test.losses:
        return found
    png = picture(test, found.reading, now=found.training.learning_rate, title=f"{loaded.id}: learning-rate range test")
    return replace(found, out=write_new(out, png, force=force))


def _without_drawing(loaded: Loaded) -> Loaded:
    """Nothing is sampled or measured here, so neither the weights of FID nor a guide's run need to be on this machine."""
    experiment = loaded.experiment
    plain = experiment.but(sampling=experiment.sampling.but(guide=None), evaluation=experiment.evaluation.but(fid=None, fd=None))
    if plain.hardware.compile == "auto":  # a test is too short to earn it back
        plain = plain.but(hardware=plain.hardware.but(compile=False))
    # One process slices the same step smaller; what it computes is the same to rounding.
    return replace(loaded, experiment=plain.but(hardware=plain.hardware.but(devices=1, shard=False)))


def _require_picture(out: Path | None, *, force: bool) -> None:
    if out is None:
        return
    if out.suffix.lower() != ".png":
        raise UserError("the picture is a PNG", field="--out", value=str(out), fix="name a file such as lr-find.png")
    require_free(out, force=force)
