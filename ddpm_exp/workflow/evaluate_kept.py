"""What was measured of a run so far, as tables of equals: values share one where all that they were measured with is equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ddpm_exp.records.evaluations import Evaluated
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.evaluate import EvaluatedRun, Row
from ddpm_exp.workflow.evaluate_settings import Network


def kept(run: Path | str) -> list[EvaluatedRun]:
    """All tables of the run directory `run`, the first at the top; where the same was measured again, the later values.

    Lines of `sampling` that this version does not know are left out, which the last table's notes count. Raises RunError where the
    directory is damaged.
    """
    directory = RunDirectory.open(Path(run).expanduser())
    samples: dict[str, list[Evaluated]] = {}
    for one in directory.evaluations.read():
        # The best checkpoint may be the last one, too: images and weights say which network it is.
        drawing = {name: value for name, value in one.drawing.items() if name not in ("versions", "checkpoint")}
        samples.setdefault(_key([one.images, one.measurement.get("n"), drawing]), []).append(one)
    tables: dict[str, list[tuple[Row, dict[str, Any], int]]] = {}
    unknown = 0
    for measured in samples.values():
        measurement = {one.measurement.get("extractor", "?"): one.measurement for one in measured}
        row = _row(measured, measurement)
        if row is None:
            unknown += len(measured)
            continue
        seed = int(measured[-1].drawing.get("seed", 0))
        tables.setdefault(_key([measurement, seed]), []).append((row, measurement, seed))
    notes = (f"{unknown} lines of evaluations.jsonl are of another version of sampling and left out",) if unknown else ()
    found = []
    for place, rows in enumerate(tables.values()):
        _, measurement, seed = rows[0]
        images = int(next(iter(measurement.values())).get("n", 0))
        last = place == len(tables) - 1
        found.append(
            EvaluatedRun(directory.path, images, seed, tuple(row for row, _, _ in rows), measurement, notes if last else ())
        )
    return found


def differing(one: EvaluatedRun, other: EvaluatedRun) -> list[str]:
    """What makes the values of two tables incomparable: names, such as `n` or `reals_sha256`."""
    names = {"seed"} if one.seed != other.seed else set()
    for extractor in one.measurement.keys() & other.measurement.keys():
        ours, theirs = one.measurement[extractor], other.measurement[extractor]
        names |= {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    return sorted(names) or ["what was measured"]


def _row(measured: list[Evaluated], measurement: dict[str, dict[str, Any]]) -> Row | None:
    """Of the same samples; None where this version does not know how they were drawn."""
    last = measured[-1]
    fields = {name: value for name, value in last.drawing.items() if name in Sampling.model_fields}
    try:
        sampling = Sampling.model_validate_json(json.dumps(fields))
    except ValidationError:
        return None
    network = Network(None, last.drawing.get("sigma_rel"), last.drawing.get("checkpoint", "last"))
    values: dict[str, float] = {}
    for one in measured:  # the later ones win; of an extractor, those that were measured as the last were
        if one.measurement == measurement[one.measurement.get("extractor", "?")]:
            values |= one.values
    seconds = float(last.cost.get("seconds", 0.0))
    return Row(network, last.drawing.get("weights") == "ema", last.images, sampling, sampling.network_calls, seconds, values)


def _key(content: Any) -> str:
    return json.dumps(content, sort_keys=True)
