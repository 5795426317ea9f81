"""What a step computes and moves, kernel by kernel: the real network on meta tensors, counted. No device, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ddpm_exp.data.shapes import shape_of
from ddpm_exp.memory.estimate import condition_inputs, meta_network_of
from ddpm_exp.memory.kernel_counter import IMAGES, CountedTarget, Kernel, KernelCounter
from ddpm_exp.memory.kernels import Kernels
from ddpm_exp.memory.step import copied
from ddpm_exp.memory.trace import without_collector
from ddpm_exp.models.group_norm import fuse
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.training.optimizer import split

Pass = Literal["training", "sampling"]


@dataclass(frozen=True)
class Work:
    """All launches of a pass, equal ones together with how many there are."""

    kernels: tuple[tuple[Kernel, int], ...]

    @property
    def launches(self) -> int:
        """Kernels that are started, but for the optimizer's."""
        return sum(count for _, count in self.kernels)

    @property
    def flops(self) -> float:
        """Per image."""
        return sum(kernel.flops * count for kernel, count in self.kernels)

    @property
    def moved(self) -> float:
        """Bytes per image."""
        return sum(kernel.moved * count for kernel, count in self.kernels)


class Updated(NamedTuple):
    """What the optimizer's step and the averages take, whatever the images."""

    parameters: int
    tensors: int
    matrix_flops: float
    """Muon's products of matrices."""


def work_of(experiment: Experiment, kernels: Kernels, kind: Pass) -> Work:
    """Forward and backward of a micro-batch (`training`), or one evaluation without gradients (`sampling`), on a device with
    these kernels. Whatever else the experiment says (data, lengths, learning rate) shares the count."""
    return _count(_key(experiment), kernels, kind, _Network(lambda: meta_network_of(experiment)))


def updated_by(experiment: Experiment) -> Updated:
    """The optimizer's part of a step."""
    muon = experiment.training.optimizer == "muon"
    return _updated(_key(experiment), muon, _Network(lambda: meta_network_of(experiment)))


@lru_cache(maxsize=128)
def _updated(key: _NetworkKey, muon: bool, network_of: _Network) -> Updated:
    network, flops = network_of.make(), 0.0
    for weight in split(network)[0] if muon else ():
        rows, columns = sorted((len(weight), weight[0].numel()))
        flops += 5 * (4.0 * rows * rows * columns + 2.0 * rows**3)  # five iterations of Newton and Schulz
    weights = list(network.parameters())
    return Updated(sum(weight.numel() for weight in weights), len(weights), flops)


class _NetworkKey(NamedTuple):
    """All that decides what a network computes."""

    model: str
    inputs: tuple[ConditionInput, ...]
    shape: tuple[int, ...]
    outputs: int
    timesteps: int
    """Of which some networks have a table."""


def _key(experiment: Experiment) -> _NetworkKey:
    diffusion = experiment.diffusion
    return _NetworkKey(
        experiment.model.model_dump_json(),
        condition_inputs(experiment),
        shape_of(experiment.data, experiment.condition),
        2 if diffusion.learned_variance else 1,
        diffusion.timesteps if diffusion.discrete else 0,
    )


class _Network:
    """A way to the network that counts as equal to any other, so that the cache looks at the key alone."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self.make = make

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Network)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=128)
def _count(key: _NetworkKey, kernels: Kernels, kind: Pass, network_of: _Network) -> Work:
    network = copied(network_of.make())
    fuse(network, kernels.fused_norms)
    training = kind == "training"
    network.train(training).requires_grad_(training)
    network.to(memory_format=torch.channels_last)
    for weight in network.parameters():
        weight.grad = torch.empty_like(weight) if training else None
    counter = KernelCounter(kernels.channels_last and not kernels.fused_norms)
    target = CountedTarget(kernels, network, counter)
    x, c_noise, condition = _batch(key)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    with without_collector(), torch.set_grad_enabled(training), counter:
        with target.autocast():
            output = network(x + x, c_noise, condition)
        loss = (output.float()[:, : x.shape[1]] - x).square().flatten(1).mean(dim=1).sum()
        if training:
            loss.backward()
    return Work(tuple(counter.found.items()))


def _batch(key: _NetworkKey) -> tuple[Tensor, Tensor, dict[str, Tensor] | None]:
    def empty(*shape: int) -> Tensor:
        return torch.empty(IMAGES, *shape, device="meta")

    condition: dict[str, Tensor] = {}
    for part in key.inputs:
        sizes: dict[str, tuple[int, ...]] = {
            "class": (),
            "prompt": (part.length,),
            "states": (part.length, part.width + 1),
            "image": (part.channels, *key.shape[1:]),
            "values": (2 * part.count,),
        }
        told = empty(*sizes[part.kind])
        condition[part.kind] = told.long() if part.kind in ("class", "prompt") else told
    return empty(*key.shape), empty(), condition or None
