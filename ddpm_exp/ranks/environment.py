"""What a launcher told this process, and whether the experiment means the same. Asks no device."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def launched(environment: Mapping[str, str] | None = None) -> Ranks | None:
    """This process's place as `torchrun` says it; None where no launcher did. Raises UserError for half a description."""
    given = os.environ if environment is None else environment
    found = {name: given[name] for name in _NAMES if given.get(name)}
    if "RANK" not in found and "LOCAL_RANK" not in found:
        return None  # WORLD_SIZE alone is set by cluster software for other ends
    missing = [name for name in _NAMES if name not in found]
    if missing:
        raise UserError(
            f"a launcher sets RANK, WORLD_SIZE and LOCAL_RANK, and {', '.join(missing)} is missing",
            field="environment",
            value=", ".join(f"{name}={value}" for name, value in found.items()),
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
            value=", ".join(f"{name}={value}" for name, value in found.items()),
            fix="start with torchrun, which sets them",
        )
    return Ranks(rank, size, local)


def ranks_of(experiment: Experiment, *, gpus: int, environment: Mapping[str, str] | None = None) -> Ranks:
    """The processes that train `experiment`. `gpus`: those that this process sees, 0 where it runs on the processor.

    Raises UserError where `hardware.devices`, the launcher and the machine do not agree, before anything else is done.
    """
    found, devices = launched(environment), experiment.hardware.devices
    ranks = found or SINGLE
    if ranks.size != devices:
        raise UserError(
            f"the launcher started {ranks.size} processes, and each is to train on one device"
            if found
            else f"{devices} devices are trained on by as many processes, and this is one alone",
            field="hardware.devices",
            value=devices,
            fix=f"set hardware.devices={ranks.size}, or start {devices} processes"
            if found
            else "start it as `ddpm-exp run FILE`, which starts them, or with torchrun; or set hardware.devices=1",
        )
    if gpus and ranks.local_rank >= gpus:
        raise UserError(
            f"this host has {gpus} GPU{'s' if gpus > 1 else ''} that torch can use, and process {ranks.local_rank} "
            "(counted from 0) on it has none",
            field="hardware.devices",
            value=devices,
            fix=f"start at most {gpus} processes on this host, or look at CUDA_VISIBLE_DEVICES",
        )
    return ranks
