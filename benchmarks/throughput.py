"""What the throughput benchmarks share: a trainer as `run` makes it, on random images; clocks; counted operations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ddpm_exp.data.examples import Examples, split
from ddpm_exp.data.source import batch_of
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.memory.plan import plan as make_plan
from ddpm_exp.models.build import build_network
from ddpm_exp.spec.identity import science_hash
from ddpm_exp.spec.model import Model
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.assemble import Runtime, assemble
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Prepared, find_machine, lengths

EXPERIMENT = Path(__file__).parent / "ddpm_cifar10.py"
H100_BF16_TFLOPS = 989.0
"""Dense rate of the datasheet; a large product reaches about 790 (measured)."""


def prepared(overrides: list[str], images: int = 8192, model: Model | None = None) -> Prepared:
    """The benchmark's experiment, or the same of another network, on `images` random images, which cost what photographs cost."""
    loaded = load_experiment(EXPERIMENT, overrides)
    if model is not None:
        loaded = replace(loaded, experiment=loaded.experiment.but(model=model))
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images + 256, 3, 32, 32), generator=generator).to(torch.uint8)
    splits = split(Examples(pixels[:images], None, ()), Examples(pixels[images:], None, ()))
    machine = find_machine(RunOptions())
    plan = make_plan(loaded.experiment, machine.gpu, device=machine.device)
    units = lengths(loaded.experiment, images)
    return Prepared(loaded, machine, plan, splits, units, science_hash(loaded.experiment, plan.precision))


def runtime(overrides: list[str], model: Model | None = None) -> tuple[Prepared, Runtime]:
    """Everything that `run` would compute with."""
    ready = prepared(overrides, model=model)
    return ready, assemble(ready, seed=0)


def per_second(step: Callable[[], None], images: int, *, warm_up: int, seconds: float) -> tuple[float, float]:
    """Images per second of `step`, and the seconds of its first `warm_up` calls. Waits for the device every tenth call, so that
    what is queued is bounded."""
    began = time.perf_counter()
    for _ in range(warm_up):
        step()
    wait()
    first = time.perf_counter() - began
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(10):
            step()
        wait()
        steps += 10
    return images * steps / (time.perf_counter() - began), first


def wait() -> None:
    """Until the device is idle."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak() -> int:
    """Bytes that torch held at most since the warm-up ended."""
    return torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0


def flops_per_image(overrides: list[str], *, training: bool) -> float:
    """Multiplications and additions of matrix products and convolutions for one image, counted by torch."""
    model = load_experiment(EXPERIMENT, overrides).experiment.model
    with FakeTensorMode():
        network = build_network(model, (), (3, 32, 32))
        x, t = torch.randn(2, 3, 32, 32), torch.rand(2)
        with FlopCounterMode(display=False) as counter:
            output = network(x, t, None)
            if training:
                output.sum().backward()
    return counter.get_total_flops() / 2


def device_name() -> str:
    """For the record."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def losses_of(made: Trainer, steps: int) -> list[float]:
    """The loss of each of the next steps."""
    losses = []
    for _ in range(steps):
        made.step()
        losses.append(made.statistics.read()[0]["train/loss"])
    return losses


def draws(made: Trainer, ordinals: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Images, times and noise of these ordinals, as the micro-step draws them."""
    step = made.eager
    here = ordinals.to(step.device)
    batch = batch_of(step.source, ordinals)
    noised = step.objective.noised(batch.x0, step.seed, here)
    return batch.x0.cpu(), noised.t.cpu(), noised.eps.cpu()
