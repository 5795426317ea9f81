"""What a device holds of a network that is spread over several (`hardware.shard`): its parts, and the blocks that are gathered."""

from __future__ import annotations

from torch import nn

from ddpm_exp.memory.moments import Bytes
from ddpm_exp.models.fsdp_units import blocks_of


def spread_out(resident: Bytes, network: nn.Module, devices: int, *, accumulates: bool) -> Bytes:
    """`resident` of whole copies as it is where `devices` share them. `network` may be on the meta device.

    Two groups are whole at a time, the one that computes and the one that comes next; gradients are, until the last of several
    micro-batches sums them over the devices, else group by group.
    """
    gathered = min(2 * _largest_group(network), _bytes(network))
    gradients = resident["gradients"]
    return resident | {
        "weights": resident["weights"] // devices + gathered,
        "gradients": gradients // devices + (gradients if accumulates else gathered),
        "optimizer": resident["optimizer"] // devices,
        "ema": resident["ema"] // devices,
    }


def _largest_group(network: nn.Module) -> int:
    blocks = [_bytes(block) for block in blocks_of(network)]
    return max([_bytes(network) - sum(blocks), *blocks])


def _bytes(module: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())
