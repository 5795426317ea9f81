"""What share of the training time does logging take, at the interval that an experiment sets?

    python benchmarks/logging_cost.py --device cpu --out benchmarks/results/logging_cost_cpu.json
    python benchmarks/logging_cost.py --device cuda --out benchmarks/results/logging_cost_cuda.json experiments/quickstart.py ...

Trains as `run` does, in turns with and without what it does at each log: statistics read from the device, the line in
metrics.jsonl, status.json, the offline W&B client where it is installed, the line on the screen. A log costs its own time and makes
the device wait for the steps after it. To tell that from a machine's noise, turns with logs have one every `DENSE` steps; what such
a turn takes longer, by log, is "milliseconds_by_log" (median over pairs of turns, with quartiles), and "share" is that over the
interval that the experiment sets. "milliseconds_in_log" is the time within a log, at that interval.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

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

DENSE = 10
"""Steps between the logs of a turn that has them."""

TURN_SECONDS = 0.4


def sitting_of(file: str, overrides: Sequence[str], gpu: str | None, root: Path, screen: IO[str]) -> tuple[Sitting, Any]:
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

    def steps(self, count: int, *, log_every: int | None) -> float:
        """Seconds that `count` steps take, with a log after so many steps each."""
        until = self._trainer.images_seen + count * self._step
        callbacks = Callbacks(self._log, lambda images: None, lambda: self._trainer.images_seen >= until)
        every = NEVER if log_every is None else log_every * self._step
        began = time.perf_counter()
        train(self._trainer, log_images=every, stops=(), stop_after_bad_steps=NEVER, callbacks=callbacks)
        return time.perf_counter() - began

    def _log(self, images: int, values: dict[str, float]) -> None:
        began = time.perf_counter()
        self._sitting._on_log(images, values)
        self.logs.append(time.perf_counter() - began)


def measured(file: str, overrides: Sequence[str], gpu: str | None, seconds: float) -> dict[str, Any]:
    """One experiment."""
    with tempfile.TemporaryDirectory() as root, Path(os.devnull).open("w") as screen:
        sitting, ends = sitting_of(file, overrides, gpu, Path(root), screen)
        turns = Turns(sitting)
        turns.steps(10, log_every=None)
        rough = turns.steps(20, log_every=None) / 20
        turns.steps(3 * turns.interval, log_every=turns.interval)
        own = statistics.mean(turns.logs)
        count, began = DENSE * max(3, round(TURN_SECONDS / (DENSE * rough))), time.monotonic()
        pairs: list[tuple[float, float]] = []
        while time.monotonic() - began < seconds or len(pairs) < 5:
            pairs.append((turns.steps(count, log_every=None), turns.steps(count, log_every=DENSE)))
        ends[0].finish(0)
        ends[1].close()
    step = statistics.median(without for without, _ in pairs) / count
    by_log = [(with_logs - without) / (count / DENSE) for without, with_logs in pairs]
    low, middle, high = statistics.quantiles(by_log, n=4)
    return {
        "steps_between_logs": turns.interval,
        "milliseconds_per_step": round(1e3 * step, 4),
        "pairs": len(pairs),
        "milliseconds_by_log": round(1e3 * middle, 3),
        "quartiles": [round(1e3 * low, 3), round(1e3 * high, 3)],
        "milliseconds_in_log": round(1e3 * own, 3),
        "share": round(middle / (turns.interval * step), 5),
        "share_quartiles": [round(each / (turns.interval * step), 5) for each in (low, high)],
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
