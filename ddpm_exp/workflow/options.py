"""How `run` is asked to go about it: nothing here changes what is learnt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Options of `ddpm-exp run` and of the commands that read runs."""

    root: Path = Path("runs")
    """Folder of the run directories."""

    gpu: str | None = None
    """Catalogue name of the GPU to plan for; on a larger one the process gets no more memory than it has. `cpu` forces the CPU."""

    memory_limit: int | None = None
    """Bytes that the process may use of the GPU, as if it had no more. None: all, or the memory of `gpu`."""

    smoke: bool = False
    """Shrink the experiment to a few steps of a small network: everything runs, nothing is learnt."""

    fresh: bool = False
    """Neither reuse a finished run nor resume an unfinished one."""

    max_hours: float | None = None
    """Checkpoint and stop after this long."""

    online: bool = False
    """Log to the W&B server instead of the disk."""

    command_line: tuple[str, ...] = ()
    """As typed, for the manifest."""
