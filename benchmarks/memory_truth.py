"""How much memory do trainings really take of a GPU, beside what was estimated of them without one?

    python benchmarks/memory_truth.py --predict --out predicted.json                  # anywhere: estimates alone, no device
    python benchmarks/memory_truth.py --predicted predicted.json --out memory_truth.json     # GPUs: the truth beside them
    python benchmarks/memory_truth.py --compare memory_truth.json --out memory_truth.json    # anywhere: today's estimates beside it

Each configuration of memory_cases.py trains some whole steps as `run` does, on random images, in a process of its own that has
the GPU to itself (imports overlap). Then it measures errors on held-out images (of some also bits per dimension) and draws one
batch at one step, as an evaluation does: "drawing" is the peak of all that. Of some, Inception extracts features for FID at last:
"fid". "process_bytes" is what the device has in use beyond what it had in use before the process came: the allocator's peak and
all that CUDA and libraries take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from memory_cases import CASES, Case

from ddpm_exp.memory.estimate import estimate
from ddpm_exp.spec.hardware import find_gpu

LARGEST_WARMED = 256
PREDICTED = {"training": "training_bytes", "drawing": "sampling_bytes", "fid": "fid_bytes"}
"""What is estimated of each peak."""

PROCESS = Path(__file__).with_name("memory_process.py")


def predicted(case: Case, gpu: str) -> dict[str, Any]:
    """The estimate, which asks no device."""
    experiment = case.experiment
    found = estimate(experiment, find_gpu(gpu), experiment.training.precision, case.micro_batch)
    return {"experiment": case.name, "gpu": gpu, **found.to_json()}


def one(number: int, gpu: int, lock: Path | None) -> dict[str, Any]:
    """A case in a process of its own; without a lock it only warms the compiler's cache, beside others."""
    held = "" if lock is None else f"{lock}.{gpu}"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": str(gpu), "GPU_LOCK": held, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", str(PROCESS), str(number)]
    try:
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        return {"experiment": CASES[number].name, "failed": "took longer than 240 s"}
    lines = [line for line in answer.stdout.splitlines() if line.startswith("{")]
    if answer.returncode or not lines:
        return {"experiment": CASES[number].name, "failed": error_in(answer.stderr)}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def error_in(output: str) -> str:
    """The error that ended a process, without the lines of code that led to it."""
    lines = output.splitlines()
    last = max((place for place, line in enumerate(lines) if line and not line[0].isspace()), default=0)
    return "\n".join(lines[last:])[:600]


def warm(numbers: Sequence[int], gpus: list[int], at_once: int) -> None:
    """Compile every kernel, by processes that share the GPUs and do not count; the largest need the same kernels as others."""
    small = [number for number in numbers if CASES[number].micro_batch <= LARGEST_WARMED]
    for found in _everywhere(small, gpus, at_once, None):
        print(f"warmed {found['experiment']}: {found.get('failed', 'done')}", flush=True)


def measure(numbers: Sequence[int], gpus: list[int], out: Path, before: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    """The truth about all, written as it comes, behind the records from `before`."""
    began, records = time.monotonic(), list(before)
    estimates = {each["experiment"]: each for each in about.pop("predicted")}
    lock = out.with_suffix(".lock")
    for found in _everywhere(numbers, gpus, 3, lock):
        print(f"{time.monotonic() - began:5.0f} s  {found['experiment']}: {found.get('failed') or found['drawing']}", flush=True)
        about["device"] = about.get("device") or found.get("device")
        records.extend(joined(estimates.get(found["experiment"], {}), found))
        out.write_text(json.dumps(about | {"records": records}, indent=1) + "\n")
    for path in out.parent.glob(f"{lock.name}*"):
        path.unlink()


def _everywhere(numbers: Sequence[int], gpus: list[int], at_once: int, lock: Path | None) -> Iterator[dict[str, Any]]:
    """`one` of each, `at_once` on each GPU, as they end."""
    free: Queue[int] = Queue()
    for gpu in gpus * at_once:
        free.put(gpu)

    def work(number: int) -> dict[str, Any]:
        gpu = free.get()
        try:
            return one(number, gpu, lock)
        finally:
            free.put(gpu)

    with ThreadPoolExecutor(at_once * len(gpus)) as pool:
        for done in as_completed([pool.submit(work, number) for number in numbers]):
            yield done.result()


def joined(estimated: dict[str, Any], found: dict[str, Any]) -> list[dict[str, Any]]:
    """One record for training, one for drawing after it, and one for FID: a process keeps the largest of them."""
    if "failed" in found:
        return [found]
    about = {"experiment": found["experiment"], "parameters": found["parameters"]}
    records = []
    for mode, field in PREDICTED.items():
        if mode not in found:
            continue
        predicted_bytes = estimated.get(field)
        before = {"predicted_before_bytes": predicted_bytes} if predicted_bytes else {}
        records.append({**about, "mode": mode, **before, "predicted_bytes": predicted_bytes, **found[mode]})
    return records


def compared(truth: Path, gpu: str) -> dict[str, Any]:
    """The truth with what is estimated of it today, which asks no device, and the errors between them."""
    document: dict[str, Any] = json.loads(truth.read_text())
    cases: dict[str, Case] = {case.name: case for case in CASES}
    errors: list[tuple[str, float]] = []
    document["records"] = [record for record in document["records"] if record["experiment"] in cases]
    for record in document["records"]:
        if "failed" in record:
            continue
        case = cases[record["experiment"]]
        found = estimate(case.experiment, find_gpu(gpu), case.experiment.training.precision, case.micro_batch)
        record["predicted_bytes"] = getattr(found, PREDICTED[record["mode"]])
        record["error"] = round(record["predicted_bytes"] / record["process_bytes"] - 1, 4)
        kinds = ["all", "fp32" if case.precision == "fp32" else "16 bits"]
        kinds += ["compiled"] * (case.hardware.get("compile") is True) + ["FID"] * (record["mode"] == "fid")
        errors += [(kind, record["error"]) for kind in kinds]
        if "predicted_before_bytes" in record:
            record["error_before"] = round(record["predicted_before_bytes"] / record["process_bytes"] - 1, 4)
            errors += [(f"estimated before measured{each}", record["error_before"]) for each in ("", f", {kinds[1]}")]
    found = {kind: _spread([error for name, error in errors if name == kind]) for kind in dict.fromkeys(name for name, _ in errors)}
    return {**document, "errors": found}


def _spread(errors: list[float]) -> dict[str, Any]:
    sizes = sorted(map(abs, errors))
    found = {"records": len(errors), "median": sizes[len(sizes) // 2], "percentile_95": sizes[int(0.95 * len(sizes))]}
    return found | {
        "lowest": min(errors),
        "highest": max(errors),
        "more_than_3_percent_below": sum(error < -0.03 for error in errors),
    }


def main() -> None:
    """Estimate, measure, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predict", action="store_true")
    parser.add_argument("--gpu", default="H100", help="to estimate for")
    parser.add_argument("--gpus", type=int, nargs="+", default=[0], help="to measure on, by number")
    parser.add_argument("--predicted", type=Path)
    parser.add_argument("--compare", type=Path, help="a truth that was measured, to put today's estimates beside")
    parser.add_argument("--only", default="", help="configurations with this in their name")
    parser.add_argument("--warm", type=int, default=0, help="only compile the kernels, so many processes at once on each GPU")
    parser.add_argument("--but", type=Path, help="records to keep; what they have is not measured again")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.compare:
        document = compared(given.compare, given.gpu)
        given.out.write_text(json.dumps(document, indent=1) + "\n")
        print(json.dumps(document["errors"], indent=1))
        return
    kept = json.loads(given.but.read_text())["records"] if given.but else []
    known = {record["experiment"] for record in kept}
    numbers = [number for number, case in enumerate(CASES) if given.only in case.name and case.name not in known]
    about: dict[str, Any] = {"torch": torch.__version__, "python": sys.version.split()[0]}
    if given.predict:
        found = [predicted(CASES[number], given.gpu) for number in numbers]
        given.out.write_text(json.dumps(about | {"predicted": found}, indent=1) + "\n")
        return
    if given.warm:
        warm(numbers, given.gpus, given.warm)
        return
    about |= {"cuda": torch.version.cuda}
    about["predicted"] = json.loads(given.predicted.read_text())["predicted"] if given.predicted else []
    measure(numbers, given.gpus, given.out, kept, about)


if __name__ == "__main__":
    main()
