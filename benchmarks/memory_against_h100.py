"""The memory estimate beside what the training-speed cases really reserved on an H100. Needs no GPU.

    python benchmarks/memory_against_h100.py

Reads `results/train_speed_h100.json` (captured graph, one process; bytes reserved by torch's allocator, without the CUDA
context) and writes `results/memory_against_h100.json`.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.memory.estimate import estimate
from ddpm_exp.spec.hardware import find_gpu

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """One row per experiment; training only, since those cases drew no images."""
    measured = json.loads((RESULTS / "train_speed_h100.json").read_text())
    rows = []
    for case in measured["cases"]:
        if case["tag"] != "captured CUDA graph" or case["experiment"].endswith("adr_0002.py"):
            continue  # the second case of a process inherits the first one's reserved memory
        experiment = load_experiment(case["experiment"]).experiment
        expected = estimate(experiment, find_gpu("H100"), case["precision"], case["micro_batch"])
        predicted = sum(size for term, size in expected.terms.items() if term != "context")
        rows.append(_row(case, predicted))
    alone = [case for case in measured["cases"] if case["tag"].startswith("captured, six") and case["experiment"].endswith("2.py")]
    experiment = load_experiment(alone[0]["experiment"]).experiment
    expected = estimate(experiment, find_gpu("H100"), alone[0]["precision"], alone[0]["micro_batch"])
    rows.append(_row(alone[0], sum(size for term, size in expected.terms.items() if term != "context")))
    report = {"measured on": measured["device"], "torch there": measured["torch"], "torch here": torch.__version__, "rows": rows}
    (RESULTS / "memory_against_h100.json").write_text(json.dumps(report, indent=2) + "\n")
    for row in rows:
        print(json.dumps(row))


def _row(case: dict[str, object], predicted: int) -> dict[str, object]:
    reserved = case["peak_bytes"]
    assert isinstance(reserved, int)
    return {
        "experiment": case["experiment"],
        "micro_batch": case["micro_batch"],
        "precision": case["precision"],
        "predicted_bytes": predicted,
        "reserved_bytes": reserved,
        "error": round(predicted / reserved - 1, 4),
    }


if __name__ == "__main__":
    main()
