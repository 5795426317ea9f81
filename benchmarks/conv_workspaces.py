"""Bytes that cuDNN takes while it computes the convolutions of our networks: what no one can know without the GPU.

    python benchmarks/conv_workspaces.py --out benchmarks/results/conv_workspaces_h100.json
    python benchmarks/conv_workspaces.py --inception --out benchmarks/results/conv_workspaces_h100_inception.json
    python benchmarks/conv_workspaces.py --table benchmarks/results/conv_workspaces_h100_*.json    # to what the package reads

Every convolution of the networks in memory_cases.py, channels-last, with several numbers of images: the highest that was
asked of torch during the forward pass and each half of the backward pass, beyond inputs and answers. Of FID's network, which runs
channels-first in fp32, the forward pass.
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
from ddpm_exp.memory.evaluation_steps import inception_trace
from ddpm_exp.memory.step import sampling_trace
from ddpm_exp.memory.workspaces import Convolution, convolutions_of
from ddpm_exp.spec.data import family_of
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.training.precision import set_arithmetic

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Powers of two: those are what the estimate replays."""

TABLE = Path(__file__).parents[1] / "ddpm_exp" / "memory" / "convolutions_h100.json"
MOST = 6 * 2**30
"""Bytes of inputs and answers; more are left out."""

FID_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class _Seen(TorchDispatchMode):
    """Collects the convolutions of a network."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.found: dict[str, Convolution] = {}
        self._channels_last = channels_last

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for one in convolutions_of(func, args, channels_last=self._channels_last):
            self.found[one.name] = one
        return func(*args, **(kwargs or {}))


def of_inception() -> list[Convolution]:
    """Of FID's network."""
    with (seen := _Seen(channels_last=False)):
        inception_trace((3, 32, 32), 1, cuda=True)
    return [seen.found[name] for name in sorted(seen.found)]


def of_networks(dtype: str) -> list[Convolution]:
    """Of all networks for images, each at its sizes."""
    seen, done = _Seen(channels_last=True), set()
    for case in CASES:
        experiment = case.experiment
        key = (case.network, case.size)
        if family_of(experiment.data) != "image" or key in done:
            continue
        done.add(key)
        with seen:
            sampling_trace(setting_of(experiment, find_gpu("H100"), "fp32"), 1)
    return sorted(one._replace(dtype=dtype) for one in seen.found.values())


def taken(work: Callable[[], Any]) -> int:
    """Bytes that `work` asks for beyond what it gives back."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    answer = work()
    torch.cuda.synchronize()
    found = torch.cuda.memory_stats()
    del answer
    return int(found["requested_bytes.all.peak"] - found["requested_bytes.all.current"])


def measured(one: Convolution, images: int) -> dict[str, Any] | None:
    """What its parts take; the backward pass of a network that only answers is left at 0."""
    dtype: torch.dtype = getattr(torch, one.dtype)
    (high, wide), (above, beside) = one.kernel, one.padding
    after = [(one.side + 2 * around - size) // one.stride + 1 for around, size in ((above, high), (beside, wide))]
    if images * dtype.itemsize * 2 * (one.into * one.side**2 + one.out * after[0] * after[1]) > MOST:
        return None
    layout = torch.channels_last if one.channels_last else torch.contiguous_format

    def made(*sizes: int) -> Tensor:
        return torch.randn(sizes, device="cuda", dtype=dtype).contiguous(memory_format=layout)

    x, weight = made(images, one.into, one.side, one.side), made(one.out, one.into, high, wide)
    settings = ([one.stride] * 2, [above, beside], [1, 1], False, [0, 0], 1)
    found = {"images": images, "forward": taken(lambda: torch.ops.aten.convolution(x, weight, None, *settings))}
    if not one.channels_last:
        return found | {"input": 0, "weight": 0}
    grad, back = made(images, one.out, *after), torch.ops.aten.convolution_backward
    return found | {
        "input": taken(lambda: back(grad, x, weight, None, *settings, [True, False, False])),
        "weight": taken(lambda: back(grad, x, weight, None, *settings, [False, True, False])),
    }


def table(results: list[Path]) -> None:
    """The results as ddpm_exp/memory/workspaces.py reads them, in KiB."""
    found = {}
    for one in (one for part in results for one in json.loads(part.read_text())["convolutions"]):
        rows = [[row["images"], *(round(row[part] / 2**10) for part in ("forward", "input", "weight"))] for row in one["rows"]]
        words = one["convolution"]
        found[words if isinstance(words, str) else " ".join(map(str, (one["dtype"], *words)))] = rows
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in found.items())
    TABLE.write_text("{" + lines + "}\n")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dtypes", nargs="+", choices=("bfloat16", "float32"), default=("bfloat16", "float32"))
    parser.add_argument("--inception", action="store_true", help="FID's network instead of those of memory_cases.py")
    parser.add_argument("--table", type=Path, nargs="+", help="results to make the package's table of")
    given = parser.parse_args()
    if given.table:
        table(given.table)
        return
    set_arithmetic(tf32=False, deterministic=False)
    found: list[dict[str, Any]] = []
    convolutions = of_inception() if given.inception else [one for dtype in given.dtypes for one in of_networks(dtype)]
    for one in convolutions:
        batches = FID_BATCHES if given.inception else BATCHES
        rows = [row for images in batches if (row := measured(one, images)) is not None]
        torch.cuda.empty_cache()
        found.append({"dtype": one.dtype, "convolution": one.name, "rows": rows})
        about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cudnn": torch.backends.cudnn.version()}
        given.out.write_text(json.dumps(about | {"convolutions": found}) + "\n")


if __name__ == "__main__":
    main()
