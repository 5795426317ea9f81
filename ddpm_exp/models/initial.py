"""Weights before training: the network's own, orthogonal or Kaiming-normal, and branches that start at nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

Initialization = Literal["default", "orthogonal", "kaiming"]

MAPS = (nn.Conv1d, nn.Conv2d, nn.Linear)
"""What has a weight that an initialization chooses. Norms start as the identity and tables of embeddings as they are."""


def initial_weights(network: nn.Module, how: Initialization, *, default: Callable[[nn.Module], None]) -> None:
    """Draw every convolution's and linear map's weights from torch's global generator, in the order of `network.modules()`.

    `default` is the network's own rule for one module. `orthogonal` (Saxe et al. 2014) and `kaiming` (He et al. 2015, normal,
    by fan-in, for rectifiers) also set biases to 0. Maps that begin at zero are set afterwards, by `start_at_zero`.
    """
    network.apply({"default": default, "orthogonal": _orthogonal, "kaiming": _kaiming}[how])


def weights_like_ddpm(module: nn.Module) -> None:
    """DDPM's initial weights for one convolution or linear map: Glorot-uniform, biases 0."""
    if isinstance(module, MAPS):
        nn.init.xavier_uniform_(module.weight)
        _no_bias(module)


def weights_of_torch(module: nn.Module) -> None:
    """Leave one module with what torch gave it when it was made."""


def start_at_zero(module: nn.Module) -> None:
    """Make a branch's last map 0, so that the branch adds nothing before training."""
    if not isinstance(module, MAPS):
        raise TypeError(f"a convolution or a linear map can start at zero, not {type(module).__name__}")
    nn.init.zeros_(module.weight)
    _no_bias(module)


def _orthogonal(module: nn.Module) -> None:
    if isinstance(module, MAPS):
        nn.init.orthogonal_(module.weight)
        _no_bias(module)


def _kaiming(module: nn.Module) -> None:
    if isinstance(module, MAPS):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        _no_bias(module)


def _no_bias(module: nn.Conv1d | nn.Conv2d | nn.Linear) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)
