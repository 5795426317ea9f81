"""Whole runs that end with FID on a GPU held to less memory: does the plan leave room for Inception, and is the distance the same?

    python benchmarks/fid_under_limit.py experiments/cifar10_shards.py [PATH=VALUE]... --out fid_under_limit.json

Each run is a process of its own, as `ddpm-exp run` does it but for W&B, on random Inception weights, whose distances mean nothing.
Written are how many images went through Inception at once, what torch then reserved, what may be reserved, and whatever the run
said of memory that ran out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from memory_process import random_inception
from torch import nn

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.memory.limit import CONTEXT_BYTES
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.workflow.display import Quiet
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

LIMITS_MIB = (0, 3600, 2800, 2500)
"""0: none."""

OVERRIDES = ["training.duration=2 epochs", "evaluation.every=2 epochs", "evaluation.samples=64", "evaluation.fid.images=512"]
"""Unless others are given."""


class Said(Quiet):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """A fact."""
        self.lines.append(text)

    def warn(self, text: str) -> None:
        """A warning."""
        self.lines.append(text)


def one(limit_mib: int, experiment: str, overrides: list[str]) -> dict[str, Any]:
    """One run, here."""
    seen: list[int] = []

    def watch(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if type(module).__name__ == "FeatureExtractorInceptionV3":
            if not seen and torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            seen.append(len(given[0]))

    nn.modules.module.register_module_forward_pre_hook(watch)
    weights = f"evaluation.fid.weights={random_inception()}"
    loaded = load_experiment(experiment, [*overrides, "tracking.wandb=off", weights])
    limit, display = limit_mib * 2**20 or None, Said()
    with tempfile.TemporaryDirectory() as folder:
        done = run_seed(loaded, 0, RunOptions(root=Path(folder), memory_limit=limit), display)
        run = RunDirectory.open(done.run)
        plan, distance = run.manifest.plan, run.metrics.series("samples/fid")[-1][1]
        events = [event.kind for event in run.events.read()]
    return {
        "limit_bytes": limit,
        "state": done.state,
        "micro_batch": plan["micro_batch"],
        "through_inception": max(seen),
        "reserved_bytes": torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None,
        "may_be_reserved_bytes": None if limit is None else limit - CONTEXT_BYTES,
        "fid": distance,
        "events": events,
        "said_of_memory": [line for line in display.lines if "ran out" in line],
    }


def main() -> None:
    """All limits, each on a GPU of its own as far as there are as many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--limits", type=int, nargs="+", default=LIMITS_MIB, help="MiB; 0: none")
    parser.add_argument("--one", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_intermixed_args()
    overrides = given.overrides or OVERRIDES
    if given.one is not None:
        print(json.dumps(one(given.one, given.experiment, overrides)))
        return
    random_inception()
    gpus = max(1, torch.cuda.device_count())

    def started(number: int) -> dict[str, Any]:
        command = [sys.executable, "-W", "ignore", __file__, given.experiment, *overrides, "--one", str(given.limits[number])]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": str(number % gpus)} if torch.cuda.is_available() else None
        answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
        return found

    with ThreadPoolExecutor(gpus) as pool:
        records = list(pool.map(started, range(len(given.limits))))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    about = {
        "device": device,
        "torch": torch.__version__,
        "experiment": given.experiment,
        "overrides": overrides,
    }
    given.out.write_text(json.dumps(about | {"records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
