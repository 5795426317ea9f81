"""Where a run is shown besides its own directory. A sink gets copies; what it cannot take never stops a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ddpm_exp.records.manifest import Manifest


class Sink(Protocol):
    """What a run tells while it goes on. No method raises."""

    where: str | None
    """Where the copy is to be seen, or the command that sends it, once started."""

    def start(self, manifest: Manifest, run_path: Path) -> None:
        """The run at `run_path` begins or goes on."""

    def log(self, images: int, values: Mapping[str, float]) -> None:
        """Numbers at `images` seen."""

    def image(self, name: str, path: Path, images: int, caption: str = "") -> None:
        """A picture file at `images` seen."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Results of the whole run, such as criteria."""

    def artifact(self, paths: Sequence[Path]) -> None:
        """Files that explain the run: decision page, manifest, experiment source."""

    def finish(self, exit_code: int = 0) -> None:
        """The run ends; 0 is success."""


class NoSink:
    """Shows nothing."""

    where: str | None = None

    def start(self, manifest: Manifest, run_path: Path) -> None:
        """Nothing."""

    def log(self, images: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def image(self, name: str, path: Path, images: int, caption: str = "") -> None:
        """Nothing."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def artifact(self, paths: Sequence[Path]) -> None:
        """Nothing."""

    def finish(self, exit_code: int = 0) -> None:
        """Nothing."""
