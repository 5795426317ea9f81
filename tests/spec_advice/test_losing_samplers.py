"""Which samplers are advised against is what benchmarks/family_sampling.py measured."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from ddpm_exp.diffusion.calibration import LEAST_RATIO
from ddpm_exp.spec.advice.samplers import BEST, LOSES, MEASURED_CALLS

MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "family_sampling.json"
FAMILIES = {"digits": "image", "wider network of digits": "image", "wine": "vector", "waves": "sequence", "outlines": "points"}


def factors() -> dict[tuple[str, str], dict[str, float]]:
    """(family, prediction) to each sampler's distance over the best one's, on the mean of networks."""
    networks = defaultdict(dict)
    for row in json.loads(MEASURED.read_text())["cases"]:
        if (row["calls"], row["least_ratio"], row["grid"]) == (MEASURED_CALLS, LEAST_RATIO, "trailing"):
            distance = row["distance" if "digits" in row["family"] else "to_training"]
            networks[row["family"], row["prediction"], row["schedule"], row["seed"]][row["sampler"]] = distance
    found = defaultdict(lambda: defaultdict(list))
    for (family, prediction, _, _), distances in networks.items():
        for sampler, distance in distances.items():
            found[FAMILIES[family], prediction][sampler].append(distance / min(distances.values()))
    return {key: {sampler: fmean(values) for sampler, values in of.items()} for key, of in found.items()}


def test_advice_against_samplers_is_what_was_measured() -> None:
    measured = factors()
    assert {key: min(measured[key], key=lambda sampler: measured[key][sampler]) for key in LOSES} == BEST
    beyond = {key: {sampler: round(value, 1) for sampler, value in of.items() if value > 1.3} for key, of in measured.items()}
    assert {key: of for key, of in beyond.items() if of} == LOSES
