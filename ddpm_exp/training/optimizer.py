"""The optimizer of a training, and what it keeps for each weight. Knows no schedule: the rate is set before every step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddpm_exp.spec.training import Precision, Training
from ddpm_exp.training.muon import Muon

_NOT_HIDDEN = ("first", "last", "time", "condition")
"""Children of every network that are no hidden layers: they read the data, write the answer, or embed what the network is told."""


def build_optimizer(training: Training, network: nn.Module, precision: Precision) -> torch.optim.Optimizer:
    """`training.optimizer` over the weights of `network` that learn.

    Each reads `found_inf`, a scalar tensor that is set before `step`, and leaves weights and state alone where it is 1, without
    waiting for the device. `adam` adds weight_decay x weight to the gradient (L2), `adamw` and `muon` take weight_decay x rate
    off the weight itself (Loshchilov & Hutter 2019). `precision`: in bf16, Muon's products of matrices are too.
    """
    fields = {"lr": training.learning_rate, "betas": training.betas, "weight_decay": training.weight_decay}
    if training.optimizer == "muon":
        matrices, others = split(network)
        return Muon(matrices, others, momentum=training.muon_momentum, half=precision == "bf16", **fields)  # type: ignore[arg-type]
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    if training.optimizer == "adam":
        return torch.optim.Adam(learning, fused=True, **fields)  # type: ignore[arg-type]
    return torch.optim.AdamW(learning, fused=True, **fields)  # type: ignore[arg-type]


def split(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Weights of hidden linear layers and convolutions, which are matrices; and all others that learn (Jordan et al. 2024)."""
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d)
    hidden = {
        id(module.weight)
        for name, module in network.named_modules()
        if isinstance(module, layers) and name.split(".")[0] not in _NOT_HIDDEN
    }
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    return [weight for weight in learning if id(weight) in hidden], [weight for weight in learning if id(weight) not in hidden]


def lay_out_like_weights(optimizer: torch.optim.Optimizer) -> None:
    """Give each moment the strides of its weight. A fused update goes over both as they lie in memory: on CUDA it refuses others,
    on a CPU it would mix the numbers of one weight with the moments of another. What was kept by several devices, or by a
    network of another memory format, comes back with strides of its own."""
    for weight, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                laid = torch.empty_like(weight, dtype=value.dtype)
                kept[name] = laid.copy_(value)


def state_bytes(kind: str, network: nn.Module) -> int:
    """Bytes that the optimizer `kind` keeps between steps, without its few counters. `network` may be on the meta device."""
    matrices, others = split(network) if kind == "muon" else ([], list(network.parameters()))
    return _bytes(matrices) + 2 * _bytes(others)


def moments(kind: str, network: nn.Module) -> tuple[int, ...]:
    """Bytes of each tensor that the optimizer `kind` keeps, in the order in which they come to be."""
    matrices, others = split(network) if kind == "muon" else ([], list(network.parameters()))
    kept = [_bytes([weight]) for weight in matrices]
    for weight in others:
        if weight.requires_grad:
            kept += [4, _bytes([weight]), _bytes([weight])]
    return tuple(kept)


def step_bytes(kind: str, network: nn.Module) -> int:
    """Bytes that a step of the optimizer takes for itself and gives back: none for the fused ones."""
    return Muon.temporary_bytes(split(network)[0]) if kind == "muon" else 0


def _bytes(weights: list[nn.Parameter]) -> int:
    return sum(weight.numel() * weight.element_size() for weight in weights if weight.requires_grad)
