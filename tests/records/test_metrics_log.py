"""The metrics file is append-only, survives crashes and is cut without losing a line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.records.metrics_log import MetricsLog, Row
from ddpm_exp.spec.errors import RunError


@pytest.fixture
def log(tmp_path: Path) -> MetricsLog:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for images in (0, 8, 16, 24):
        log.append(images, {"train/loss": 1 / (images + 1), "val/denoising": float(images)})
    return log


def test_each_append_is_one_line_on_disk_at_once(log: MetricsLog) -> None:
    lines = log.path.read_text().splitlines()
    assert len(lines) == 4 and json.loads(lines[1]) == {"images": 8, "train/loss": 1 / 9, "val/denoising": 8.0}
    assert MetricsLog(log.path).read()[1] == Row(8, {"train/loss": 1 / 9, "val/denoising": 8.0})


@settings(max_examples=30, deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_bit_for_bit(value: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    log = MetricsLog(tmp_path_factory.mktemp("log") / "metrics.jsonl")
    log.append(0, {"x": value})
    assert log.read()[0].values["x"].hex() == value.hex()


def test_numbers_that_are_not_finite_are_null_in_strict_json_and_read_as_nan(log: MetricsLog) -> None:
    log.append(32, {"train/loss": math.inf, "val/denoising": math.nan})
    assert '"train/loss": null' in log.path.read_text() and "NaN" not in log.path.read_text()
    assert math.isnan(log.read()[-1].values["train/loss"])
    assert math.isnan(log.last("val/denoising") or 0.0)


def test_a_metric_cannot_take_the_name_of_the_key(log: MetricsLog) -> None:
    with pytest.raises(ValueError, match="images"):
        log.append(32, {"images": 1.0})


def test_series_are_sorted_and_the_last_value_at_a_point_counts(log: MetricsLog) -> None:
    log.append(8, {"val/denoising": 99.0})
    assert log.series("val/denoising") == [(0, 0.0), (8, 99.0), (16, 16.0), (24, 24.0)]
    assert log.series("nothing") == [] and log.last("nothing") is None


@pytest.mark.parametrize("rest", ['{"images": 32, "train/lo', '{"images": 32, "train/loss": NaN}\n', "\x00\x00\x00", "garbage\n"])
def test_a_last_line_cut_off_by_a_crash_is_ignored_and_told(log: MetricsLog, rest: str) -> None:
    with log.path.open("a") as file:
        file.write(rest)
    assert [row.images for row in log.read()] == [0, 8, 16, 24]
    assert "line 5 was cut off" in (log.damage() or "")


def test_an_append_after_a_crash_starts_a_line_of_its_own_and_loses_nothing(log: MetricsLog) -> None:
    with log.path.open("a") as file:
        file.write('{"images": 32, "tra')
    after = MetricsLog(log.path)
    after.append(32, {"train/loss": 0.5})
    assert [row.images for row in after.read()] == [0, 8, 16, 24, 32] and after.damage() is None
    assert (log.path.parent / "metrics.tail-1.jsonl").read_text() == '{"images": 32, "tra'


@pytest.mark.parametrize("middle", ["garbage", '{"train/loss": 1.0}', '{"images": 8, "x": "high"}', '{"images": 8.5}', "[]", ""])
def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(log: MetricsLog, middle: str) -> None:
    lines = log.path.read_text().splitlines()
    log.path.write_text("\n".join([lines[0], middle, *lines[2:]]) + "\n")
    for use in (log.read, lambda: log.cut(8)):
        with pytest.raises(RunError, match="line 2 is damaged"):
            use()


def test_a_cut_keeps_what_was_seen_and_lays_the_tail_beside_it(log: MetricsLog) -> None:
    lines = log.path.read_text().splitlines(keepends=True)
    tail = log.cut(8)
    assert tail is not None
    assert log.path.read_text() == "".join(lines[:2]) and tail.read_text() == "".join(lines[2:])
    log.append(16, {"train/loss": 0.1})
    assert [row.images for row in log.read()] == [0, 8, 16]


def test_every_cut_has_a_tail_of_its_own(log: MetricsLog) -> None:
    assert log.cut(16) != log.cut(8)
    assert log.cut(8) is None
    assert len(list(log.path.parent.glob("metrics.tail-*.jsonl"))) == 2


def test_a_run_that_begins_again_keeps_not_even_the_first_row(log: MetricsLog) -> None:
    log.cut(-1)
    assert log.read() == []


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.read() == [] and log.damage() is None and log.cut(0) is None
