"""Distances of drawn images in the features of pretrained networks, at the end of a run: drawn, measured and recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.evaluation.asked import in_proportion
from ddpm_exp.evaluation.drawing import Artist
from ddpm_exp.evaluation.image_features import TOGETHER
from ddpm_exp.evaluation.image_measures import Comparison, ImageMeasure, Measured, of_fd, of_fid
from ddpm_exp.memory.estimate import fid_batch
from ddpm_exp.records.cache import version_of
from ddpm_exp.records.evaluations import Evaluated
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.records.sink import Sink
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.workflow.assemble import Runtime
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.orders import lead
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.recorded import Which


def asked_of(spec: Evaluation) -> list[ImageMeasure]:
    """What an evaluation measures in features. Raises UserError for a package or a file that is missing, with the way to get it."""
    found = [] if spec.fid is None else [of_fid(spec.fid)]
    return found if spec.fd is None else [*found, of_fd(spec.fd)]


def measure_images(prepared: Prepared, runtime: Runtime, run: RunDirectory, sink: Sink, display: Display) -> None:
    """All that was asked for and is not recorded yet, in the run directory and in the sink. The first of several processes calls
    this, all others `assist`."""
    for place, asked in enumerate(asked_of(prepared.experiment.evaluation)):
        names = [f"samples/{name}" for name in asked.metrics]
        if any(run.metrics.series(name) for name in names):
            continue
        lead(runtime.trainer.ranks, "fid")
        runtime.trainer.ranks.share(place)
        started = time.monotonic()
        measured = _measure(prepared, runtime, asked, display.phase)
        assert measured is not None  # this is the first process
        images = runtime.trainer.images_seen
        kind = asked.title.lower()
        counts = {f"samples/{kind}_generated": float(measured.generated), f"samples/{kind}_reals": float(measured.reals)}
        values = measured.values | counts
        if "samples/fid" in values and measured.generated != 50_000:
            said = f"this FID is from {measured.generated:,} images; papers use 50,000, so it compares only with itself"
            display.note(said)
        floor = measured.measurement.get("floor_n", measured.generated)
        if floor < measured.generated:
            display.note(
                f"there are {floor:,} training images for the floor, and {measured.generated:,} were drawn: of as many it is lower"
            )
        run.evaluations.append(_evaluated(prepared, runtime, measured, time.monotonic() - started))
        run.metrics.append(images, values)  # last: a run that is begun again measures what is not there
        sink.log(images, values)


def assist(prepared: Prepared, runtime: Runtime) -> None:
    """This process's share of what the first one measures."""
    asked = asked_of(prepared.experiment.evaluation)[runtime.trainer.ranks.share(None)]
    _measure(prepared, runtime, asked, lambda text: None)


def _measure(prepared: Prepared, runtime: Runtime, asked: ImageMeasure, phase: Callable[[str], None]) -> Measured | None:
    artist, ranks, splits = runtime.artist, runtime.trainer.ranks, prepared.splits
    phase(f"{asked.title}: drawing {asked.images:,} images")
    numbers = torch.arange(asked.images)
    conditions = in_proportion(prepared.experiment.condition, splits.train, numbers)
    drawn = artist.draw(runtime.averaged(), conditions, numbers, held_out=False)
    phase(f"{asked.title}: extracting features")
    together = _together(prepared, runtime, asked)
    images = to_uint8(drawn) if ranks.leads else None
    comparison = Comparison(asked, splits, asked.images, artist.device, ranks, artist.room, together)
    return comparison.of(images, conditions.labels)


def _together(prepared: Prepared, runtime: Runtime, asked: ImageMeasure) -> int:
    """Images that go through the extractor at once, equal in all processes: what the planned GPU holds beside the training. Only
    Inception is planned for; EfficientNet-Lite0 needs a small part of what drawing does."""
    if prepared.experiment.evaluation.fid is None or asked.against == "held-out":
        return TOGETHER
    plan = prepared.plan
    planned = fid_batch(prepared.experiment, prepared.machine.gpu, plan.precision, plan.micro_batch)
    return int(-runtime.trainer.ranks.largest(-planned))


def drawing_of(artist: Artist, *, averaged: bool, sigma_rel: float | None = None, checkpoint: Which = "last") -> dict[str, Any]:
    """All that decides which images `artist` draws, beside the run and the images that its network had seen."""
    return artist.sampling.model_dump(mode="json") | {
        "calibrate": artist.sampling.calibrate and artist.reference is not None,
        "weights": "ema" if averaged else "raw",
        "sigma_rel": sigma_rel,
        "checkpoint": checkpoint,
        "seed": artist.seed,
        "versions": {name: version_of(name) for name in ("ddpm-exp", "torch")},
    }


def _evaluated(prepared: Prepared, runtime: Runtime, measured: Measured, seconds: float) -> Evaluated:
    sampling = runtime.artist.sampling
    drawing = drawing_of(runtime.artist, averaged=runtime.averaged() is not runtime.trainer.network)
    cost = {
        "network_calls": measured.generated * sampling.network_calls,
        "seconds": round(seconds, 3),
        "device": prepared.machine.gpu.name,
        "precision": prepared.plan.precision,
    }
    return Evaluated(runtime.trainer.images_seen, measured.values, measured.measurement, drawing, cost)
