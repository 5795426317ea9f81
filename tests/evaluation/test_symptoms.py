"""A healthy training has no symptom, each fault has its own and no other, and nothing but the record decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.evaluation import symptoms as judged
from ddpm_exp.evaluation.symptoms import Symptom, newest, symptoms
from ddpm_exp.spec.metrics import METRICS

Rows = list[tuple[int, dict[str, float]]]
LOGS = 60
NOISE = st.lists(st.floats(-0.25, 0.25), min_size=LOGS, max_size=LOGS)
"""Relative; not drawn by chance but by whoever looks for a false alarm."""


def healthy(noise: list[float], fall: float = 0.97, evaluated: float = 0.95) -> Rows:
    """Logs of a training whose loss falls by `fall` a log, with an evaluation, which is without noise, at every second one."""
    rows: Rows = []
    for log, odd in enumerate(noise, 1):
        values = {
            "train/loss": 0.5 * fall**log * (1 + odd),
            "train/gradient_norm": 2.0 * fall**log * (1 - odd),
            "train/learning_rate": 1e-3,
            "train/bad_steps": 0.0,
            "speed/images_per_second": 1000 / (1 + 0.5 * odd),
            "speed/epoch_seconds": 50 * (1 + 0.5 * odd),
            "speed/data_wait_share": 0.3 if log == 1 else 0.1 * abs(odd),
            "speed/throttled": float(odd > 0.2 and log % 2),
        }
        rows.append((log * 1000, values))
        if log % 2 == 0:
            rows.append((log * 1000, {"val/denoising": 0.4 * evaluated**log}))
    return rows


def spike(rows: Rows, log: int) -> None:
    rows[log][1]["train/loss"] = 10 * rows[0][1]["train/loss"]


def explosion(rows: Rows, log: int) -> None:
    rows[log][1]["train/gradient_norm"] *= 1000


def slow(rows: Rows, log: int) -> None:
    for _, values in rows[log:]:
        for name, factor in (("speed/epoch_seconds", 3.0), ("speed/images_per_second", 1 / 3)):
            if name in values:
                values[name] *= factor


def hot(rows: Rows, log: int) -> None:
    for _, values in rows[log:]:
        if "speed/throttled" in values:
            values["speed/throttled"] = 1.0


def hungry(rows: Rows, log: int) -> None:
    for _, values in rows[log:]:
        if "speed/data_wait_share" in values:
            values["speed/data_wait_share"] = 0.6


def stuck(rows: Rows, log: int) -> None:
    held = next(values["val/denoising"] for _, values in rows[log:] if "val/denoising" in values)
    for _, values in rows[log:]:
        if "val/denoising" in values:
            values["val/denoising"] = held


FAULTS: dict[str, Callable[[Rows, int], None]] = {
    "loss spike": spike,
    "gradient explosion": explosion,
    "slower epochs": slow,
    "throttling": hot,
    "waiting for data": hungry,
    "plateau": stuck,
}


def place(rows: Rows, log: int) -> int:
    """Where the `log`-th log stands among logs and evaluations."""
    return next(index for index, (images, values) in enumerate(rows) if images == log * 1000 and "train/loss" in values)


@settings(max_examples=40, deadline=None)
@given(noise=NOISE, fall=st.floats(0.9, 1.0), evaluated=st.sampled_from([0.9, 0.95, 1.0]))
def test_a_training_that_is_constant_or_falls_with_noise_has_no_symptom(noise: list[float], fall: float, evaluated: float) -> None:
    assert symptoms(healthy(noise, fall, evaluated)) == []


@pytest.mark.parametrize("name", FAULTS)
@settings(max_examples=15, deadline=None)
@given(noise=NOISE, log=st.integers(21, 26))
def test_each_fault_has_its_own_symptom_and_no_other(name: str, noise: list[float], log: int) -> None:
    rows = healthy(noise)
    FAULTS[name](rows, place(rows, log))
    (found,) = symptoms(rows)
    assert found.name == name and found.images >= log * 1000
    if name in ("loss spike", "gradient explosion"):
        assert found.images == log * 1000, "told at once"
    assert found.evidence in str(found) and found.advice in str(found)


@pytest.mark.parametrize("name", FAULTS)
def test_a_resumed_run_finds_what_an_uninterrupted_one_finds(name: str) -> None:
    """Looking at a part first, or at everything again, changes neither what is found nor where."""
    rows = healthy([0.0] * LOGS)
    FAULTS[name](rows, place(rows, 25))
    (whole,) = symptoms(rows)
    for end in range(len(rows) + 1):
        first = symptoms(rows[:end])
        assert first == ([whole] if first else [])
        assert bool(first) or end <= rows.index(next(row for row in rows if row[0] == whole.images)) + 1


GOOD = {
    "samples/noise_left": 0.005,
    "samples/blur": 0.05,
    "samples/diversity": 0.95,
    "samples/nearest_sample": 0.95,
    "samples/memorisation": 0.02,
    "samples/class_coverage": 1.0,
}
BAD: list[tuple[str, str, float]] = [
    ("noisy samples", "samples/noise_left", 0.375),
    ("blurry samples", "samples/blur", 0.5),
    ("blurry samples", "samples/blur", float("inf")),
    ("mode collapse", "samples/diversity", 0.2),
    ("mode collapse", "samples/nearest_sample", 0.1),
    ("memorised examples", "samples/memorisation", 0.4),
    ("missing classes", "samples/class_coverage", 0.7),
]


@pytest.mark.parametrize(("name", "metric", "value"), BAD)
def test_samples_that_are_wrong_late_in_a_training_have_the_guides_symptom_and_early_none(
    name: str, metric: str, value: float
) -> None:
    def rows(images: int) -> Rows:
        return [(0, {"val/denoising": 1.0} | GOOD | {metric: value}), (images, {"val/denoising": 0.5} | GOOD | {metric: value})]

    (found,) = symptoms(rows(6000), total=10_000)
    assert (found.name, found.images) == (name, 6000)
    assert f"{metric} is {value:g}" in found.evidence and "uide 00" in found.advice
    assert symptoms(rows(4000), total=10_000) == []
    assert [one.name for one in symptoms(rows(4000))] == [name]
    assert symptoms([(6000, {"val/denoising": 0.5} | GOOD)], total=10_000) == []
    assert symptoms([(6000, {"val/denoising": 0.5} | GOOD | {metric: float("nan")})], total=10_000) == []


def test_samples_that_are_no_images_are_noisy_where_they_are_far_from_all_training_examples() -> None:
    (found,) = symptoms([(6000, {"val/denoising": 0.5, "samples/nearest_training": 1.8})])
    assert found.name == "noisy samples" and "samples/nearest_training is 1.8" in found.evidence
    assert symptoms([(6000, {"val/denoising": 0.5, "samples/nearest_training": 1.2})]) == []
    assert symptoms([(6000, {"val/denoising": 0.5, "samples/nearest_training": 1.8, "samples/noise_left": 0.0})]) == []


def test_the_thresholds_are_those_that_were_measured_on_real_data() -> None:
    record = json.loads((Path(__file__).parents[2] / "benchmarks/results/symptom_thresholds.json").read_text())
    assert record["thresholds"] == {name: getattr(judged, name) for name in record["thresholds"]} and len(record["thresholds"]) == 6
    assert {row["data"] for row in record["cases"]} == set(record["real"]) >= {"cifar10", "digits", "wine"}
    for row in record["cases"]:
        if "values" in row:
            assert row["raised"] == [one.name for one in newest([(1, row["values"])])], row
        if row["fault"] == "none":
            assert row["raised"] == []
        if row["expected"] is not None:
            assert row["expected"] in row["raised"], row
    assert {row["expected"] for row in record["cases"]} - {None} == {name for name, *_ in BAD}
    for values in record["real"].values():
        assert newest([(1, {name: least for name, (least, _, _) in values.items()})]) == []
        assert newest([(1, {name: most for name, (_, _, most) in values.items()})]) == []


def test_what_was_told_is_not_told_again() -> None:
    rows = healthy([0.0] * LOGS)
    hungry(rows, 0)
    logs = [row for row in rows if "train/loss" in row[1]]
    assert [one.name for one in newest(logs)] == ["waiting for data"]
    assert newest(logs, but=frozenset({"waiting for data"})) == []
    assert newest([]) == []


def test_numbers_that_are_not_finite_are_no_evidence() -> None:
    rows = healthy([0.0] * LOGS)
    rows[place(rows, 30)][1].update({"train/loss": float("nan"), "train/gradient_norm": float("inf")})
    assert symptoms(rows) == []


def test_every_number_that_is_looked_at_is_in_the_catalogue_and_all_advice_ends_somewhere() -> None:
    names = {metric.name for metric in METRICS}
    assert {name for _, values in healthy([0.0] * LOGS) for name in values} | set(GOOD) <= names
    assert str(Symptom("odd", 1000, "seen", "Do it")) == "odd at 1,000 images: seen. Do it"
