"""Training speed and memory of experiments as `run` would train them: same plan, same trainer, no evaluation.

    python benchmarks/train_speed.py experiments/adr_0001.py experiments/adr_0002.py --out results.json [path=value ...]

Each case trains a warm-up and then `--seconds` of steps, with one wait for the device at the end. Use `--tag` to tell
several processes on one GPU apart.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare

WARM_UP_STEPS = 10


def measure(file: str, overrides: list[str], seconds: float) -> dict[str, Any]:
    """One experiment's images per second, steps per second and peak memory."""
    prepared = prepare(load_experiment(file, overrides), find_machine(RunOptions()))
    runtime = assemble(prepared, seed=0)
    began = time.perf_counter()
    for _ in range(WARM_UP_STEPS):
        runtime.trainer.step()
    _wait()
    warm_up = time.perf_counter() - began
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        runtime.trainer.step()
        steps += 1
        if steps % 10 == 0:
            _wait()
    _wait()
    took = time.perf_counter() - began
    return {
        "experiment": file,
        "overrides": overrides,
        "parameters": runtime.parameters,
        "precision": prepared.plan.precision,
        "micro_batch": prepared.plan.micro_batch,
        "images_per_step": prepared.plan.images_per_step,
        "compile": prepared.experiment.hardware.compile,
        "warm_up_seconds": round(warm_up, 2),
        "milliseconds_per_step": round(1000 * took / steps, 3),
        "images_per_second": round(steps * prepared.plan.images_per_step / took, 1),
        "peak_bytes": torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None,
    }


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Measure each file and append to the JSON given by `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", help="experiment files and path=value overrides")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tag", default="")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    overrides = [word for word in given.words if "=" in word]
    cases = [measure(word, overrides, given.seconds) | {"tag": given.tag} for word in given.words if "=" not in word]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    given.out.write_text(json.dumps({"device": device, "torch": torch.__version__, "cases": cases}, indent=2) + "\n")
    for case in cases:
        print(json.dumps(case))


if __name__ == "__main__":
    main()
