"""What a watcher of a run sees, on a terminal and in a log file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ddpm_exp.cli.amounts import bytes_text, config_text, hours_text, seconds_text, value_text
from ddpm_exp.cli.display import LinesDisplay, LiveDisplay, display_for
from ddpm_exp.workflow.display import Progress

_VALUES = {
    "train/loss": 0.04321,
    "train/gradient_norm": 0.812,
    "train/learning_rate": 2e-4,
    "speed/images_per_second": 1412.4,
    "memory/peak_bytes": 1.5 * 1024**3,
}


def _progress(images: int) -> Progress:
    return Progress(images=images, total=1000, epoch=images / 500, values=_VALUES, seconds_left=125.0)


def _console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=terminal, width=120, highlight=False, color_system=None), screen


def test_a_log_line_says_all_that_matters() -> None:
    console, screen = _console(terminal=False)
    LinesDisplay(console).progress(_progress(250))
    assert screen.getvalue() == (
        "  25 %  250 / 1,000 images  epoch 0.5  loss 0.04321  gradient norm 0.812  learning rate 0.0002  "
        "1,412 images/s  memory 1.5 GiB  2 min 05 s left\n"
    )


def test_a_log_stays_short_but_never_loses_the_end() -> None:
    console, screen = _console(terminal=False)
    display = LinesDisplay(console, every_seconds=3600)
    for images in (100, 200, 300, 1000):
        display.progress(_progress(images))
    assert [line.split()[0] for line in screen.getvalue().splitlines()] == ["10", "100"]


def test_a_log_names_phases_warnings_metrics_and_pictures() -> None:
    console, screen = _console(terminal=False)
    display = LinesDisplay(console)
    display.phase("training")
    display.note("recording to runs/[x]")
    display.warn("W&B is away")
    display.evaluated(1280, {"val/denoising": 0.25, "samples/class_accuracy": 0.9}, [Path("samples/grid-1280.png")])
    display.close()
    assert screen.getvalue().splitlines() == [
        "training",
        "recording to runs/[x]",
        "warning: W&B is away",
        "evaluated at 1,280 images: val/denoising 0.25   samples/class_accuracy 0.9",
        "  picture: samples/grid-1280.png",
    ]


def test_a_terminal_gets_the_live_view_and_a_pipe_the_lines() -> None:
    assert isinstance(display_for(_console(terminal=False)[0]), LinesDisplay)
    assert isinstance(display_for(_console(terminal=True)[0]), LiveDisplay)


def test_the_live_view_shows_every_measurement_and_gives_the_terminal_back() -> None:
    console, screen = _console(terminal=True)
    display = LiveDisplay(console)
    display.phase("training")
    display.progress(_progress(250))
    display.progress(_progress(500))
    display.close()
    display.close()
    last = screen.getvalue()
    for word in (
        "50 %",
        "500 / 1,000 images",
        "loss 0.04321",
        "gradient norm 0.812",
        "1,412 images/s",
        "1.5 GiB",
        "2 min 05 s left",
    ):
        assert word in last
    assert last.endswith("\x1b[?25h"), "the cursor is visible again"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (seconds_text(None), "?"),
        (seconds_text(59.6), "1 min 00 s"),
        (seconds_text(3 * 3600 + 10 * 60), "3 h 10 min"),
        (hours_text(None), "unknown"),
        (hours_text(0.5), "30 min 00 s"),
        (bytes_text(900), "900 B"),
        (bytes_text(2 * 1024**4), "2048.0 GiB"),
        (value_text(None), "-"),
        (value_text(float("nan")), "nan"),
        (value_text(3.0), "3"),
        (value_text(0.123456), "0.1235"),
        (value_text(2048.0, "B"), "2.0 KiB"),
        (config_text([1, 2]), "(1, 2)"),
        (config_text(["a"]), "('a',)"),
        (config_text(None), "None"),
    ],
)
def test_numbers_read_well(made: str, text: str) -> None:
    assert made == text
