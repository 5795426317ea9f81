"""Muon: momentum whose update of a matrix is made nearly orthogonal (Jordan et al. 2024); AdamW for all that is no matrix.

torch's own takes matrices of two dimensions only, one at a time, and cannot skip a step on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of x -> a x + b x^3 + c x^5, which takes singular values from near 0 to about 1 (Jordan et al. 2024)."""

_STEPS = 5

_SMALLEST = 1e-7
"""Norm below which a momentum is noise and is not made larger (Jordan et al. 2024)."""

_RMS = 0.2
"""Root mean square of an update in units of the rate: about AdamW's, so that its rates carry over (Liu et al. 2025, eq. 4)."""

_TOGETHER = 2**24
"""Numbers in the matrices that are made orthogonal at once: few launches for small ones, bounded memory for large ones."""


class Muon(torch.optim.Optimizer):
    """Matrices by Muon with Nesterov's momentum, all else by AdamW; both at one rate and one decoupled weight decay.

    A convolution's weight [out, in, ...] is the matrix [out, in x ...]. Its update has a root mean square of about 0.2 rates
    whatever its shape. Reads `found_inf` as the fused optimizers do.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        momentum: float,
        half: bool,
    ) -> None:
        """`half`: multiply matrices in bfloat16."""
        groups: list[dict[str, Any]] = [
            {"params": list(matrices), "orthogonal": True},
            {"params": list(others), "orthogonal": False},
        ]
        # `fused`: where it is set, loading a state puts the counters beside the weights, where the fused AdamW wants them.
        fields = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum, "eps": 1e-8, "fused": True}
        super().__init__([group for group in groups if group["params"]], fields)
        self._dtype = torch.bfloat16 if half else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step by the gradients. There is no `closure`."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not group["orthogonal"]:
                self._adamw(group, weights)
                continue
            for alike in _alike(weights):
                self._orthogonal(group, alike)

    def _orthogonal(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        """Weights of one shape."""
        momenta = [self._kept(weight, "momentum") for weight in weights]
        gradients = torch.stack([_matrix(weight.grad) for weight in weights if weight.grad is not None])
        before = torch.stack([_matrix(momentum) for momentum in momenta])
        after = torch.lerp(before, gradients, 1 - group["momentum"])
        update = orthogonal(torch.lerp(gradients, after, group["momentum"]).to(self._dtype)).float()
        update = update * (-group["lr"] * _RMS * math.sqrt(max(update.shape[1:])))
        keep = 1 - group["lr"] * group["weight_decay"]
        if self.found_inf is not None:  # selected, not multiplied: 0 x NaN is NaN
            bad = self.found_inf > 0
            after, update = torch.where(bad, before, after), torch.where(bad, 0.0, update)
            keep = torch.where(bad, 1.0, keep)
        torch._foreach_copy_(momenta, [one.view(weights[0].shape) for one in after])
        torch._foreach_mul_(weights, keep)
        torch._foreach_add_(weights, [one.view(weights[0].shape) for one in update])

    def _adamw(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        for weight in weights:
            if "step" not in self.state[weight]:
                self.state[weight]["step"] = torch.zeros((), device=weight.device)
        adamw(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            [self._kept(weight, "exp_avg") for weight in weights],
            [self._kept(weight, "exp_avg_sq") for weight in weights],
            [],
            [self.state[weight]["step"] for weight in weights],
            fused=True,
            found_inf=self.found_inf,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _kept(self, weight: Tensor, name: str) -> Tensor:
        state: dict[str, Tensor] = self.state[weight]
        if name not in state:
            state[name] = torch.zeros_like(weight)
        return state[name]

    @staticmethod
    def temporary_bytes(matrices: Sequence[Tensor]) -> int:
        """Most that a step takes beside its state: the largest matrices of one shape that are treated at once, seven times in
        fp32 (gradient, momentum before and after, update and its steps)."""
        return max((7 * 4 * len(alike) * alike[0].numel() for alike in _alike(list(matrices))), default=0)


def orthogonal(matrices: Tensor) -> Tensor:
    """[n, rows, columns] with the singular values of each matrix moved to about 1 (0.7 to 1.2), by five quintic steps.

    Zero stays zero. In the dtype of `matrices`; each is first divided by its Frobenius norm, so that no singular value exceeds 1.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.vector_norm(x.float(), dim=(1, 2), keepdim=True).clamp(min=_SMALLEST).to(x.dtype)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _matrix(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[0], -1)


def _alike(weights: list[Tensor]) -> Iterator[list[Tensor]]:
    """Weights of one shape, as many together as `_TOGETHER` allows, in an order that depends on nothing but theirs."""
    shapes: dict[torch.Size, list[Tensor]] = {}
    for weight in weights:
        shapes.setdefault(weight.shape, []).append(weight)
    for same in shapes.values():
        most = max(1, _TOGETHER // same[0].numel())
        for first in range(0, len(same), most):
            yield same[first : first + most]
