"""The end of a complete run: distances of images if asked, the run's own page, and what W&B keeps."""

from __future__ import annotations

from collections.abc import Callable

from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.records.sink import Sink
from ddpm_exp.workflow.assemble import Runtime
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.early import STOPPED_EARLY, ended_early, in_words
from ddpm_exp.workflow.measure_images import measure_images
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.record import run_page, summary_of


def finish(
    prepared: Prepared, runtime: Runtime, run: RunDirectory, sink: Sink, display: Display, seconds: Callable[[], float]
) -> None:
    """Everything that a complete run records once. It ends in state "finished" before its page is written, which counts it."""
    measure_images(prepared, runtime, run, sink, display)
    early = ended_early(prepared, run)
    if early is None:
        run.set_status("finished", images_seen=prepared.units.total_images, seconds=seconds())
    else:
        why = in_words(prepared, early)
        run.set_status("finished", images_seen=early.images, seconds=seconds(), message=why, **{STOPPED_EARLY: early.images})
        display.note(why)
    run.write_text("adr.md", run_page(prepared, runtime.parameters, run))
    sink.summary(summary_of(prepared, run))
    sink.artifact(run.record())
