"""Bytes that cuDNN takes while it computes the convolutions of our networks: what no one can know without the GPU.

    python benchmarks/conv_workspaces.py --out benchmarks/results/conv_workspaces_h100.json
    python benchmarks/conv_workspaces.py --table benchmarks/results/conv_workspaces_h100_*.json    # to what the package reads

Every convolution of the networks in memory_cases.py, channels-last, with several numbers of images: the highest that was
asked of torch during the forward pass and each half of the backward pass, beyond inputs and answers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from memory_cases import CASES
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ddpm_exp.memory.estimate import setting_of
from ddpm_exp.memory.step import sampling_trace
from ddpm_exp.spec.data import family_of
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.training.precision import set_arithmetic

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Powers of two: those are what the estimate replays."""

TABLE = Path(__file__).parents[1] / "ddpm_exp" / "memory" / "convolutions_h100.json"
MOST = 6 * 2**30
"""Bytes of inputs and answers; more are left out."""

Shape = tuple[int, int, int, int, int, int]
"""Channels in and out, kernel, stride, padding, side of the input."""


class _Seen(TorchDispatchMode):
    """Collects the convolutions of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[Shape] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default and args[0].dim() == 4:
            out, into, kernel, _ = args[1].shape
            self.found.add((into, out, kernel, args[3][0], args[4][0], args[0].shape[2]))
        return func(*args, **(kwargs or {}))


def shapes() -> list[Shape]:
    """Of all networks for images, each at its sizes."""
    seen = _Seen()
    done = set()
    for case in CASES:
        experiment = case.experiment
        key = (case.network, case.size)
        if family_of(experiment.data) != "image" or key in done:
            continue
        done.add(key)
        with seen:
            sampling_trace(setting_of(experiment, find_gpu("H100"), "fp32"), 1)
    return sorted(seen.found)


def taken(work: Callable[[], Any]) -> int:
    """Bytes that `work` asks for beyond what it gives back."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    answer = work()
    torch.cuda.synchronize()
    found = torch.cuda.memory_stats()
    del answer
    return int(found["requested_bytes.all.peak"] - found["requested_bytes.all.current"])


def measured(shape: Shape, images: int, dtype: torch.dtype) -> dict[str, Any] | None:
    """The three parts of one convolution."""
    into, out, kernel, stride, padding, side = shape
    after = (side + 2 * padding - kernel) // stride + 1
    if images * dtype.itemsize * 2 * (into * side**2 + out * after**2) > MOST:
        return None

    def made(*sizes: int) -> Tensor:
        return torch.randn(sizes, device="cuda", dtype=dtype).contiguous(memory_format=torch.channels_last)

    x, weight, grad = made(images, into, side, side), made(out, into, kernel, kernel), made(images, out, after, after)
    settings = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1)
    back = torch.ops.aten.convolution_backward
    return {
        "images": images,
        "forward": taken(lambda: torch.ops.aten.convolution(x, weight, None, *settings)),
        "input": taken(lambda: back(grad, x, weight, None, *settings, [True, False, False])),
        "weight": taken(lambda: back(grad, x, weight, None, *settings, [False, True, False])),
    }


def table(results: list[Path]) -> None:
    """The results as ddpm_exp/memory/workspaces.py reads them, in KiB."""
    found = {}
    for one in (one for part in results for one in json.loads(part.read_text())["convolutions"]):
        rows = [[row["images"], *(round(row[part] / 2**10) for part in ("forward", "input", "weight"))] for row in one["rows"]]
        found[" ".join(map(str, (one["dtype"], *one["convolution"])))] = rows
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in found.items())
    TABLE.write_text("{" + lines + "}\n")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dtypes", nargs="+", choices=("bfloat16", "float32"), default=("bfloat16", "float32"))
    parser.add_argument("--table", type=Path, nargs="+", help="results to make the package's table of")
    given = parser.parse_args()
    if given.table:
        table(given.table)
        return
    set_arithmetic(tf32=False, deterministic=False)
    found: list[dict[str, Any]] = []
    for dtype in (getattr(torch, name) for name in given.dtypes):
        for shape in shapes():
            rows = [row for images in BATCHES if (row := measured(shape, images, dtype)) is not None]
            torch.cuda.empty_cache()
            found.append({"dtype": str(dtype).removeprefix("torch."), "convolution": shape, "rows": rows})
        about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cudnn": torch.backends.cudnn.version()}
        given.out.write_text(json.dumps(about | {"convolutions": found}) + "\n")


if __name__ == "__main__":
    main()
