"""The GPU catalogue, which experiment files may add to, and on which machine an experiment means to run. Never asks a device."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge, Gt, Le
from pydantic import model_validator

from ddpm_exp.spec.base import Spec, broken
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.training import Precision

GIB = 1024**3


class Gpu(NamedTuple):
    """One row of the catalogue."""

    name: str
    usable_bytes: int
    """What the driver gives to processes before any context, ECC taken off: torch's `total_memory`. nvidia-smi's total is up to
    2 % more on some."""
    capability: tuple[int, int]
    """CUDA compute capability; of an AMD GPU what torch reports in its place."""
    fp32_tflops: float
    """Peak dense rate without matrix units, TFLOP/s."""
    half_tflops: float
    """Peak dense rate of 16-bit matrix products summed in fp32, TFLOP/s; equals `fp32_tflops` where there are no matrix units."""
    bandwidth_gbs: float
    """Device memory bandwidth, GB/s."""
    note: str = ""
    """What a user must know before renting it."""
    maker: Literal["NVIDIA", "AMD"] = "NVIDIA"

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What the hardware computes at full rate; bf16 needs Ampere (compute capability 8.0)."""
        if self.capability >= (8, 0):
            return ("fp32", "bf16", "fp16")
        return ("fp32", "fp16") if self.capability >= (7, 0) else ("fp32",)

    @property
    def best_precision(self) -> Precision:
        """What `training.precision = "auto"` resolves to."""
        for choice in ("bf16", "fp16"):
            if choice in self.precisions:
                return choice
        return "fp32"


_VOLTA = (
    "needs torch 2.10 or older, or a CUDA 12.6 build (download.pytorch.org/whl/cu126): "
    "PyPI's torch 2.11 and newer carry no kernels for it (sm_70)"
)
_BLACKWELL = "needs torch 2.7 or newer built for CUDA 12.8 or newer (sm_120)"
_ROCM = "needs torch for ROCm, on which the fused kernels, captured graphs and estimates here are untested"

CATALOGUE: tuple[Gpu, ...] = (
    Gpu("cpu", 8 * GIB, (0, 0), 0.1, 0.1, 20.0, "no GPU: small networks only"),
    Gpu("T4", int(14.75 * GIB), (7, 5), 8.1, 65.0, 320.0),
    Gpu("V100-16", int(15.77 * GIB), (7, 0), 15.7, 125.0, 900.0, _VOLTA),
    Gpu("V100-32", int(31.74 * GIB), (7, 0), 15.7, 125.0, 900.0, _VOLTA),
    Gpu("A10", int(22.06 * GIB), (8, 6), 31.2, 125.0, 600.0),
    Gpu("A10G", int(22.06 * GIB), (8, 6), 31.5, 70.0, 600.0),
    Gpu("L4", int(22.03 * GIB), (8, 9), 30.3, 121.0, 300.0),
    Gpu("RTX 3090", int(23.57 * GIB), (8, 6), 35.6, 71.0, 936.0),
    Gpu("RTX 4090", int(23.52 * GIB), (8, 9), 82.6, 165.2, 1008.0),
    Gpu("RTX 5090", int(31.36 * GIB), (12, 0), 104.8, 209.5, 1792.0, _BLACKWELL),
    Gpu("A100-40", int(39.39 * GIB), (8, 0), 19.5, 312.0, 1555.0),
    Gpu("A100-80", int(79.15 * GIB), (8, 0), 19.5, 312.0, 2039.0),
    Gpu("H100", int(79.1 * GIB), (9, 0), 66.9, 989.0, 3350.0),
    Gpu("H200", int(139.8 * GIB), (9, 0), 66.9, 989.0, 4800.0),
    Gpu("MI300X", int(191.69 * GIB), (9, 4), 163.4, 1307.4, 5300.0, _ROCM, "AMD"),
)
"""Datasheet rates and the memory that drivers report. A new GPU is one more row, or a line in an experiment file: `add_gpu`."""

_ALIASES = {"v100": "v10032", "a100": "a10040", "3090": "rtx3090", "4090": "rtx4090", "5090": "rtx5090"}

_added: dict[str, Gpu] = {}
"""Rows of this process's experiment files, by spelling."""


def catalogue() -> tuple[Gpu, ...]:
    """`CATALOGUE` and the rows that experiment files have added."""
    return (*CATALOGUE, *_added.values())


def gpu_names() -> tuple[str, ...]:
    """Names of all rows, in the catalogue's order."""
    return tuple(gpu.name for gpu in catalogue())


def find_gpu(name: str) -> Gpu:
    """The row called `name`, whatever its capitals, spaces and hyphens (`V100` means 32 GB and `A100` 40 GB, as Colab rents
    them). Raises KeyError."""
    spelling = _spelling(name)
    wanted = _ALIASES.get(spelling, spelling)
    for gpu in catalogue():
        if _spelling(gpu.name) == wanted:
            return gpu
    raise KeyError(name)


def add_gpu(gpu: Gpu) -> Gpu:
    """Add a row for this process; `hardware.gpu` and `--gpu` then know it. Written above the experiment in its file:

        add_gpu(Gpu("L40S", int(44.4 * 2**30), (8, 9), fp32_tflops=91.6, half_tflops=362.0, bandwidth_gbs=864.0))

    The same row may be added again. Raises UserError for a name that is taken by other values, and for values that no GPU has.
    """
    field = f"add_gpu({gpu.name!r})"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]*", str(gpu.name)):
        fix = "name it like 'L40S' or 'RTX 6000-48'"
        raise UserError("a GPU's name is of letters, digits, spaces, hyphens and dots", field="add_gpu", value=gpu.name, fix=fix)
    rates = (gpu.fp32_tflops, gpu.half_tflops, gpu.bandwidth_gbs)
    if not isinstance(gpu.usable_bytes, int) or gpu.usable_bytes < GIB:
        fix = "write the driver's GiB like int(44.4 * 2**30)"
        raise UserError("memory is a whole number of bytes, 1 GiB or more", field=field, value=gpu.usable_bytes, fix=fix)
    if not _is_capability(gpu.capability):
        fix = "write it like (8, 9); torch.cuda.get_device_capability() tells it"
        raise UserError("the compute capability is two whole numbers, (5, 0) or later", field=field, value=gpu.capability, fix=fix)
    if not all(isinstance(rate, int | float) and 0 < rate < float("inf") for rate in rates):
        raise UserError(
            "rates are more than 0", field=field, value=rates, fix="take them from the GPU's data sheet, in TFLOP/s and GB/s"
        )
    try:
        there = find_gpu(gpu.name)
    except KeyError:
        _added[_spelling(gpu.name)] = gpu
        return gpu
    if there != gpu:
        fix = f"give it another name, such as {gpu.name + '-own'!r}"
        raise UserError(f"the catalogue has a {there.name} with other values", field="add_gpu", value=gpu.name, fix=fix)
    return there


def _is_capability(value: object) -> bool:
    whole = isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value)
    return whole and isinstance(value, tuple) and value >= (5, 0)


def _spelling(name: str) -> str:
    return re.sub(r"[ _-]", "", name).lower()


class Hardware(Spec):
    """Where to run and how to slice the work. Changes speed and memory, never the result."""

    gpu: str | None = None
    """The GPU that the experiment is meant for, by catalogue name; it must fit. None: whatever is found."""

    devices: Annotated[int, Ge(1), Le(4096)] = 1
    """GPUs to train on, of all hosts together: one process each, an equal share of every step each."""

    shard: bool = False
    """Spread weights, gradients, optimizer and average over the devices (FSDP2) instead of keeping a copy on each: for networks
    that do not fit otherwise."""

    micro_batch: Annotated[int, Ge(1)] | None = None
    """Images per forward pass; None: derived from memory. Must divide `training.images_per_step`."""

    headroom: Annotated[float, Gt(0), Le(0.5)] = 0.1
    """Share of the memory to leave free."""

    workers: Annotated[int, Ge(0), Le(64)] = 2
    """Processes that decode images where not all fit in memory (see `data_in`); data sets that fit need none."""

    data_in: Literal["auto", "device", "workers"] = "auto"
    """Where training images are: all decoded on the device, or in their files until `workers` decode them step by step. `auto`:
    on the device where they fit. The same images in the same order either way."""

    cuda_graph: bool = True
    """On CUDA, capture forward and backward of a micro-batch as one graph: far fewer launches, the same result."""

    fused_kernels: bool = True
    """On CUDA from capability 7.5, compute GroupNorm with SiLU, dropout and the sums around it in one pass each over the
    activations (Triton). Less memory, fewer roundings than op by op, which False means."""

    deterministic: bool = False
    """On CUDA, take only kernels that give the same bits each time: two runs, or a resumed and a straight one, then agree in
    every bit, 2 to 10 % slower (docs/speed.md). Draws are the same either way. Where torch has no such kernel for a network's
    backward pass, it is an error."""

    compile: Literal["auto"] | bool = "auto"
    """`torch.compile` the network. It takes a minute or two to start; `auto` spends that on CUDA where the run is long enough
    to earn it back at least twice, and says what it reckoned. A resumed run keeps to what it began with."""

    @model_validator(mode="after")
    def _spread(self) -> Hardware:
        if self.shard and self.devices == 1:
            raise broken(
                "weights are spread over several devices, and this is one",
                field="shard",
                value=True,
                fix="set devices to how many there are, or shard to False",
            )
        return self

    @model_validator(mode="after")
    def _known(self) -> Hardware:
        if self.gpu is not None:
            try:
                find_gpu(self.gpu)
            except KeyError:
                raise broken(
                    f"a GPU is one of {', '.join(gpu_names())}",
                    field="gpu",
                    value=self.gpu,
                    fix="choose one of these, or add yours above the experiment: add_gpu(Gpu(...))",
                ) from None
        return self
