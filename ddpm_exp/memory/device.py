"""The machine that this runs on, as a row of the catalogue and as facts for the manifest. The only file here that asks a device."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Literal

import psutil
import torch

from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.hardware import GIB, Gpu, catalogue, find_gpu

Facts = dict[str, str | int | float]

_OTHERS = frozenset({"TI", "D", "SUPER", "LAPTOP", "MOBILE"})
"""Words after a family's name that make it another GPU, with other rates."""


def this_machine() -> tuple[Gpu, Literal["cpu", "cuda"], Facts]:
    """The GPU (or processor) here with the memory it really has, torch's word for it, and facts for the manifest.

    Raises RunError if there is a GPU for which this build of torch has no kernels.
    """
    if not torch.cuda.is_available():
        row = find_gpu("cpu")._replace(usable_bytes=_machine_memory())
        return row, "cpu", {"gpu": "none", "torch": torch.__version__, "memory_bytes": row.usable_bytes}
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    capability = (properties.major, properties.minor)
    if torch.version.hip is None:  # ROCm names architectures otherwise, and its builds are for few GPUs
        _require_kernels(properties.name, capability)
    facts: Facts = {
        "gpu": properties.name,
        "driver": _driver(),
        "capability": f"{properties.major}.{properties.minor}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "memory_bytes": properties.total_memory,
    }
    return gpu_of(properties.name, properties.total_memory, capability), "cuda", facts


def gpu_of(name: str, total_bytes: int, capability: tuple[int, int]) -> Gpu:
    """The catalogue's row for a device that its driver calls `name`, with the bytes it reports.

    A row's family is its name up to the first hyphen, and stands as whole words in a device's: `A100-40` is an
    `NVIDIA A100-SXM4-40GB`, `RTX 4090` an `NVIDIA GeForce RTX 4090`, and an `NVIDIA A10G` is no `A10`. Where none is within 15 %
    of its memory and of its family: a row of its own, whose rates are 0 (unknown).
    """
    words = name.upper().replace("-", " ").split()
    rows = [row for row in catalogue() if row.capability == capability and _is_of(row.name.upper().split("-")[0].split(), words)]
    for row in sorted(rows, key=lambda row: abs(row.usable_bytes - total_bytes)):
        if abs(row.usable_bytes - total_bytes) <= 0.15 * row.usable_bytes:
            return row._replace(usable_bytes=total_bytes)
    return Gpu(name, total_bytes, capability, 0.0, 0.0, 0.0, f"not in the catalogue; {total_bytes / GIB:.1f} GiB as reported")


def _is_of(family: list[str], words: list[str]) -> bool:
    ends = [start + len(family) for start in range(len(words)) if words[start : start + len(family)] == family]
    return any(end == len(words) or words[end] not in _OTHERS for end in ends)


def supports(architectures: list[str], capability: tuple[int, int]) -> bool:
    """Whether kernels built for `architectures` (`sm_75`, `compute_90`) run on `capability`.

    Machine code (sm) runs on the same generation from its own minor version up; intermediate code (compute) on anything newer.
    """
    for architecture in architectures:
        kind, _, number = architecture.partition("_")
        number = number.rstrip("af")
        built = (int(number[:-1]), int(number[-1]))
        if (kind == "sm" and built[0] == capability[0] and built <= capability) or (kind == "compute" and built <= capability):
            return True
    return False


def _require_kernels(name: str, capability: tuple[int, int]) -> None:
    built = torch.cuda.get_arch_list()
    if not supports(built, capability):
        raise RunError(
            f"torch {torch.__version__} has kernels for {', '.join(built)}, but not for capability {capability[0]}.{capability[1]}",
            field="hardware.gpu",
            value=name,
            fix="install a build of torch with kernels for this GPU, or run on the CPU with CUDA_VISIBLE_DEVICES=''",
        )


def _machine_memory() -> int:
    """Bytes of memory that this process may have: the machine's, or its container's where that is less."""
    total = int(psutil.virtual_memory().total)
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return min(total, int(text))
    return total


def _driver() -> str:
    """The driver's version as nvidia-smi tells it, or "unknown"."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown"
    try:
        answer = subprocess.run(
            [program, "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, timeout=20, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return "unknown"
    lines = answer.stdout.split()
    return lines[0] if lines else "unknown"
