"""`evaluate`: distances of a recorded run's images, measured later, for several ways of drawing them, and kept with the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ddpm_exp.data.datasets import require
from ddpm_exp.data.examples import Batch, Splits
from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.evaluation.asked import in_proportion
from ddpm_exp.evaluation.drawing import Artist
from ddpm_exp.evaluation.image_measures import Measured, measure
from ddpm_exp.evaluation.room import Room
from ddpm_exp.memory.estimate import sampling_batch
from ddpm_exp.memory.evaluating import SAMPLING_BATCH, calls_of
from ddpm_exp.ranks.environment import launched
from ddpm_exp.ranks.ranks import SINGLE, Ranks, joined
from ddpm_exp.records.evaluations import Evaluated
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.training.precision import set_arithmetic
from ddpm_exp.workflow.evaluate_settings import Compared, Network, Wanted, compared
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.loaded_run import LoadedRun
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Machine, find_machine, load_data, room_on
from ddpm_exp.workflow.recorded import Recorded

Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One way of drawing and what was measured of it."""

    network: Network
    averaged: bool
    images_seen: int
    sampling: Sampling
    calls: int
    """Evaluations of the network for each image."""

    seconds: float
    """Of drawing alone."""

    values: dict[str, float]
    """By the catalogue's names."""


@dataclass(frozen=True)
class EvaluatedRun:
    """What `evaluate` found, in the order of the settings."""

    run: Path
    images: int
    """Drawn for each row."""

    rows: tuple[Row, ...]
    measurement: dict[str, dict[str, Any]]
    """By extractor: what the values depend on beside how the images were drawn; equal for all rows."""

    notes: tuple[str, ...]


@contextmanager
def connected() -> Iterator[Ranks]:
    """This process among those that a launcher started; alone where none did."""
    place = launched()
    with joined(SINGLE if place is None else Ranks(*place), "cuda" if torch.cuda.is_available() else "cpu") as ranks:
        yield ranks


def evaluate(
    run: Path | str,
    wanted: Wanted,
    *,
    seed: int | None = None,
    ranks: Ranks = SINGLE,
    say: Say = lambda text: None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> EvaluatedRun | None:
    """Draw and measure each setting that `wanted` names, and add it to the run's `evaluations.jsonl`. None in all processes but the
    first, which share the work.

    `seed`: of the noise; None: the run's own, as its evaluations have. `say` is told the cost before anything is drawn, and how
    long it takes once a batch has been timed. Needs the data that the run was trained on. Raises UserError for what does not fit
    the run or is not on this machine, RunError where the run is damaged or has no checkpoint.
    """
    recorded = Recorded(Path(run).expanduser())
    settings = compared(recorded.experiment, wanted)
    seed = recorded.run.manifest.seed if seed is None else seed
    machine = find_machine(RunOptions())
    set_arithmetic(tf32=recorded.experiment.training.tf32, deterministic=recorded.experiment.hardware.deterministic)
    splits = _data(recorded, machine)
    conditions = in_proportion(recorded.experiment.condition, splits.train, torch.arange(settings.images))
    clock = _Clock(settings, say)
    together = _together(recorded, machine, ranks)
    for note in (*settings.notes, *_costs(settings, ranks)):
        say(note)
    rows: list[Row] = []
    measurement: dict[str, dict[str, Any]] = {}
    for network in settings.networks:
        loaded = load(recorded.run.path, weights=network.weights, sigma_rel=network.sigma_rel, checkpoint=network.checkpoint)
        for sampling in settings.samplings:
            artist = replace(
                loaded.artist(sampling, seed),
                batch=together,
                ranks=ranks,
                should_stop=clock.tick,
                room=Room(lambda it: say(str(it))),
            )
            clock.begin(calls_of(sampling), artist)
            drawn = _drawn(loaded, artist, conditions)
            seconds = clock.end()
            found = [
                measure(one, drawn, splits, loaded.device, ranks, artist.room, told=conditions.labels) for one in settings.measures
            ]
            if not ranks.leads:
                continue
            done = [one for one in found if one is not None]
            measurement |= {one.measurement["extractor"]: one.measurement for one in done}
            values = {name: value for one in done for name, value in one.values.items()}
            row = Row(network, loaded.averaged, loaded.images_seen, sampling, calls_of(sampling), seconds, values)
            for one in done:
                recorded.run.evaluations.append(_evaluated(row, one, seed, machine, loaded, ranks))
            rows.append(row)
            on_row(row)
    if not ranks.leads:
        return None
    return EvaluatedRun(recorded.run.path, settings.images, tuple(rows), measurement, settings.notes)


def _data(recorded: Recorded, machine: Machine) -> Splits:
    """The examples that the run was trained and measured on. Raises UserError where they are not here, or others."""
    experiment = recorded.experiment
    require(experiment.data, experiment.condition)
    splits = load_data(experiment.data, experiment.condition, room_on(machine, experiment.hardware), experiment.hardware.workers)
    trained_on = recorded.run.manifest.data_fingerprint
    if trained_on and splits.fingerprint != trained_on:
        raise UserError(
            f"the data on this machine are not those of the run, whose fingerprint is {trained_on}",
            field="data fingerprint",
            value=splits.fingerprint,
            fix="evaluate where the run was trained, or bring its data here",
        )
    return splits


def _together(recorded: Recorded, machine: Machine, ranks: Ranks) -> int:
    """Images that are drawn at once. Several processes cannot cut a batch that has no room, so theirs is one that certainly has."""
    most = SAMPLING_BATCH[machine.device]
    if machine.device == "cuda" and ranks.size > 1:
        precision = recorded.run.manifest.precision
        most = sampling_batch(recorded.experiment, machine.gpu, precision, 1)  # type: ignore[arg-type]
    return int(-ranks.largest(-most))


def _drawn(loaded: LoadedRun, artist: Artist, conditions: Batch) -> torch.Tensor | None:
    drawn = artist.draw(loaded.network, conditions, torch.arange(len(conditions.x0)), held_out=False)
    return to_uint8(drawn) if artist.ranks.leads else None


def _costs(settings: Compared, ranks: Ranks) -> list[str]:
    count = len(settings.networks) * len(settings.samplings)
    calls = len(settings.networks) * sum(calls_of(one) for one in settings.samplings) * settings.images
    each = f"{count} settings x " if count > 1 else ""
    on = f" on {ranks.size} devices" if ranks.size > 1 else ""
    names = ", ".join(name for one in settings.measures for name in one.metrics)
    return [f"{each}{settings.images:,} images: {calls:,} network calls{on}, for {names}"]


def _evaluated(row: Row, measured: Measured, seed: int, machine: Machine, loaded: LoadedRun, ranks: Ranks) -> Evaluated:
    drawing = row.sampling.model_dump(mode="json") | {
        "weights": "ema" if row.averaged else "raw",
        "sigma_rel": row.network.sigma_rel,
        "checkpoint": row.network.checkpoint,
        "seed": seed,
    }
    cost = {
        "network_calls": row.calls * measured.generated,
        "seconds": round(row.seconds, 3),
        "device": machine.gpu.name,
        "devices": ranks.size,
        "precision": loaded.precision,
    }
    return Evaluated(row.images_seen, measured.values, measured.measurement, drawing, cost, by="evaluate")


class _Clock:
    """Counts batches of drawing as they begin, and says how long all of it takes once one has been timed."""

    def __init__(self, settings: Compared, say: Say) -> None:
        self._left = len(settings.networks) * sum(calls_of(one) for one in settings.samplings) * settings.images
        self._images, self._say, self._told = settings.images, say, False
        self._batches = self._calls = self._at_once = 0
        self._began = self._second = 0.0

    def begin(self, calls: int, artist: Artist) -> None:
        """A setting with `calls` of the network for each image."""
        self._began, self._batches, self._calls = time.monotonic(), 0, calls
        self._at_once = min(artist.batch, -(-self._images // artist.ranks.size)) * artist.ranks.size

    def tick(self) -> bool:
        """A batch begins; whether to stop: never."""
        now = time.monotonic()
        self._batches += 1
        if self._batches == 2:
            self._second = now
        # The first batch also captures graphs, so that the second one tells, where there is a third to be told of.
        if not self._told and self._batches == 3:
            self._told = True
            seconds = (now - self._second) / (self._at_once * self._calls) * self._left
            self._say(f"drawing all of it takes about {_in_words(seconds)}; features and distances come on top")
        return False

    def end(self) -> float:
        """Seconds that the setting's drawing took."""
        return time.monotonic() - self._began


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
