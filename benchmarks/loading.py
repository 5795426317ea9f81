"""Does loading keep a GPU waiting, do checkpoints, and do images arrive the same whichever way they come?

    python benchmarks/loading.py --out benchmarks/results/loading_h100.json experiments/cifar10_shards.py [path=value ...]

Runs the experiment once with its data on the device and once through a loader with workers, by `ddpm-exp run`, and reads what the
runs recorded: images per second, the share of the time in which the device waited for data, how long training stood still for each
checkpoint (the first of a run also lays out the copy), and whether the weights at the end are equal in every bit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from ddpm_exp.checkpoints.store import load

WAYS = {"device": (), "workers": ("hardware.workers=12",)}


def run(words: list[str], way: str, root: Path) -> tuple[dict[str, Any], Path]:
    """What one run recorded, and its directory."""
    command = [sys.executable, "-m", "ddpm_exp.cli", "run", *words, f"hardware.data_in={way}", *WAYS[way]]
    done = subprocess.run([*command, "--runs", str(root), "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-1500:])
    path = Path(json.loads(done.stdout)["runs"][0]["run"])
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    plan = json.loads((path / "manifest.json").read_text())["plan"]
    rates = [row["speed/images_per_second"] for row in rows if "speed/images_per_second" in row][1:]
    waits = [row.get("speed/data_wait_share", 0.0) for row in rows if "speed/images_per_second" in row][1:]
    rate = statistics.median(rates)
    return {
        "data_in": way,
        "images_per_second": round(rate, 1),
        "milliseconds_per_step": round(1e3 * plan["images_per_step"] / rate, 2),
        "data_wait_share_median": round(statistics.median(waits), 5),
        "data_wait_share_highest": round(max(waits), 5),
        "checkpoint_milliseconds": [
            round(1e3 * row["speed/checkpoint_seconds"], 1) for row in rows if "speed/checkpoint_seconds" in row
        ],
        "val/denoising": next(row["val/denoising"] for row in reversed(rows) if "val/denoising" in row),
    }, path


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", help="the experiment's file, and overrides")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found, weights = [], []
    with tempfile.TemporaryDirectory() as root:
        for way in WAYS:
            record, path = run([*given.words, "hardware.deterministic=True"], way, Path(root) / way)
            print(record, flush=True)
            found.append(record)
            weights.append(load(sorted((path / "checkpoints").glob("0*.pt"))[-1]).tensors["network"])
    equal = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    result = {"device": device, "torch": torch.__version__, "words": given.words, "runs": found, "equal_bits": equal}
    print(f"weights equal in every bit: {equal}")
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
