"""Starts one process per device on this host and waits for them: what `torchrun` does, for those who do not type it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence

import torch

from ddpm_exp.spec.errors import UserError

SHUTDOWN_SECONDS = 900
"""How long processes that were asked to stop may write their last checkpoint before they are killed."""


def launch(words: Sequence[str], devices: int, *, on_gpus: bool) -> int:
    """Run `python -m ddpm_exp.cli WORDS` in `devices` processes on this host; the exit code of the first that failed, 0 if none.

    Ctrl-C and SIGTERM go to all of them, which stop together after their checkpoint. Where one dies, all others are ended.
    Raises UserError, before any is started, where this host has GPUs but too few of them.
    """
    gpus = torch.cuda.device_count() if on_gpus and torch.cuda.is_available() else 0
    if gpus and gpus < devices:
        raise UserError(
            f"this host has {gpus} GPU{'s' if gpus > 1 else ''} that torch can use",
            field="hardware.devices",
            value=devices,
            fix=f"set hardware.devices={gpus}, or start it with torchrun on several hosts (docs/scale.md)",
        )
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    # A processor's threads are shared; torchrun sets one for each process, which starves those that run on it.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    # Its warnings tell a user who pressed Ctrl-C that processes receive a signal; what failed is said below, or by the process.
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=devices,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            run_id=f"ddpm-exp-{os.getpid()}",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "ddpm_exp.cli", *words)
        except ChildFailedError as error:
            rank, first = error.get_first_failure()
            if first.exitcode < 0:
                name = signal.Signals(-first.exitcode).name
                print(f"error: process {rank} of {devices} was ended by {name}, so all were", file=sys.stderr)
                return 1
            return int(first.exitcode)
        except SignalException as error:
            return 130 if error.sigval in (signal.SIGINT, signal.SIGTERM) else 1
    return 0
