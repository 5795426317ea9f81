"""What share of the training time does logging take, at the interval that an experiment sets?

    python benchmarks/logging_cost.py --device cpu --out benchmarks/results/logging_cost_cpu.json
    python benchmarks/logging_cost.py --device cuda --out benchmarks/results/logging_cost_cuda.json experiments/quickstart.py ...

Trains as `run` does, in turns with and without what it does at each log: statistics read from the device, the line in
metrics.jsonl, status.json, the offline W&B client where it is installed, the line on the screen. To tell what that costs from a
machine's noise, turns with logs have one every `DENSE` steps; what such a turn takes longer, by log, is "milliseconds_by_log"
(median over pairs of turns, with quartiles; "standard_error" of that median, from them), and "share" is that over the interval that
the experiment sets. "milliseconds_in_log" is the host's time within a log (median at that interval, and mean of all logs), which it
spends on CUDA while the device has steps to do (with `--read-later 0` the device waits); "milliseconds_to_launch" is its time by
step: where that is the longer one, the host's time is what counts.
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
from ddpm_exp.training.loop import Callbacks, train, wait_for
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.begin import begin
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare
from ddpm_exp.workflow.sitting import Sitting

EXPERIMENTS = ("quickstart", "wine_table", "waves_sequence", "outlines_points")
"""Shipped experiments whose data is at hand anywhere."""

NEVER = 10**15

DENSE = 20
"""Steps between the logs of a turn that has them; a turn begins and ends half way between two."""

TURN_SECONDS = 0.1
"""Short, so that a machine which is slower for a while is so for both turns of a pair."""

LOGS = 8
"""Of which the time within is taken."""

LAUNCHED = 8
"""Steps that are launched in a row to time that: so few that a device's queue takes them all."""


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

    def __init__(self, sitting: Sitting, read_later: int | None) -> None:
        self._read_later = read_later
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
        train(
            self._trainer, log_images=every, stops=(), stop_after_bad_steps=NEVER, callbacks=callbacks, read_later=self._read_later
        )
        return time.perf_counter() - began

    def go_to_between(self, every: int) -> None:
        """Train to half way between two logs after `every` steps each: a log just before a turn's end would be read on a device
        that has nothing left to do."""
        past = self._trainer.images_seen // self._step % every
        self.steps((every // 2 - past) % every or every, log_every=None)

    def pairs(self, count: int, log_every: int, seconds: float) -> list[tuple[float, float]]:
        """Seconds of turns of `count` steps without logs and with them, for so many seconds, at least three."""
        self.go_to_between(log_every)
        began, found = time.monotonic(), list[tuple[float, float]]()
        while time.monotonic() - began < seconds or len(found) < 3:
            found.append((self.steps(count, log_every=None), self.steps(count, log_every=log_every)))
        return found

    def launched(self, count: int) -> float:
        """Seconds by step that the host takes to give the device `count` of them."""
        began = time.perf_counter()
        for _ in range(count):
            self._trainer.step()
        took = time.perf_counter() - began
        wait_for(self._trainer)
        return took / count

    def _log(self, images: int, values: dict[str, float]) -> None:
        began = time.perf_counter()
        self._sitting._on_log(images, values)
        self.logs.append(time.perf_counter() - began)


def measured(file: str, overrides: Sequence[str], gpu: str | None, seconds: float, read_later: int | None) -> dict[str, Any]:
    """One experiment."""
    with tempfile.TemporaryDirectory() as root, Path(os.devnull).open("w") as screen:
        sitting, ends = sitting_of(file, overrides, gpu, Path(root), screen)
        turns = Turns(sitting, read_later)
        turns.steps(30, log_every=None)
        launch, rough = turns.launched(LAUNCHED), turns.steps(50, log_every=None) / 50
        turns.steps(LOGS * turns.interval, log_every=turns.interval)
        own = statistics.median(turns.logs)
        count = DENSE * max(3, round(TURN_SECONDS / (DENSE * rough)))
        dense = turns.pairs(count, DENSE, seconds)
        ends[0].finish(0)
        ends[1].close()
    step = statistics.median(without for without, _ in dense) / count
    interval = turns.interval * step
    by_log = [(with_logs - without) / (count / DENSE) for without, with_logs in dense]
    low, middle, high = statistics.quantiles(by_log, n=4)
    error = 1.2533 * (high - low) / 1.349 / len(by_log) ** 0.5  # of the median of as many normal numbers with these quartiles
    return {
        "steps_between_logs": turns.interval,
        "milliseconds_per_step": round(1e3 * step, 4),
        "milliseconds_to_launch": round(1e3 * launch, 4),
        "pairs": len(dense),
        "milliseconds_by_log": round(1e3 * middle, 3),
        "quartiles": [round(1e3 * low, 3), round(1e3 * high, 3)],
        "standard_error": round(1e3 * error, 3),
        "milliseconds_in_log": [round(1e3 * own, 3), round(1e3 * statistics.mean(turns.logs), 3)],
        "share": round(middle / interval, 5),
        "share_standard_error": round(error / interval, 5),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="experiment files, and overrides for all of them")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each experiment")
    parser.add_argument(
        "--read-later", type=int, help="steps between the moment of a log and its reading, instead of the trainer's"
    )
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    overrides = [word for word in given.words if "=" in word]
    folder = Path(__file__).parents[1] / "experiments"
    files = [word for word in given.words if "=" not in word] or [str(folder / f"{name}.py") for name in EXPERIMENTS]
    results = {}
    for file in files:
        results[Path(file).stem] = measured(
            file, overrides, "cpu" if given.device == "cpu" else None, given.seconds, given.read_later
        )
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
