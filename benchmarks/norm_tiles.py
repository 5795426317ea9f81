"""Which tile is fastest for the norm kernels at each shape of the U-Net? `models/fused.tile_of` follows the result.

    python benchmarks/norm_tiles.py --out benchmarks/results/norm_tiles.json

Kernels are compiled by several processes first; times are of one process, means of 20 launches. `share` compares with the
bytes that must be moved at all (each activation read or written once) at the copy bandwidth measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from throughput import device_name

from ddpm_exp.models import fused
from ddpm_exp.models.fused import Job, Tile, fused_norm, power_of_two

SHAPES = [(128, 0, 32), (128, 128, 32), (256, 128, 32), (256, 0, 16), (256, 128, 16), (256, 256, 16), (256, 256, 8)]
TILES = [
    (32, 64, 4), (64, 64, 4), (64, 64, 8), (128, 64, 8), (128, 64, 16), (64, 32, 4), (128, 32, 4), (128, 32, 8), (256, 32, 8),
    (64, 128, 8), (64, 128, 16), (0, 64, 8), (0, 64, 16), (0, 32, 4), (0, 32, 8), (0, 32, 16), (0, 16, 8), (0, 16, 16), (0, 16, 32),
]  # fmt: skip
"""Rows (0: all pixels at once), channels, warps."""


def milliseconds(call: Any, times: int = 20) -> float:
    """Mean device time of `call`."""
    call()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        call()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - began) / times


def one(shape: tuple[int, int, int], tile: tuple[int, int, int], batch: int) -> dict[str, Any] | None:
    """Forward and backward of one shape with one tile; None where the tile does not apply."""
    first, second, side = shape
    channels, pixels = first + second, side * side
    rows, lanes, warps = tile
    once = rows == 0
    rows = power_of_two(pixels) if once else rows
    groups = lanes // (channels // 32)
    if not groups or (not once and rows >= pixels) or (once and rows * lanes > 65536) or rows * lanes // (32 * warps) > 128:
        return None
    groups = 1 << (groups.bit_length() - 1)
    fused.tile_of = lambda *_: Tile(rows, groups, warps)  # type: ignore[assignment]

    def activation(width: int) -> torch.Tensor:
        x = torch.randn(batch, width, side, side, device="cuda", dtype=torch.bfloat16)
        return x.to(memory_format=torch.channels_last).requires_grad_()

    x, skip = activation(first), activation(second) if second else None
    weight, bias = torch.ones(channels, device="cuda", requires_grad=True), torch.zeros(channels, device="cuda", requires_grad=True)
    job = Job(32, 1e-6, silu=True, through=True)
    y, whole = fused_norm(x, weight, bias, job, skip=skip)
    dy, dwhole = torch.randn_like(y), torch.randn_like(y)
    inputs: list[torch.Tensor] = [part for part in (x, skip, weight, bias) if part is not None]
    with torch.no_grad():
        forward = milliseconds(lambda: fused_norm(x, weight, bias, job, skip=skip))
    backward = milliseconds(lambda: torch.autograd.grad((y, whole), inputs, (dy, dwhole), retain_graph=True))
    size = y.numel() * 2
    found = {"rows": rows, "groups": groups, "warps": warps, "once": once}
    found |= {"forward_ms": round(forward, 4), "backward_ms": round(backward, 4)}
    return found | {"forward_bytes": size * (3 if second else 2), "backward_bytes": size * 4}


def copy_bandwidth() -> float:
    """Bytes per second, read and written, of a large copy on the device."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * 2**30 / milliseconds(lambda: target.copy_(source)) * 1000


def main() -> None:
    """Compile, then measure; write after each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--only", type=int, help="compile the tiles of this shape's number and leave")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.only is not None:
        for tile in TILES:
            one(SHAPES[given.only], tile, 2)
        return
    command = [sys.executable, __file__, "--out", "/dev/null", "--only"]
    for process in [subprocess.Popen([*command, str(number)]) for number in range(len(SHAPES))]:
        process.wait()
    bandwidth = copy_bandwidth()
    report: dict[str, Any] = {"device": device_name(), "torch": torch.__version__, "batch": given.batch}
    report |= {"copy_gb_per_second": round(bandwidth / 1e9), "shapes": []}
    for shape in SHAPES:
        found = [case for tile in TILES if (case := one(shape, tile, given.batch)) is not None]
        for case in found:
            for way in ("forward", "backward"):
                case[f"{way}_share"] = round(case[f"{way}_bytes"] / bandwidth / case[f"{way}_ms"] * 1000, 3)
        report["shapes"].append({"shape": shape, "tiles": found})
        given.out.write_text(json.dumps(report, indent=1) + "\n")
        for way in ("forward", "backward"):
            best = sorted(found, key=lambda case: case[f"{way}_ms"])[:4]
            print(shape, way, [(c["rows"], c["groups"], c["warps"], c["once"], c[f"{way}_ms"], c[f"{way}_share"]) for c in best])


if __name__ == "__main__":
    main()
