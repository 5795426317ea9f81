"""What a run says and records when memory runs out within it, and what it advises where nothing is left to halve."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ddpm_exp.evaluation.room import Fewer
from ddpm_exp.memory.remedies import remedies
from ddpm_exp.records.events import Event
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.training.out_of_memory import Halved, NoRoomError
from ddpm_exp.workflow.assemble import Runtime
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.prepare import Prepared

_KIND = "out-of-memory"
_WISHED = "hardware.micro_batch"


def told(halved: Halved, run: RunDirectory, display: Display) -> None:
    """Print and record that the step was sliced anew."""
    text = (
        f"memory ran out at {halved.images:,} images ({halved.said}): from there on {halved.micro_batch} at once, "
        f"{halved.accumulation} times a step. Images, draws and the size of a step stay; results differ by rounding"
    )
    sliced = {"micro_batch": halved.micro_batch, "accumulation": halved.accumulation}
    run.events.append(Event(_KIND, halved.images, text, sliced | {"gpu": halved.gpu, "devices": halved.devices}))
    display.warn(text)


@contextlib.contextmanager
def evaluations_told(runtime: Runtime, run: RunDirectory, display: Display) -> Iterator[None]:
    """Meanwhile, evaluations that run out of memory go on with fewer examples at once; print and record it."""
    trainer, room = runtime.trainer, runtime.artist.room

    def told_of(fewer: Fewer) -> None:
        text = f"at {trainer.images_seen:,} images, {fewer}"
        run.events.append(Event(_KIND, trainer.images_seen, text, {"doing": fewer.doing, "at_once": fewer.at_once}))
        display.warn(text)

    room.on_fewer = told_of
    try:
        yield
    finally:
        room.on_fewer = None


def halved_before(run: RunDirectory | None, prepared: Prepared) -> int | None:
    """The smallest micro-batch to which a lack of memory has brought `run`, on the GPU and as many of it as `prepared` is for.

    None where it has not, and where hardware.micro_batch is another than the one that the run began with: that is a wish.
    """
    if run is None or prepared.experiment.hardware.micro_batch != run.manifest.config.get(_WISHED):
        return None
    began, here = run.manifest.plan, (prepared.plan.gpu, prepared.plan.devices)
    sizes = [
        event.facts["micro_batch"]
        for event in run.events.read()
        if event.kind == _KIND
        and isinstance(event.facts.get("micro_batch"), int)
        and (event.facts.get("gpu", began.get("gpu")), event.facts.get("devices", began.get("devices"))) == here
    ]
    return min(sizes, default=None)


def with_remedies(error: NoRoomError, prepared: Prepared) -> NoRoomError:
    """The same error with the changes that the estimate says would make it fit."""
    found = remedies(prepared.experiment, prepared.machine.gpu, prepared.plan.precision)
    changes = "; ".join(f"{remedy.override} ({remedy.note})" for remedy in found)
    advice = f"{error.fix}. Or change the experiment: {changes}" if changes else error.fix
    return NoRoomError(error.rule, field=error.field, value=error.value, fix=advice)
