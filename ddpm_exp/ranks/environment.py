"""What a launcher told this process, and whether the experiment means the same. Asks no device, loads no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment

if TYPE_CHECKING:
    from ddpm_exp.ranks.ranks import Ranks

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def launched(environment: Mapping[str, str] | None = None) -> tuple[int, int, int] | None:
    """Rank, number of processes and rank on this host, as `torchrun` says them; None where no launcher did.

    Raises UserError for half a description.
    """
    given = os.environ if environment is None else environment
    found = {name: given[name] for name in _NAMES if given.get(name)}
    if "RANK" not in found and "LOCAL_RANK" not in found:
        return None  # WORLD_SIZE alone is set by cluster software for other ends
    missing = [name for name in _NAMES if name not in found]
    said = ", ".join(f"{name}={value}" for name, value in found.items())
    if missing:
        raise UserError(
            f"a launcher sets RANK, WORLD_SIZE and LOCAL_RANK, and {' and '.join(missing)} is missing",
            field="environment",
            value=said,
            fix="start with torchrun, or unset these variables to run in one process",
        )
    try:
        rank, size, local = (int(found[name]) for name in _NAMES)
    except ValueError:
        rank, size, local = -1, 0, -1
    if not (0 <= local <= rank < size):
        raise UserError(
            "RANK counts from 0 to below WORLD_SIZE, and LOCAL_RANK is at most RANK",
            field="environment",
            value=said,
            fix="start with torchrun, which sets them",
        )
    return rank, size, local


def restarted(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the launcher started these processes again after one of them had ended."""
    given = os.environ if environment is None else environment
    return given.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def require_agreement(ranks: Ranks, experiment: Experiment, *, gpus: int) -> None:
    """Raise UserError where `hardware.devices`, the processes that were started and the machine do not agree.

    `gpus`: those that this process sees, 0 where it runs on the processor.
    """
    devices = experiment.hardware.devices
    if ranks.size != devices:
        many = ranks.size > 1
        raise UserError(
            f"a launcher started {ranks.size} processes, and each is to train on one device"
            if many
            else f"{devices} devices are trained on by as many processes, and this is one alone",
            field="hardware.devices",
            value=devices,
            fix=f"set hardware.devices={ranks.size}, or start {devices} process{'es' if devices > 1 else ''}"
            if many
            else "start it as `ddpm-exp run FILE`, which starts them, or with torchrun; or set hardware.devices=1",
        )
    if gpus and ranks.local_rank >= gpus:
        raise UserError(
            f"this host has {gpus} GPU{'s' if gpus > 1 else ''} that torch can use, and process {ranks.local_rank} "
            "(counted from 0) on it has none",
            field="hardware.devices",
            value=devices,
            fix=f"start at most {gpus} process{'es' if gpus > 1 else ''} on this host, or look at CUDA_VISIBLE_DEVICES",
        )
