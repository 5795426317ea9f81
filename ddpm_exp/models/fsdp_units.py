"""The parts of a network that FSDP gathers one at a time. Knows no devices, and imports nothing of FSDP."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def blocks_of(network: nn.Module) -> Iterator[nn.Module]:
    """Whatever stands in a list and has weights. The rest is one more group."""
    for module in network.modules():
        if isinstance(module, nn.ModuleList):
            yield from (child for child in module if not isinstance(child, nn.ModuleList) and any(True for _ in child.parameters()))
