"""How far a run is and whether it is still alive: the one file of a run that changes. Not its numbers."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from ddpm_exp.records.manifest import now
from ddpm_exp.spec.base import Spec

State = Literal["running", "interrupted", "finished", "failed"]

SILENT_HOURS = 1.0
"""A run on another machine that has written nothing for so long counts as interrupted: nobody here can ask its process."""


class Status(Spec):
    """What `status.json` says."""

    state: State
    images_seen: int = 0
    total_images: int = 0
    seconds: float = 0.0
    """Time spent on the run in all sittings."""
    message: str = ""
    """Why it failed or was interrupted, and how to go on."""
    pid: int
    process_started: float
    """Start of the process, seconds since 1970: a pid alone is used again after a reboot."""
    host: str
    """Hash that tells machines apart; no name."""
    updated: str = Field(default_factory=now)
    facts: dict[str, Any] = Field(default_factory=dict)

    @property
    def progress(self) -> float:
        """Share of the images seen, 0 to 1."""
        return self.images_seen / self.total_images if self.total_images else 0.0


@functools.cache
def this_host() -> str:
    """Twelve hexadecimal digits that are the same for every process of this machine and say nothing about it."""
    return hashlib.sha256(f"ddpm-exp host {platform.node()}".encode()).hexdigest()[:12]


def process_start(pid: int) -> float | None:
    """When process `pid` of this machine started, seconds since 1970; None where there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def this_process() -> dict[str, Any]:
    """The fields that say which process writes."""
    return {"pid": os.getpid(), "process_started": process_start(os.getpid()) or 0.0, "host": this_host()}


def as_observed(status: Status) -> Status:
    """`status` corrected by what is known now: a run that says "running" but whose process is gone was interrupted."""
    if status.state != "running":
        return status
    if status.host == this_host():
        started = process_start(status.pid)
        alive = started is not None and abs(started - status.process_started) < 2.0
        reason = f"its process {status.pid} is gone"
    else:
        silent = (datetime.now(UTC) - datetime.fromisoformat(status.updated)).total_seconds() / 3600
        alive = silent < SILENT_HOURS
        reason = f"another machine ran it and has been silent for {silent:.1f} hours"
    if alive:
        return status
    return status.but(state="interrupted", message=f"{reason}; give the same command again to resume")
