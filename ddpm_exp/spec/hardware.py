"""The GPU catalogue, and on which machine an experiment means to run. Never asks a device."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge, Gt, Le
from pydantic import model_validator

from ddpm_exp.spec.base import Spec, broken
from ddpm_exp.spec.training import Precision

GIB = 1024**3


class Gpu(NamedTuple):
    """One row of the catalogue."""

    name: str
    usable_bytes: int
    """Memory as the driver reports it, before any context."""
    capability: tuple[int, int]
    """CUDA compute capability."""
    fp32_tflops: float
    """Peak dense rate without matrix units, TFLOP/s."""
    half_tflops: float
    """Peak dense rate of 16-bit matrix products, TFLOP/s; equals `fp32_tflops` where there are no matrix units."""
    bandwidth_gbs: float
    """Device memory bandwidth, GB/s."""
    note: str = ""
    """What a user must know before renting it."""

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


_VOLTA = "PyPI's torch 2.11 and newer carry no kernels for it (sm_70): install an older build or one from source"

CATALOGUE: tuple[Gpu, ...] = (
    Gpu("cpu", 8 * GIB, (0, 0), 0.1, 0.1, 20.0, "no GPU: small networks only"),
    Gpu("T4", int(14.75 * GIB), (7, 5), 8.1, 65.0, 320.0),
    Gpu("V100-16", int(15.77 * GIB), (7, 0), 15.7, 125.0, 900.0, _VOLTA),
    Gpu("V100-32", int(31.74 * GIB), (7, 0), 15.7, 125.0, 900.0, _VOLTA),
    Gpu("A100-40", int(39.39 * GIB), (8, 0), 19.5, 312.0, 1555.0),
    Gpu("A100-80", int(79.15 * GIB), (8, 0), 19.5, 312.0, 2039.0),
    Gpu("H100", int(79.1 * GIB), (9, 0), 66.9, 989.0, 3350.0),
)
"""Datasheet rates and the memory that drivers report. A new GPU is one more row."""

_ALIASES = {"V100": "V100-32", "A100": "A100-40", "CPU": "cpu"}

GPU_NAMES: tuple[str, ...] = tuple(gpu.name for gpu in CATALOGUE)


def find_gpu(name: str) -> Gpu:
    """The row called `name` (`V100` means 32 GB and `A100` 40 GB, as Colab rents them). Raises KeyError."""
    wanted = _ALIASES.get(name.upper(), name).lower()
    for gpu in CATALOGUE:
        if gpu.name.lower() == wanted:
            return gpu
    raise KeyError(name)


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
    every bit, a few per cent slower. Draws are the same either way."""

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
                    f"a GPU is one of {', '.join(GPU_NAMES)}",
                    field="gpu",
                    value=self.gpu,
                    fix="choose one of these, or add a row to ddpm_exp/spec/hardware.py",
                ) from None
        return self
