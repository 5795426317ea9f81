"""What is said of the time left is what the steps will take, not what the start took."""

from __future__ import annotations

import pytest

from ddpm_exp.workflow.time_left import TimeLeft


def test_the_start_does_not_count_and_evaluations_do() -> None:
    left = TimeLeft(1000)
    assert left.seconds(100.0, 100, None) is None
    left = TimeLeft(1000)
    assert left.seconds(100.0, 100, 10.0) == pytest.approx(90.0), "100 s to compile, then 10 images/s"
    assert left.seconds(110.0, 200, 10.0) == pytest.approx(80.0)
    assert left.seconds(140.0, 300, 10.0) == pytest.approx(140.0), "20 s of evaluation for each 200 images"
    assert left.seconds(300.0, 1000, 10.0) == 0.0


def test_a_run_that_goes_on_reckons_from_where_it_does() -> None:
    left = TimeLeft(1000)
    left.seconds(0.0, 600, 10.0)
    assert left.seconds(20.0, 800, 10.0) == pytest.approx(20.0)
