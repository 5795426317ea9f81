"""Every planned seed of several experiments on one GPU, some at a time, and their records without checkpoints.

    python benchmarks/run_experiments.py --at-once 6 --into results/runs wine_table fashion_flow -- data.root=/data

Words after `--` are overrides for the experiments whose data take them. Runs share the GPU; where CUDA's multi-process service
is running, their kernels run side by side. Times in these records are therefore of a shared GPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ddpm_exp.loading.loaded import load_experiment, resolve


class Job(NamedTuple):
    """One seed of one experiment."""

    name: str
    seed: int
    overrides: tuple[str, ...]


def jobs(names: list[str], overrides: list[str]) -> list[Job]:
    """Seed by seed, so that an early end leaves whole seeds of every experiment."""
    loaded = {name: load_experiment(resolve(name)).experiment for name in names}
    seeds = max(len(experiment.seeds) for experiment in loaded.values())
    found = []
    for turn in range(seeds):
        for name, experiment in loaded.items():
            fitting = tuple(word for word in overrides if word != "" and _takes(experiment, word.partition("=")[0]))
            if turn < len(experiment.seeds):
                found.append(Job(name, experiment.seeds[turn], fitting))
    return found


def _takes(experiment: object, path: str) -> bool:
    for name in path.split("."):
        if not hasattr(experiment, name):
            return False
        experiment = getattr(experiment, name)
    return True


def run(job: Job, runs: Path, logs: Path) -> dict[str, object]:
    """The run as a process of its own, its output in a file."""
    started = time.monotonic()
    words = ["run", job.name, *job.overrides, "--seed", str(job.seed), "--runs", str(runs)]
    with (logs / f"{job.name}-{job.seed}.log").open("w") as log:
        code = subprocess.run([sys.executable, "-m", "ddpm_exp.cli", *words], stdout=log, stderr=subprocess.STDOUT).returncode
    found = {"experiment": job.name, "seed": job.seed, "exit_code": code, "seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    """Run all, then copy what is recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, default=Path("runs"))
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:cut])
    logs = given.into / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(given.at_once) as pool:
        list(pool.map(lambda job: run(job, given.scratch, logs), jobs(given.names, words[cut + 1 :])))
    for folder in given.scratch.glob("*"):
        ignored = shutil.ignore_patterns("checkpoints", "wandb", "*-0000000000.png")
        shutil.copytree(folder, given.into / folder.name, ignore=ignored, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
