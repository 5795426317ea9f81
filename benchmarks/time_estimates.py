"""Estimated times beside every recorded one: how well the few constants of `memory/timing.py` fit, and the fit itself. No GPU.

    python benchmarks/time_estimates.py --out benchmarks/results/time_estimates.json
    python benchmarks/time_estimates.py --fit

The records are trainings and samplings of this package on an H100 and an H200 (benchmarks/results). `--fit` prints the constants
that fit them best; without it, each network is also estimated by constants fitted to all the others alone
(`error_unseen`). Trainings that shared their GPU with others are shown and not fitted.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.memory.counting import Updated, Work, updated_by, work_of
from ddpm_exp.memory.kernels import kernels_of
from ddpm_exp.memory.plan import plan
from ddpm_exp.memory.timing import FACTORS, RATES, Rates, pass_seconds, timing, update_seconds
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu

RESULTS = Path(__file__).parent / "results"
CIFAR10 = "benchmarks/ddpm_cifar10.py"
OP_BY_OP = ("hardware.fused_kernels=False",)

BOUNDS = {
    "products": (0.3, 0.75),
    "memory": (0.2, 1.0),
    "memory_exponent": (0.02, 0.8),
    "kernel_seconds": (1.5e-6, 1e-5),
    "launch_seconds": (1e-5, 1e-4),
    "step_seconds": (2e-5, 1e-2),
    "tensor_seconds": (1e-7, 3e-5),
}
"""A large product reaches 0.8 of an H100's peak, and an empty kernel in a graph takes about 1.5 microseconds."""


class Case(NamedTuple):
    """Something recorded."""

    record: str
    name: str
    gpu: str
    experiment: Experiment
    images: int
    """In one pass through the network; a step is one pass in all of them."""
    seconds: float
    """Of a training step, or of one evaluation of the network in sampling."""
    training: bool = True
    captured: bool = True
    alone: bool = True
    """Whether the GPU did nothing else."""

    @property
    def work(self) -> Work:
        """What was computed."""
        return _work(self.experiment, self.gpu, self.training)

    @property
    def updated(self) -> Updated:
        """What the optimizer did."""
        return _updated(self.experiment)


def cases() -> Iterator[Case]:
    """All records of training and sampling speed."""
    for one in _read("train_throughput.json")["cases"]:
        if one["trainer"] == "ddpm-exp":
            overrides = () if one["variant"] == "fused" else OP_BY_OP
            seconds = one["batch"] / one["images_per_second"]
            name = f"U-Net 35.7 M, {one['variant']}"
            yield Case("train_throughput.json", name, "H100", _of(CIFAR10, *overrides), one["batch"], seconds)
    one = _read("scaling_h100.json")["speed"][0]
    seconds = one["milliseconds_per_step"] / 1000
    yield Case("scaling_h100.json", "U-Net 35.7 M, fused", "H100", _of(CIFAR10), one["images_per_device"], seconds)
    for file, gpu in (("train_speed_h100.json", "H100"), ("train_speed_families_h200.json", "H200")):
        for one in _read(file)["cases"]:  # from before the fused kernels
            experiment, seconds = _of(one["experiment"], *OP_BY_OP), one["milliseconds_per_step"] / 1000
            name = f"{Path(one['experiment']).stem}, op by op"
            captured = one["tag"] != "op by op"
            name += "" if captured else ", not captured"
            if "six processes" not in one["tag"]:
                yield Case(file, name, gpu, experiment, one["micro_batch"], seconds, captured=captured)
    for one in _read("sampling_throughput.json")["cases"]:
        if one["trainer"] == "ddpm-exp" and one["precision"] == "bf16":
            overrides = () if one["variant"] == "fused" else OP_BY_OP
            seconds = one["batch"] / one["samples_per_second"] / 50
            name = f"sampling, U-Net 35.7 M, {one['variant']}"
            experiment = _of(CIFAR10, *overrides)
            yield Case("sampling_throughput.json", name, "H100", experiment, one["batch"], seconds, training=False)
    for name, overrides, seed, alone in (
        ("cifar10_shards", (), 0, True),
        ("fashion_prompts", OP_BY_OP, 1, True),
        ("wine_table", OP_BY_OP, 1, True),
        ("outlines_points", OP_BY_OP, 0, False),
        ("waves_sequence", OP_BY_OP, 0, False),
    ):
        run = next((RESULTS / "runs" / name).glob(f"*/{seed}-*"))
        experiment = _of(f"experiments/{name}.py", *overrides)
        speeds = [values["speed/images_per_second"] for values in _metrics(run) if "speed/images_per_second" in values]
        # The table's network is so small that two runs on one GPU hardly met; the others' best stretch is shown as it is.
        speed = median(speeds) if name in ("cifar10_shards", "fashion_prompts") else max(speeds)
        images = experiment.training.images_per_step
        yield Case(f"runs/{name}", f"{name}, a whole run's speed", "H100", experiment, images, images / speed, alone=alone)


def expected(case: Case, rates: Rates = RATES) -> float:
    """The estimate of `case.seconds`."""
    gpu = find_gpu(case.gpu)
    seconds = pass_seconds(case.work, gpu, case.images, captured=case.captured, rates=rates)
    return seconds + (update_seconds(case.updated, gpu, half=True, rates=rates) if case.training else 0.0)


def whole_runs() -> Iterator[dict[str, Any]]:
    """Runs that had the GPU for themselves: all their seconds, evaluations and start included."""
    for name, overrides, seed in (("fashion_prompts", OP_BY_OP, 1), ("cifar10_shards", ("data.subset=50000",), 0)):
        run = next((RESULTS / "runs" / name).glob(f"*/{seed}-*"))
        took = json.loads((run / "status.json").read_text())["seconds"]
        experiment, gpu = _of(f"experiments/{name}.py", *overrides), find_gpu("H100")
        found = timing(experiment, gpu, plan(experiment, gpu, device="cuda"))
        assert found is not None and found.run_seconds is not None
        yield {
            "run": name,
            "estimated_seconds": round(found.run_seconds, 1),
            "of_it_evaluation": round(found.evaluation_seconds or 0.0, 1),
            "measured_seconds": round(took, 1),
            "error": round(found.run_seconds / took - 1, 3),
        }


def fit(known: list[Case]) -> Rates:
    """The rates with the least error of the logarithm, outliers counted less."""
    names = Rates._fields
    given = RATES._asdict()
    low, high = (np.log([BOUNDS.get(name, (given[name],) * 2)[end] for name in names if name in BOUNDS]) for end in (0, 1))
    free = [name for name in names if name in BOUNDS]

    def errors(logs: Any) -> list[float]:
        rates = RATES._replace(**dict(zip(free, map(float, np.exp(logs)), strict=True)))
        return [math.log(expected(case, rates) / case.seconds) for case in known]

    found = least_squares(errors, (low + high) / 2, loss="soft_l1", f_scale=0.1, bounds=(low, high))
    return RATES._replace(**dict(zip(free, map(float, np.exp(found.x)), strict=True)))


@cache
def _work(experiment: Experiment, gpu: str, training: bool) -> Work:
    kernels = kernels_of(find_gpu(gpu), "bf16", fused_norms=experiment.hardware.fused_kernels)
    return work_of(experiment, kernels, "training" if training else "sampling")


@cache
def _updated(experiment: Experiment) -> Updated:
    return updated_by(experiment)


def _network(case: Case) -> int:
    """Networks of equally many weights are one."""
    return case.updated.parameters


def _of(file: str, *overrides: str) -> Experiment:
    return load_experiment(RESULTS.parents[1] / file, overrides).experiment


def _read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


def _metrics(run: Path) -> Iterator[dict[str, float]]:
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        yield row.get("values", row)


def main() -> None:
    """Print the table; write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="print the constants that fit best")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    known = list(cases())
    alone = [case for case in known if case.alone]
    rates = fit(alone) if given.fit else RATES
    networks = {_network(case) for case in alone}
    unseen = {} if given.fit else {one: fit([case for case in alone if _network(case) != one]) for one in networks}
    if given.fit:
        print(rates)
    rows: list[dict[str, Any]] = []
    for case in known:
        seconds = expected(case, rates)
        rows.append(
            {
                "record": case.record,
                "case": case.name,
                "device": case.gpu,
                "images": case.images,
                "estimated_milliseconds": round(1000 * seconds, 3),
                "measured_milliseconds": round(1000 * case.seconds, 3),
                "error": round(seconds / case.seconds - 1, 3),
                "fitted": case.alone,
            }
        )
        if _network(case) in unseen:
            rows[-1]["error_unseen"] = round(expected(case, unseen[_network(case)]) / case.seconds - 1, 3)
        print("| " + " | ".join(str(rows[-1][key]) for key in rows[-1]) + " |")
    sizes = sorted(abs(row["error"]) for row in rows if row["fitted"])
    report = {
        "rates": rates._asdict(),
        "factors": FACTORS,
        "median_error": median(sizes),
        "worst_error": sizes[-1],
        "worst_error_unseen": max((abs(row["error_unseen"]) for row in rows if "error_unseen" in row), default=None),
        "cases": rows,
        "whole_runs": list(whole_runs()),
    }
    print(json.dumps({key: report[key] for key in ("median_error", "worst_error", "worst_error_unseen", "whole_runs")}, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
