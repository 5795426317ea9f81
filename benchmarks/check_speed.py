"""Seconds that `check` takes for each shipped experiment against four GPUs: without what it kept from before, and with it.

    python benchmarks/check_speed.py --out benchmarks/results/check_speed.json

Each is a process of its own on two cores, from the command line to the last word; Python's and torch's files are in memory already,
as one import before brings them there. `cpu_seconds` are the processor's, which other work on the machine changes little. The
last record is of an experiment that no GPU asked for can hold, for which remedies are searched. Exits with 1 where a shipped
experiment is beyond the limits, which are for those.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GPUS = ("T4", "V100-16", "V100-32", "A100-40")
COLD_LIMIT, CACHED_LIMIT = 20.0, 2.0
"""Seconds, on two cores."""

HOPELESS = ["experiments/adr_0001.py", "model.base_channels=1024", "model.multipliers=1,2,4,8"]
"""14 billion parameters."""


def two_cores() -> None:
    """Leave this process and those that it starts two cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def seconds(words: list[str], cache: str) -> dict[str, float]:
    """Wall and processor seconds of one `check`."""
    gpus = [word for gpu in GPUS for word in ("--gpu", gpu)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ddpm_exp.cli", "check", *words, *gpus],
        cwd=ROOT,
        env={**os.environ, "DDPM_EXP_CACHE": cache},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(wall, 2), "cpu_seconds": round(spent, 2)}


def measured(words: list[str]) -> dict[str, Any]:
    """One experiment, cold and from the cache."""
    with tempfile.TemporaryDirectory() as cache:
        return {"check": " ".join(words), "cold": seconds(words, cache), "cached": seconds(words, cache)}


def processor() -> str:
    """The processor's name as the system gives it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> int:
    """Measure every experiment and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", nargs="*", help="stems of experiments, instead of all")
    options = parser.parse_args()
    two_cores()
    subprocess.run([sys.executable, "-c", "import torch, ddpm_exp.memory.plan"], cwd=ROOT, check=True)
    files = sorted(path for path in (ROOT / "experiments").glob("*.py") if not options.only or path.stem in options.only)
    asked = [[f"experiments/{path.name}"] for path in files] + ([] if options.only else [HOPELESS])
    records = []
    for words in asked:
        records.append(measured(words))
        print(json.dumps(records[-1]), flush=True)
    facts = {
        "device": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "gpus": GPUS,
        "limits": {"cold": COLD_LIMIT, "cached": CACHED_LIMIT},
        "records": records,
    }
    if options.out:
        options.out.write_text(json.dumps(facts, indent=1) + "\n")
    shipped = records[: len(files)]
    slow = [r for r in shipped if r["cold"]["seconds"] > COLD_LIMIT or r["cached"]["seconds"] > CACHED_LIMIT]
    for record in slow:
        print(f"too slow: {record['check']}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
