"""What share of the training time does logging take, at the interval that an experiment sets?

    python benchmarks/logging_cost.py --device cpu --out benchmarks/results/logging_cost_cpu.json
    python benchmarks/logging_cost.py --device cuda --out benchmarks/results/logging_cost_cuda.json experiments/quickstart.py ...

Trains as `run` does, in turns with and without what it does at each log: statistics read from the device, the line in
metrics.jsonl, status.json, the offline W&B client where it is installed, the line on the screen. Per experiment: milliseconds of a
step without logs, of a step with them (medians of the turns), and of a log alone; "share" is a log's time over its interval's,
"share_of_turns" is the difference between the turns, which holds what a log costs by making the device wait, and all noise.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ddpm_exp.cli.display import display_for
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.capture import host_facts, package_versions
from ddpm_exp.records.wandb_sink import build_sink
from ddpm_exp.training.loop import Callbacks, train
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.begin import begin
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare
from ddpm_exp.workflow.sitting import Sitting

EXPERIMENTS = ("quickstart", "wine_table", "waves_sequence", "outlines_points")
"""Shipped experiments whose data is at hand anywhere."""

NEVER = 10**15


def sitting_of(file: str, overrides: Sequence[str], gpu: str | None, root: Path, screen: io.TextIOBase) -> tuple[Sitting, Any]:
    """What `run` trains with, at its first step, and the sink that is to be closed."""
    wandb = "offline" if importlib.util.find_spec("wandb") else "off"
    words = ["training.duration=100000000 steps", f"tracking.wandb={wandb}", "hardware.compile=False", *overrides]
    options, display = RunOptions(root=root, gpu=gpu), display_for(Console(file=screen, force_terminal=True, width=120))
    prepared = prepare(load_experiment(file, words), find_machine(options))
    runtime = assemble(prepared, 0)
    run = begin(prepared, runtime, None, 0, options, display)
    sink = build_sink(prepared.experiment.tracking, online=None, warn=display.warn)
    sink.start(run.manifest, run.path)
    return Sitting(prepared, runtime, run, sink, display, lambda: False), (sink, display)


class Turns:
    """Trains some steps at a time, with logs or without."""

    def __init__(self, sitting: Sitting) -> None:
        self._sitting, self._trainer = sitting, sitting._runtime.trainer
        self._step = sitting._prepared.units.images_per_step
        self.interval = sitting._log_images // self._step
        self.logs: list[float] = []

    def steps(self, count: int, *, logs: bool) -> float:
        """Seconds per step over `count` steps."""
        until = self._trainer.images_seen + count * self._step
        callbacks = Callbacks(self._log, lambda images: None, lambda: self._trainer.images_seen >= until)
        began = time.perf_counter()
        every = self._sitting._log_images if logs else NEVER
        train(self._trainer, log_images=every, stops=(), stop_after_bad_steps=NEVER, callbacks=callbacks)
        return (time.perf_counter() - began) / count

    def _log(self, images: int, values: dict[str, float]) -> None:
        began = time.perf_counter()
        self._sitting._on_log(images, values)
        self.logs.append(time.perf_counter() - began)


def measured(file: str, overrides: Sequence[str], gpu: str | None, seconds: float) -> dict[str, Any]:
    """One experiment."""
    with tempfile.TemporaryDirectory() as root, Path(os.devnull).open("w") as screen:
        sitting, ends = sitting_of(file, overrides, gpu, Path(root), screen)
        turns = Turns(sitting)
        turns.steps(10, logs=False)
        rough = turns.steps(20, logs=False)
        count = turns.interval * max(1, round(1.0 / (turns.interval * rough)))
        turns.steps(turns.interval, logs=True)
        turns.logs.clear()
        without, with_logs, began = [], [], time.monotonic()
        while time.monotonic() - began < seconds or len(without) < 3:
            without.append(turns.steps(count, logs=False))
            with_logs.append(turns.steps(count, logs=True))
        ends[0].finish(0)
        ends[1].close()
    step, log = statistics.median(without), statistics.mean(turns.logs)
    return {
        "steps_between_logs": turns.interval,
        "milliseconds_per_step": round(1e3 * step, 4),
        "milliseconds_per_step_with_logs": round(1e3 * statistics.median(with_logs), 4),
        "milliseconds_per_log": round(1e3 * log, 3),
        "slowest_log_milliseconds": round(1e3 * max(turns.logs), 3),
        "logs": len(turns.logs),
        "share": round(log / (turns.interval * step), 5),
        "share_of_turns": round(statistics.median(a / b for a, b in zip(with_logs, without, strict=True)) - 1, 5),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="experiment files, and overrides for all of them")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each experiment")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    overrides = [word for word in given.words if "=" in word]
    folder = Path(__file__).parents[1] / "experiments"
    files = [word for word in given.words if "=" not in word] or [str(folder / f"{name}.py") for name in EXPERIMENTS]
    results = {}
    for file in files:
        results[Path(file).stem] = measured(file, overrides, "cpu" if given.device == "cpu" else None, given.seconds)
        print(Path(file).stem, results[Path(file).stem], flush=True)
    host = host_facts({})
    result = {
        "largest_share": max(one["share"] for one in results.values()),
        "experiments": results,
        "wandb": bool(importlib.util.find_spec("wandb")),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if given.device == "cuda" else f"cpu, {host['processor']}",
        "versions": package_versions(),
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
