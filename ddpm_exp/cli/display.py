"""How a training run looks while it runs: a live view on a terminal, plain lines elsewhere. Measures nothing itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ddpm_exp.cli.amounts import seconds_text, value_text
from ddpm_exp.cli.output import say
from ddpm_exp.spec.metrics import METRICS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from ddpm_exp.workflow.display import Display, Progress

LINE_SECONDS = 5.0
"""Shortest time between two progress lines where nobody watches: a log of hours stays readable."""

_SHOWN = (
    ("train/loss", "loss", ""),
    ("train/gradient_norm", "gradient norm", ""),
    ("train/learning_rate", "learning rate", ""),
    ("speed/images_per_second", "images/s", "rate"),
    ("memory/peak_bytes", "memory", "B"),
)


def display_for(screen: Console) -> Display:
    """The live view where `screen` is a terminal that can redraw, else plain lines."""
    return LiveDisplay(screen) if screen.is_terminal and not screen.is_dumb_terminal else LinesDisplay(screen)


def measurements(progress: Progress) -> list[str]:
    """What one log interval measured, in words: `loss 0.0432`, `412 images/s`, `memory 1.3 GiB`, `2 min 05 s left`."""
    words = []
    for metric, name, unit in _SHOWN:
        if metric not in progress.values:
            continue
        value = progress.values[metric]
        words.append(f"{value:,.0f} {name}" if unit == "rate" else f"{name} {value_text(value, unit)}")
    if progress.seconds_left is not None:
        words.append(f"{seconds_text(progress.seconds_left)} left")
    return words


def _share(progress: Progress) -> str:
    return f"{100 * progress.images / progress.total:.0f} %" if progress.total else "-"


def _evaluated(images: int, values: dict[str, float]) -> str:
    # What white noise reaches is the same at every evaluation; the run's last table shows it.
    counts = {metric.out_of for metric in METRICS}  # of how many a share is, which the record tells
    shown = {name: value for name, value in values.items() if not name.startswith("noise/") and name not in counts}
    numbers = "   ".join(f"{name} {value_text(value)}" for name, value in shown.items())
    return f"evaluated at {images:,} images: {numbers}"


class LinesDisplay:
    """One line per event: phases, notes, evaluations, and progress at most every `LINE_SECONDS`."""

    def __init__(self, screen: Console, every_seconds: float = LINE_SECONDS) -> None:
        self._screen = screen
        self._every = every_seconds
        self._last: float | None = None

    def phase(self, text: str) -> None:
        """What begins now."""
        say(self._screen, text)

    def progress(self, progress: Progress) -> None:
        """A log interval's numbers; left out if the last line is recent, unless it is the end."""
        now = time.monotonic()
        if self._last is not None and now - self._last < self._every and progress.images < progress.total:
            return
        self._last = now
        head = f"{_share(progress)}  {progress.images:,} / {progress.total:,} images  epoch {progress.epoch:.1f}"
        say(self._screen, "  " + "  ".join([head, *measurements(progress)]))

    def note(self, text: str) -> None:
        """Something good to know."""
        say(self._screen, text)

    def warn(self, text: str) -> None:
        """Something that may need the user."""
        say(self._screen, f"warning: {text}")

    def evaluated(self, images: int, values: dict[str, float], pictures: list[Path]) -> None:
        """Metrics of one evaluation, and the files of its pictures and samples."""
        say(self._screen, _evaluated(images, values))
        for picture in pictures:
            say(self._screen, f"  {_kind(picture)}: {picture}")

    def close(self) -> None:
        """Lines need no closing."""


class LiveDisplay:
    """A bar and the last numbers at the bottom of the terminal; everything else scrolls above."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._live: Live | None = None
        self._phase = ""
        self._progress: Progress | None = None

    def phase(self, text: str) -> None:
        """What begins now."""
        self._phase = text
        say(self._screen, text, "bold")
        self._redraw()

    def progress(self, progress: Progress) -> None:
        """Redraw with a log interval's numbers."""
        self._progress = progress
        if self._live is None:
            from rich.live import Live

            self._live = Live(self._view(), console=self._screen, refresh_per_second=4)
            self._live.start()
        self._redraw()

    def note(self, text: str) -> None:
        """Something good to know."""
        say(self._screen, text, "dim")

    def warn(self, text: str) -> None:
        """Something that may need the user."""
        say(self._screen, f"warning: {text}", "yellow")

    def evaluated(self, images: int, values: dict[str, float], pictures: list[Path]) -> None:
        """Metrics of one evaluation, and the files of its pictures and samples."""
        say(self._screen, _evaluated(images, values), "cyan")
        for picture in pictures:
            say(self._screen, f"  {_kind(picture)}: {picture}", "dim")

    def close(self) -> None:
        """Leave the last view on the screen and give the terminal back; a second call does nothing."""
        if self._live is not None:
            self._redraw()
            self._live.stop()
            self._live = None

    def _redraw(self) -> None:
        if self._live is not None:
            self._live.update(self._view())

    def _view(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        p = self._progress
        if p is None:
            return Text(self._phase)
        bar = Table.grid(padding=(0, 2), expand=False)
        counts = f"{p.images:,} / {p.total:,} images   epoch {p.epoch:.1f}"
        bar.add_row(ProgressBar(total=max(p.total, 1), completed=p.images, width=32), Text(_share(p), "bold"), Text(counts))
        return Group(bar, Text("   ".join(measurements(p))))


def _kind(path: Path) -> str:
    """What a file of an evaluation is called."""
    return "samples" if path.suffix == ".csv" else "picture"
