"""Measures of drawn samples with all that they depend on: an append-only file of a run, also long after its training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ddpm_exp.records.json_lines import append_line, read_lines
from ddpm_exp.records.manifest import now

EVALUATIONS = "evaluations.jsonl"


@dataclass(frozen=True)
class Evaluated:
    """Values that were measured together, on the same samples."""

    images: int
    """Images that the network had seen in training."""

    values: dict[str, float]
    """By the catalogue's names. One that is not finite is null in the file, and NaN here."""

    measurement: dict[str, Any]
    """How they were measured (number of samples, extractor, hash of its weights, reals and their hash): values compare only where
    all of it is equal."""

    drawing: dict[str, Any]
    """How the samples were drawn: sampler, steps, grid, guidance, which weights, seed. What is compared may differ here."""

    cost: dict[str, Any] = field(default_factory=dict)
    """Network calls, seconds, device."""

    by: Literal["run", "evaluate"] = "run"
    """At the end of the run, whose metrics have the same values, or later."""

    time: str = field(default_factory=now)


class EvaluationsLog:
    """`evaluations.jsonl`: lines are written whole and synced, and none is ever taken back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, evaluated: Evaluated) -> None:
        """Record it. Raises RunError where the disk refuses."""
        line = asdict(evaluated)
        line["values"] = {name: value if math.isfinite(value) else None for name, value in evaluated.values.items()}
        append_line(self.path, line)

    def read(self) -> list[Evaluated]:
        """All of them, in the order of writing. A line that a crash cut off is left out."""
        return [found for line in read_lines(self.path) if (found := _evaluated(line)) is not None]


def unequal(ours: Evaluated, theirs: Evaluated) -> list[tuple[str, Any, Any]]:
    """(key, our value, their value) of everything in how they were measured that makes their values incomparable."""
    keys = sorted(ours.measurement.keys() | theirs.measurement.keys())
    pairs = [(key, ours.measurement.get(key), theirs.measurement.get(key)) for key in keys]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _evaluated(line: dict[str, Any]) -> Evaluated | None:
    try:
        found = Evaluated(**line)
        return Evaluated(**(line | {"values": {name: _number(value) for name, value in found.values.items()}}))
    except (TypeError, ValueError, AttributeError):
        return None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
