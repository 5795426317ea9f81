"""What a run says and records when memory runs out within it, and what it advises where nothing is left to halve."""

from __future__ import annotations

from ddpm_exp.memory.remedies import remedies
from ddpm_exp.records.events import Event
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.training.out_of_memory import Halved, NoRoomError
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.prepare import Prepared


def told(halved: Halved, run: RunDirectory, display: Display) -> None:
    """Print and record that the step was sliced anew."""
    text = (
        f"memory ran out at {halved.images:,} images ({halved.said}): from there on {halved.micro_batch} at once, "
        f"{halved.accumulation} times a step. Images, draws and the size of a step stay; results differ by rounding"
    )
    facts = {"micro_batch": halved.micro_batch, "accumulation": halved.accumulation}
    run.events.append(Event("out-of-memory", halved.images, text, facts))
    display.warn(text)


def with_remedies(error: NoRoomError, prepared: Prepared) -> NoRoomError:
    """The same error with the changes that the estimate says would make it fit."""
    found = remedies(prepared.experiment, prepared.machine.gpu, prepared.plan.precision)
    changes = "; ".join(f"{remedy.override} ({remedy.note})" for remedy in found)
    advice = f"{error.fix}. Or change the experiment: {changes}" if changes else error.fix
    return NoRoomError(error.rule, field=error.field, value=error.value, fix=advice)
