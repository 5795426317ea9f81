"""What a run tells the person who watches. The command line draws it; a notebook may ignore it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """The state of training at a log interval."""

    images: int
    total: int
    epoch: float
    values: dict[str, float]
    """By catalogue name: train/loss, train/gradient_norm, train/learning_rate, speed/images_per_second, memory/peak_bytes."""

    seconds_left: float | None
    """Estimated from the speed since the first log, evaluations included; None where that is not known."""


class Display(Protocol):
    """Receives everything that a run says, in order."""

    def phase(self, text: str) -> None:
        """Something begins that takes time."""

    def progress(self, progress: Progress) -> None:
        """Training went on."""

    def evaluated(self, images: int, values: dict[str, float], pictures: list[Path]) -> None:
        """An evaluation ended. `pictures`: its PNG files, and the samples as CSV where they are no images."""

    def note(self, text: str) -> None:
        """A fact worth a line."""

    def warn(self, text: str) -> None:
        """Something is not as wished, and the run goes on."""

    def close(self) -> None:
        """Nothing more will come."""


class Quiet:
    """A display that shows nothing."""

    def phase(self, text: str) -> None:
        """Nothing."""

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def evaluated(self, images: int, values: dict[str, float], pictures: list[Path]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
