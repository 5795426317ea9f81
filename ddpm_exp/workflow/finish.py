"""The end of a complete run: FID if asked, the run's own page, and what W&B keeps."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.evaluation import fid
from ddpm_exp.evaluation.asked import for_fid
from ddpm_exp.memory.estimate import fid_batch
from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.records.sink import Sink
from ddpm_exp.workflow.assemble import Runtime
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.early import STOPPED_EARLY, ended_early, in_words
from ddpm_exp.workflow.orders import lead
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.record import run_page, summary_of


def finish(
    prepared: Prepared, runtime: Runtime, run: RunDirectory, sink: Sink, display: Display, seconds: Callable[[], float]
) -> None:
    """Everything that a complete run records once. It ends in state "finished" before its page is written, which counts it."""
    if prepared.experiment.evaluation.fid is not None and not run.metrics.series("samples/fid"):
        _measure_fid(prepared, runtime, run, sink, display)
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


def _measure_fid(prepared: Prepared, runtime: Runtime, run: RunDirectory, sink: Sink, display: Display) -> None:
    spec = prepared.experiment.evaluation.fid
    if spec is None:
        return
    total = runtime.trainer.images_seen
    ranks = runtime.trainer.ranks
    display.phase(f"FID: drawing {spec.images:,} images")
    lead(ranks, "fid")
    drawn = draw_for_fid(prepared, runtime)
    display.phase("FID: extracting features")
    artist, train = runtime.artist, prepared.splits.train
    together = inception_batch(prepared, ranks)
    found = fid.measure(to_uint8(drawn), train.x, fid.find_weights(spec), artist.device, ranks, artist.room, together)
    values = {"samples/fid": found.value, "samples/fid_generated": float(found.generated), "samples/fid_reals": float(found.reals)}
    run.metrics.append(total, values)
    sink.log(total, values)
    if not found.comparable_with_papers:
        display.note(f"this FID is from {found.generated:,} images; papers use 50,000, so it compares only with itself")


def draw_for_fid(prepared: Prepared, runtime: Runtime) -> torch.Tensor:
    """The samples that FID is asked from; on processes but the first, their share of them."""
    spec, train = prepared.experiment.evaluation.fid, prepared.splits.train
    numbers = torch.arange(0 if spec is None else spec.images)
    asked = for_fid(prepared.experiment.condition, train, numbers)
    return runtime.artist.draw(runtime.averaged(), asked, numbers, held_out=False)


def inception_batch(prepared: Prepared, ranks: Ranks) -> int:
    """Images that FID sends through its network at once: what the planned GPU holds beside the training; equal in all processes."""
    plan = prepared.plan
    return int(-ranks.largest(-fid_batch(prepared.experiment, prepared.machine.gpu, plan.precision, plan.micro_batch)))
