"""`ddpm-exp doctor`: what works on this machine and what to do about the rest. Changes and downloads nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from ddpm_exp.cli.words import DEFAULT_RUNS, Json, Runs

GIB = 1024**3

State = Literal["works", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    state: State
    """`missing` is fine until something needs it; `broken` keeps every run from working."""
    says: str
    fix: str | None = None


def doctor(root: Path = DEFAULT_RUNS) -> list[Finding]:
    """Examine torch, the GPU, W&B, data sets, Inception weights, disk, processor and memory."""
    return [finding for examine in (_torch, _gpu, _wandb, _data_sets, _inception, _efficientnet) for finding in examine()] + [
        _disk(root),
        _host(),
    ]


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "broken", f"cannot be imported: {error}", "install the project again: pip install .")
        return
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
    yield Finding("torch", "works", f"{torch.__version__}, {built}, {torch.get_num_threads()} threads")


def _gpu() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError):
        return
    if not torch.cuda.is_available():
        if torch.version.cuda is None and shutil.which("nvidia-smi") is None:
            fix = "rent one for large experiments; small ones run on the CPU"
        elif torch.version.cuda is None:
            fix = "install a torch build with CUDA: https://pytorch.org/get-started/locally/"
        else:
            fix = "check the driver with nvidia-smi, or run on the CPU"
        yield Finding("GPU", "missing", "none that torch can use", fix)
        return
    kernels = torch.cuda.get_arch_list()
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        says = f"{device.name}, {device.total_memory / GIB:.1f} GiB, compute capability {device.major}.{device.minor}"
        if has_kernels((device.major, device.minor), kernels):
            yield Finding(f"GPU {index}", "works", says)
        else:
            fix = "install an older torch build that has them (for sm_70: torch before 2.11), or run with --gpu cpu"
            yield Finding(f"GPU {index}", "broken", f"{says}: this torch has no kernels for it ({', '.join(kernels)})", fix)


def has_kernels(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Whether a torch build with `built_for` (such as sm_75, sm_80, compute_90) runs on a GPU of this capability.

    Binaries run on the same major capability with the same or a later minor; `compute_` code is compiled for any later GPU.
    """
    for name in built_for:
        kind, _, digits = name.partition("_")
        digits = digits.rstrip("af")
        if not digits.isdigit():
            continue
        major, minor = divmod(int(digits), 10)
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return False


def _wandb() -> Iterator[Finding]:
    import os
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("wandb")
    except PackageNotFoundError:
        yield Finding("Weights & Biases", "missing", "wandb is not installed; runs are recorded all the same", "pip install wandb")
        return
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("://")[-1].split("/")[0]
    found = _login(host)
    if found is None:
        fix = "wandb login (needed for --online only)"
        yield Finding("Weights & Biases", "missing", f"wandb {installed}, no login for {host}; runs are logged offline", fix)
    else:
        yield Finding("Weights & Biases", "works", f"wandb {installed}, login for {host} from {found}")


def _login(host: str) -> str | None:
    """Where a login for `host` is kept, or None. The key itself is neither returned nor kept."""
    import netrc
    import os

    if os.environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return str(path) if netrc.netrc(str(path)).authenticators(host) is not None else None
    except (OSError, netrc.NetrcParseError):
        return None


def _data_sets() -> Iterator[Finding]:
    """Looks where the loaders look, and downloads nothing, which a loader would."""
    from importlib.util import find_spec

    from ddpm_exp.data.downloads import cache_folder
    from ddpm_exp.data.fashion_mnist import DEBIAN

    if find_spec("sklearn") is None:
        yield Finding(
            "Digits", "broken", "scikit-learn, which brings them, is not installed", "install the project again: pip install ."
        )
    else:
        yield Finding("Digits", "works", "embedded in scikit-learn")
    cache = cache_folder(None)
    fashion = "or apt-get install dataset-fashion-mnist (Debian, Ubuntu)"
    yield _files("Fashion-MNIST", (DEBIAN, cache / "FashionMNIST" / "raw"), "train-images-idx3-ubyte*", fashion)
    yield _files("CIFAR-10", (cache / "cifar-10-batches-py",), "data_batch_1", f"or unpack cifar-10-python.tar.gz into {cache}")


def _files(name: str, folders: tuple[Path, ...], pattern: str, otherwise: str) -> Finding:
    for folder in folders:
        if any(folder.glob(pattern)):
            return Finding(name, "works", str(folder))
    return Finding(name, "missing", "not on this machine", f"the first run that needs it downloads it; {otherwise}")


def _inception() -> Iterator[Finding]:
    from ddpm_exp.evaluation.extractors import find_weights
    from ddpm_exp.spec.errors import UserError
    from ddpm_exp.spec.evaluation import FID

    try:
        yield Finding("Inception weights", "works", str(find_weights(FID())))
    except UserError as error:
        yield Finding("Inception weights", "missing", "not in torch's hub cache; only FID needs them", error.fix)


def _efficientnet() -> Iterator[Finding]:
    from ddpm_exp.evaluation import packages

    name = "EfficientNet-Lite0"
    if absent := packages.missing():
        yield Finding(
            name, "missing", f"{' and '.join(absent)}; only evaluation.fd and evaluate need them", packages.command(absent)
        )
    else:
        yield Finding(name, "works", "timm and the weights are installed")


def _disk(root: Path) -> Finding:
    folder = next(parent for parent in (root.absolute(), *root.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    says = f"{free / GIB:.1f} GiB free for {root}/"
    if not _writable(folder):
        return Finding("disk", "broken", f"{folder} cannot be written", "choose another folder with --runs")
    if free < GIB / 2:
        return Finding("disk", "broken", says, "free some space, or choose another folder with --runs")
    return Finding("disk", "works", says)


def _writable(folder: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _host() -> Finding:
    import os
    import platform

    import psutil

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB memory free"
    says = f"{cores} cores, {free}, Python {platform.python_version()}"
    return Finding("processor", "works", says)


_STYLES = {"works": "green", "missing": "yellow", "broken": "red"}


def command(root: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """Say what works on this machine, what is missing and what to do: torch, GPU, W&B, data sets, weights, disk.

    Exit code 1 if something is broken that every run needs; what is merely missing is 0.
    """
    from rich.text import Text

    from ddpm_exp.cli.output import console, print_json, table

    findings = doctor(root)
    if as_json:
        print_json({"findings": findings})
    else:
        grid = table("what", "state", "details")
        for found in findings:
            details = found.says + (f"\nto do: {found.fix}" if found.fix else "")
            grid.add_row(Text(found.name), Text(found.state, _STYLES[found.state]), Text(details))
        console().print(grid)
    if any(found.state == "broken" for found in findings):
        raise typer.Exit(1)
