"""What `torch.compile` costs and wins for each kind of network, as `run` trains it: the figures behind `hardware.compile = "auto"`.

    python benchmarks/compile_gain.py --out benchmarks/results/compile_gain.json [path=value ...]

Compilations run side by side first, each in a process of its own, and are timed; steps are then timed one case after the other,
with compiled code from the cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from throughput import EXPERIMENT, device_name

HERE = Path(__file__).parent
FILES = {
    "unet": EXPERIMENT,
    "encoder-decoder": HERE / "encoder_decoder.py",
    "dit": HERE.parent / "experiments" / "fashion_flow.py",
    "mlp": HERE.parent / "experiments" / "wine_table.py",
}


def command(kind: str, compiled: bool, seconds: float, out: Path, overrides: list[str]) -> list[str]:
    """One case: the U-Net on random images, the others as `run` would read them."""
    if kind == "unet":
        name = "fused, compiled" if compiled else "fused"
        words = ["train_throughput.py", "--cases", name, "--batches", "128", "--seconds", str(seconds)]
    else:
        words = ["train_speed.py", str(FILES[kind]), f"hardware.compile={compiled}"]
        words += [*([] if kind == "mlp" else overrides), "--seconds", str(seconds)]
    return [sys.executable, "-W", "ignore", str(HERE / words[0]), *words[1:], "--out", str(out)]


def main() -> None:
    """Compile, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--networks", nargs="+", choices=FILES, default=tuple(FILES), help="others stay as the file has them")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    scratch = given.out.with_suffix(".case.json")
    began = time.monotonic()
    running = {
        kind: subprocess.Popen(command(kind, True, 0.1, Path(f"{scratch}.{kind}"), given.overrides)) for kind in given.networks
    }
    cold: dict[str, float] = {}
    while len(cold) < len(running):
        time.sleep(0.2)
        for kind, process in running.items():
            if kind not in cold and process.poll() is not None:
                cold[kind] = time.monotonic() - began
    before = json.loads(given.out.read_text())["cases"] if given.out.exists() else []
    cases: list[dict[str, Any]] = [case for case in before if case["network"] not in given.networks]
    for kind in given.networks:
        found: dict[str, Any] = {"network": kind, "first_compiled_run_seconds": round(cold[kind], 1)}
        for name, compiled in (("plain", False), ("compiled", True)):
            began = time.monotonic()
            subprocess.run(command(kind, compiled, given.seconds, scratch, given.overrides), check=True)
            case = json.loads(scratch.read_text())["cases"][0]
            found[f"{name}_images_per_second"] = case.get("images_per_second")
            found[f"{name}_run_seconds"] = round(time.monotonic() - began, 1)
        found["gain"] = round(found["compiled_images_per_second"] / found["plain_images_per_second"], 3)
        found["compile_seconds"] = round(cold[kind] - found["plain_run_seconds"] + given.seconds, 1)
        cases.append(found)
        given.out.write_text(json.dumps({"device": device_name(), "torch": _torch(), "cases": cases}, indent=2) + "\n")
        print(json.dumps(found), flush=True)


def _torch() -> str:
    import torch

    return torch.__version__


if __name__ == "__main__":
    main()
