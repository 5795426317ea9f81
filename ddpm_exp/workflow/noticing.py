"""Tells once of each symptom that a run shows: printed, recorded as an event and in the status. Judges nothing itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import torch

from ddpm_exp.evaluation.symptoms import WINDOW, Symptom, newest
from ddpm_exp.records.events import Event
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.phases import phase_ends
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.starving import starving
from ddpm_exp.workflow.throttling import throttling

_Row = tuple[int, Mapping[str, float]]


class Noticing:
    """Follows a run's numbers from those that it has recorded already."""

    def __init__(self, prepared: Prepared, run: RunDirectory, display: Display) -> None:
        self._run, self._display, self._workers = run, display, prepared.experiment.hardware.workers
        self._total = prepared.units.total_images
        self._ends = phase_ends(prepared.experiment.training, prepared.units.images_per_epoch)
        self._ask_clock = throttling(torch.device(prepared.machine.device))
        self._known = [event.facts["symptom"] for event in run.events.read() if event.kind == "symptom"]
        self._evaluations: list[_Row] = []
        self._logs: deque[_Row] = deque(maxlen=WINDOW)
        for row in run.metrics.read():
            self._add(row.images, row.values)

    def measure(self, values: dict[str, float]) -> None:
        """Add to a log what only the device knows."""
        slowed = self._ask_clock()
        if slowed is not None:
            values["speed/throttled"] = slowed

    def look(self, images: int, values: Mapping[str, float]) -> None:
        """Tell of what the newly recorded `values` of a log or an evaluation show for the first time."""
        rows = self._add(images, values)
        for symptom in newest(list(rows), but=frozenset(self._known), total=self._total):
            self._tell(symptom, values)

    def _add(self, images: int, values: Mapping[str, float]) -> list[_Row] | deque[_Row]:
        if "val/denoising" in values:
            self._evaluations.append((images, values))
            return self._evaluations
        # What is usual in one phase of a training says nothing of the next.
        if self._logs and any(self._logs[-1][0] <= end < images for end in self._ends):
            self._logs.clear()
        self._logs.append((images, values))
        return self._logs

    def _tell(self, symptom: Symptom, values: Mapping[str, float]) -> None:
        text = str(symptom)
        if symptom.name == "waiting for data":  # the run knows more than its numbers
            text = starving(values, self._workers) or text
        self._known.append(symptom.name)
        self._run.events.append(Event("symptom", symptom.images, text, {"symptom": symptom.name}))
        self._run.set_status("running", images_seen=symptom.images, symptoms=self._known)
        self._display.warn(text)
