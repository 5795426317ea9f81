"""Compares estimated with real memory: the project's own training steps, measured here, on a CPU or on a CUDA device.

    python benchmarks/memory_estimate.py [--out FOLDER]

Writes memory_estimate_cpu.json or memory_estimate_cuda.json. On a CPU every case runs in a process of its own and "process"
is that process's highest resident memory; on CUDA it is what the device has in use beyond what it had before the first case.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ddpm_exp.data.images import ImageSet

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.conditions import build_conditions
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.memory.device import this_machine
from ddpm_exp.memory.estimate import condition_size, estimate
from ddpm_exp.memory.terms import MIB
from ddpm_exp.models.build import build_network
from ddpm_exp.spec.condition import ClassLabels, Unconditional
from ddpm_exp.spec.data import CIFAR10, Digits, shape_of, training_images
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, Hardware
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.training import Precision, Training
from ddpm_exp.training.micro_step import MicroStep
from ddpm_exp.training.trainer import Length, Trainer

STEPS = 2


@dataclass(frozen=True)
class Case:
    """One training to measure."""

    model: UNet
    precision: Precision
    micro_batch: int
    accumulation: int = 1
    digits: bool = False
    cuda_graph: bool = True

    @property
    def name(self) -> str:
        parts = [
            f"width {self.model.base_channels}",
            "8x8" if self.digits else "32x32",
            self.precision,
            f"batch {self.micro_batch}",
        ]
        parts += [f"accumulation {self.accumulation}"] if self.accumulation > 1 else []
        parts += [] if self.cuda_graph else ["op by op"]
        return ", ".join([*parts, *(["checkpointing"] if self.model.checkpointing else [])])

    @property
    def experiment(self) -> Experiment:
        return Experiment(
            data=Digits() if self.digits else CIFAR10(),
            condition=ClassLabels() if self.digits else Unconditional(),
            model=self.model,
            training=Training(images_per_step=self.micro_batch * self.accumulation, precision=self.precision),
            hardware=Hardware(cuda_graph=self.cuda_graph),
        )


_TINY = UNet(base_channels=32, multipliers=(1, 2), attention_resolutions=(), time_embedding=128, groups=8)
_SMALL = UNet(base_channels=64, time_embedding=256)
_STANDARD = UNet()
_LEAN = UNet(checkpointing=True)

CASES: dict[str, tuple[Case, ...]] = {
    "cpu": (
        Case(_TINY, "fp32", 128, digits=True),
        Case(_TINY, "fp32", 512, digits=True),
        Case(_SMALL, "fp32", 8),
        Case(_SMALL, "fp32", 32),
        Case(_SMALL.but(checkpointing=True), "fp32", 32),
        Case(_SMALL, "bf16", 8),
        Case(_SMALL, "fp32", 8, accumulation=2),
        Case(_STANDARD, "fp32", 4),
    ),
    "cuda": (
        Case(_STANDARD, "fp32", 32),
        Case(_STANDARD, "fp32", 128),
        Case(_STANDARD, "bf16", 32),
        Case(_STANDARD, "bf16", 128),
        Case(_STANDARD, "bf16", 256),
        Case(_STANDARD, "fp16", 128),
        Case(_STANDARD, "bf16", 64, accumulation=2),
        Case(_LEAN, "fp32", 128),
        Case(_LEAN, "bf16", 128),
        Case(_SMALL, "fp32", 256),
        Case(_SMALL, "bf16", 256),
        Case(_STANDARD, "bf16", 1),
        Case(_STANDARD, "fp32", 128, cuda_graph=False),
        Case(_STANDARD, "bf16", 128, cuda_graph=False),
    ),
}


def build_step(case: Case, device: torch.device) -> Callable[[], None]:
    """A whole training step of the project's trainer on random images."""
    experiment = case.experiment
    shape, count = shape_of(experiment.data), training_images(experiment.data) or 0
    names = tuple(f"class {chr(97 + k)}" for k in range(10))
    images = ImageSet(torch.randint(0, 256, (count, *shape), dtype=torch.uint8), torch.randint(0, 10, (count,)), names)
    network = build_network(experiment.model, condition_size(experiment), shape)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    plan = Plan(
        gpu="measured",
        device="cuda" if device.type == "cuda" else "cpu",
        precision=case.precision,
        images_per_step=experiment.training.images_per_step,
        micro_batch=case.micro_batch,
        accumulation=case.accumulation,
        usable_bytes=0,
        peak_bytes=0,
        uncertainty=0.0,
        source="estimated",
    )
    micro_step = MicroStep(
        network=network,
        diffusion=experiment.diffusion,
        path=build_path(experiment.diffusion, device),
        source=Batches(images, seed=0, flip=False, device=device, draw=draws.uniform),
        conditions=build_conditions(experiment.condition, names, draws.uniform),
        plan=plan,
        seed=0,
        device=device,
    )
    length = Length(total_images=10_000, warmup_images=0, ema_half_life_images=1000)
    return Trainer(micro_step, training=experiment.training, length=length, cuda_graph=experiment.hardware.cuda_graph).step


def measure_cpu(case: Case) -> dict[str, int]:
    """Highest resident bytes of this process after `STEPS` steps; run in a process of its own."""
    step = build_step(case, torch.device("cpu"))
    for _ in range(STEPS):
        step()
    return {"process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def measure_cuda(case: Case, others: int) -> dict[str, int]:
    """Peaks of the allocator and of the device, less the `others` bytes that were in use before the first case."""
    device = torch.device("cuda")
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    step = build_step(case, device)
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    reserved = torch.cuda.max_memory_reserved()
    return {
        "process_bytes": total - free - torch.cuda.memory_reserved() + reserved - others,
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": reserved,
    }


def record(case: Case, gpu: Gpu, measured: dict[str, int]) -> dict[str, Any]:
    """The case's estimate beside what was measured. Errors are (estimate - truth) / truth."""
    expected = estimate(case.experiment, gpu, case.precision, case.micro_batch)
    allocated = expected.training_bytes - expected.terms["fragmentation"] - expected.terms["context"]
    predicted = {
        "predicted_bytes": expected.training_bytes,
        "predicted_allocated_bytes": allocated,
        "predicted_reserved_bytes": allocated + expected.terms["fragmentation"],
    }
    errors = {
        name.replace("_bytes", "_error"): round(predicted[mine] / measured[name] - 1, 4)
        for name, mine in (
            ("process_bytes", "predicted_bytes"),
            ("allocated_bytes", "predicted_allocated_bytes"),
            ("reserved_bytes", "predicted_reserved_bytes"),
        )
        if name in measured
    }
    mode = {"precision": case.precision, "micro_batch": case.micro_batch, "accumulation": case.accumulation}
    mode |= {"checkpointing": case.model.checkpointing, "cuda_graph": case.cuda_graph}
    row = {"experiment": case.name, "mode": mode, **predicted, **measured, **errors, "moment": expected.moment}
    print(f"{case.name:45s} predicted {expected.training_bytes / MIB:8.0f} MiB, errors {errors}", flush=True)
    return row | {"terms": expected.terms}


def cpu_records(gpu: Gpu) -> list[dict[str, Any]]:
    """Every CPU case, one process each."""
    rows = []
    for number, case in enumerate(CASES["cpu"]):
        command = [sys.executable, __file__, "--case", str(number)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(record(case, gpu, json.loads(answer.stdout.splitlines()[-1])))
    return rows


def cuda_records(gpu: Gpu, others: int) -> list[dict[str, Any]]:
    """Every CUDA case in this process; a case that does not fit is recorded as such."""
    rows: list[dict[str, Any]] = []
    for case in CASES["cuda"]:
        if case.precision not in gpu.precisions:
            continue
        try:
            measured = measure_cuda(case, others)
        except torch.OutOfMemoryError:
            rows.append({"experiment": case.name, "out_of_memory": True})
            continue
        rows.append(record(case, gpu, measured))
    return rows


def in_use_by_others() -> int:
    """Bytes of the first GPU in use as nvidia-smi sees them, to be asked before this process has a context; 0 without it."""
    if not torch.cuda.is_available() or shutil.which("nvidia-smi") is None:
        return 0
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(answer.stdout.split()[0]) * MIB


def main() -> None:
    """Measure every case of this machine's device and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder for the JSON")
    parser.add_argument("--case", type=int, help="measure one CPU case in this process and print it")
    options = parser.parse_args()
    if options.case is not None:
        print(json.dumps(measure_cpu(CASES["cpu"][options.case])))
        return
    others = in_use_by_others()
    gpu, device, facts = this_machine()
    rows = cuda_records(gpu, others) if device == "cuda" else cpu_records(gpu)
    name = str(facts["gpu"]) if device == "cuda" else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    versions |= {key: str(facts[key]) for key in ("cuda", "driver") if key in facts}
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"memory_estimate_{device}.json"
    target.write_text(json.dumps({"device": name, **versions, "records": rows}, indent=1) + "\n")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
