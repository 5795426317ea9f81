"""Networks whose weights, gradients and averages are spread over the devices (FSDP2), a block at a time. Knows no step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ddpm_exp.models.fsdp_units import blocks_of
from ddpm_exp.ranks.ranks import Ranks


def spread(network: nn.Module, device: torch.device, ranks: Ranks) -> None:
    """Keep on this process's `device` its part of every weight of `network`, which lies on the CPU, the same in all processes.

    Gradients are summed over processes, not averaged: a loss is divided by the images of the whole step already.
    """
    network.to(memory_format=torch.contiguous_format)  # parts are rows of whole weights
    mesh = init_device_mesh(device.type, (ranks.size,))
    for block in blocks_of(network):
        fully_shard(block, mesh=mesh)
    # Its own weights too, or an evaluation would leave them gathered, and the next one find them old.
    fully_shard(network, mesh=mesh, reshard_after_forward=True)
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    for buffer in network.buffers():
        buffer.data = buffer.data.to(device)


def is_spread(network: nn.Module) -> bool:
    """Whether `network` is spread over devices."""
    return isinstance(network, FSDPModule)


class SpreadGradients:
    """The gradients of a spread network: as `Gradients`, but each process has its part, and the network sums them itself."""

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        self._network, self._ranks = network, ranks
        self._weights = [weight for weight in network.parameters() if weight.requires_grad]

    @property
    def own(self) -> list[Tensor]:
        """Nothing is left to be summed after the last backward pass."""
        return []

    def expect(self, *, last: bool) -> None:
        """Sum over processes in the coming backward pass only if it is the `last` of the step."""
        assert isinstance(self._network, FSDPModule)
        self._network.set_requires_gradient_sync(last)

    def zero(self) -> None:
        """Forget what was accumulated."""
        for weight in self._weights:
            weight.grad = None

    def multiply(self, factor: Tensor) -> None:
        """Multiply every gradient by a scalar on the device."""
        torch._foreach_mul_(self._found(), factor)

    def norm(self) -> Tensor:
        """Root of the sum of squares of all gradients on all devices: a scalar on the device."""
        square = torch.nn.utils.get_total_norm(self._found()).square()
        self._ranks.sum(square)
        return square.sqrt()

    def _found(self) -> list[Tensor]:
        return [own_part(weight.grad) for weight in self._weights if weight.grad is not None]


def own_part(tensor: Tensor) -> Tensor:
    """What this process holds of `tensor`, in the same memory: all of it, unless it is spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def spread_like(whole: Any, template: Any) -> Any:
    """A state of whole tensors, with every tensor that `template` has spread being spread like that. No process hears another."""
    if isinstance(template, DTensor):
        assert isinstance(whole, Tensor)
        if isinstance(whole, DTensor):
            return whole
        return distribute_tensor(whole.to(template.device), template.device_mesh, template.placements, src_data_rank=None)
    if isinstance(template, dict):
        return {key: spread_like(item, template.get(key)) for key, item in whole.items()}
    if isinstance(template, list):
        return [spread_like(one, other) for one, other in zip(whole, template, strict=True)]
    return whole


def with_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer that has not stepped the state that it would have, all zero: something to read a checkpoint into."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    before = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.found_inf = torch.ones((), device=weights[0].device)  # type: ignore[attr-defined]  # so that nothing moves
    optimizer.step()
    for weight, gradient in zip(weights, before, strict=True):
        weight.grad = gradient
