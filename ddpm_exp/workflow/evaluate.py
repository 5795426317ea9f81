"""`evaluate`: distances of a recorded run's images, measured later, for several ways of drawing them, and kept with the run."""

from __future__ import annotations

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
from ddpm_exp.evaluation.image_measures import Comparison, Measured
from ddpm_exp.evaluation.noise_counted import NoiseCount
from ddpm_exp.evaluation.room import Room
from ddpm_exp.memory.estimate import sampling_batch
from ddpm_exp.memory.evaluating import SAMPLING_BATCH
from ddpm_exp.ranks.environment import launched
from ddpm_exp.ranks.ranks import SINGLE, Ranks, joined
from ddpm_exp.records.evaluations import Evaluated
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.training.precision import set_arithmetic
from ddpm_exp.workflow.evaluate_cost import Clock, Say, costs
from ddpm_exp.workflow.evaluate_settings import Network, Wanted, compared, require_networks
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.loaded_run import LoadedRun
from ddpm_exp.workflow.measure_images import drawing_of
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Machine, find_machine, load_data, room_on
from ddpm_exp.workflow.recorded import Recorded


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

    seed: int
    """Of the noise."""

    rows: tuple[Row, ...]
    measurement: dict[str, dict[str, Any]]
    """By extractor: what the values depend on beside how the images were drawn; equal for all rows."""

    notes: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """How far all settings are."""

    settings: int
    """Drawn, measured and kept."""

    of: int
    seconds_left: float | None
    """At the pace of the last one; None after the last."""


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
    on_row: Callable[[Row, Done], None] = lambda row, done: None,
) -> EvaluatedRun | None:
    """Draw and measure each setting that `wanted` names, and add it to the run's `evaluations.jsonl`. None in all processes but the
    first, which share the work.

    `seed`: of the noise; None: the run's own, as its evaluations have. `say` is told the cost, time and memory, before anything is
    drawn; `on_row` each setting as it is kept. Needs the data that the run was trained on. Raises UserError for what does not fit
    the run or is not on this machine, RunError where the run is damaged or has no checkpoint.
    """
    recorded = Recorded(Path(run).expanduser())
    settings = compared(recorded.experiment, wanted)
    require_networks(recorded, settings.networks)
    seed = recorded.run.manifest.seed if seed is None else seed
    machine = find_machine(RunOptions())
    set_arithmetic(tf32=recorded.experiment.training.tf32, deterministic=recorded.experiment.hardware.deterministic)
    splits = _data(recorded, machine)
    conditions = in_proportion(recorded.experiment.condition, splits.train, torch.arange(settings.images))
    loaded, room, clock = _load(recorded, settings.networks[0]), Room(lambda it: say(str(it))), Clock(settings, say)
    comparisons = [Comparison(one, splits, settings.images, loaded.device, ranks, room) for one in settings.measures]
    noise = NoiseCount(splits) if settings.noise_left else None
    together = _together(recorded, machine, ranks)
    for note in (*settings.notes, *costs(settings, loaded, machine.gpu, splits, conditions, together, ranks)):
        say(note)
    for comparison in comparisons:
        comparison.prepare()
    rows: list[Row] = []
    measurement: dict[str, dict[str, Any]] = {}
    for network in settings.networks:
        loaded = loaded if network == settings.networks[0] else _load(recorded, network)
        for sampling in settings.samplings:
            artist = replace(loaded.artist(sampling, seed), batch=together, ranks=ranks, should_stop=clock.tick, room=room)
            clock.begin(sampling, artist)
            drawn = _drawn(loaded, artist, conditions)
            seconds = clock.drawn()
            found = [comparison.of(drawn, conditions.labels) for comparison in comparisons]
            if drawn is None:
                continue
            done = [one for one in (*found, None if noise is None else noise.of(drawn)) if one is not None]
            measurement |= {one.measurement["extractor"]: one.measurement for one in done}
            values = {name: value for one in done for name, value in one.values.items()}
            row = Row(network, loaded.averaged, loaded.images_seen, sampling, sampling.network_calls, seconds, values)
            for one in done:
                recorded.run.evaluations.append(_evaluated(row, one, artist, machine, loaded, ranks))
            rows.append(row)
            on_row(row, Done(len(rows), settings.count, clock.measured()))
    if not ranks.leads:
        return None
    return EvaluatedRun(recorded.run.path, settings.images, seed, tuple(rows), measurement, settings.notes)


def _load(recorded: Recorded, network: Network) -> LoadedRun:
    return load(recorded.run.path, weights=network.weights, sigma_rel=network.sigma_rel, checkpoint=network.checkpoint)


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


def _evaluated(row: Row, measured: Measured, artist: Artist, machine: Machine, loaded: LoadedRun, ranks: Ranks) -> Evaluated:
    network = row.network
    drawing = drawing_of(artist, averaged=row.averaged, sigma_rel=network.sigma_rel, checkpoint=network.checkpoint)
    cost = {
        "network_calls": row.calls * measured.generated,
        "seconds": round(row.seconds, 3),
        "device": machine.gpu.name,
        "devices": ranks.size,
        "precision": loaded.precision,
    }
    return Evaluated(row.images_seen, measured.values, measured.measurement, drawing, cost, by="evaluate")
