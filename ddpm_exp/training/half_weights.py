"""16-bit copies of the weights, cast once per step; their gradients go to the float32 masters in one pass.

Autocast does the same tensor by tensor and call by call: two hundred more kernels in every micro-batch. Values and gradients are
the same bits: autocast, too, computes a weight's gradient in 16 bits and adds it in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ddpm_exp.models.half import cast_by_autocast


class HalfWeights:
    """Stands between a network with float32 weights and one call of it after another."""

    def __init__(self, network: nn.Module, half: torch.dtype) -> None:
        masters = {name: weight for name, weight in cast_by_autocast(network).items() if weight.requires_grad}
        self._network = network
        self._masters: list[Tensor] = list(masters.values())
        self._low = {name: weight.detach().to(half).requires_grad_() for name, weight in masters.items()}

    @property
    def low(self) -> list[Tensor]:
        """The copies."""
        return list(self._low.values())

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the masters as they are now; once per optimizer step."""
        torch._foreach_copy_(list(self._low.values()), self._masters)

    def __call__(self, *arguments: Any) -> Tensor:
        """The network's answer with the 16-bit weights; the caller has entered autocast for the rest."""
        answer: Tensor = functional_call(self._network, dict(self._low), arguments)
        return answer

    @torch.no_grad()
    def collect(self) -> None:
        """Add the gradients of the calls since the last time to those of the masters."""
        pairs = [(master.grad, low.grad) for master, low in zip(self._masters, self._low.values(), strict=True)]
        found = [(total, part) for total, part in pairs if total is not None and part is not None]
        torch._foreach_add_([total for total, _ in found], [part for _, part in found])
        self.forget()

    def forget(self) -> None:
        """Drop what was not collected."""
        for weight in self._low.values():
            weight.grad = None
