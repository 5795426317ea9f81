"""The fused norm beside torch's own operations, for a list of cases; run as a program, on CUDA or in Triton's interpreter.

Prints the largest relative error of each case, values and gradients together.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ddpm_exp.models.dropout import kept
from ddpm_exp.models.fused import Job, fused_join, fused_norm

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZES = [(2, 64, 0, 9, 9), (2, 64, 32, 5, 3), (1, 48, 0, 1, 1), (1, 32, 0, 34, 34)]
"""Images, channels, channels of the skip, height, width: one block of groups and several, blocks that straddle the pair, one
pixel, and more pixels than stay in registers."""
KINDS: list[dict[str, Any]] = [
    {"told": False, "per_image": False, "silu": True, "drop": 0.0, "through": False},
    {"told": True, "per_image": False, "silu": True, "drop": 0.1, "through": False},
    {"told": False, "per_image": True, "silu": False, "drop": 0.0, "through": True},
    {"told": False, "per_image": False, "silu": True, "drop": 0.3, "through": True},
]


def reference(
    x: Tensor, skip: Tensor | None, told: Tensor | None, weight: Tensor, bias: Tensor, words: Tensor, job: Job
) -> tuple[Tensor, Tensor]:
    """What `fused_norm` promises, op by op."""
    whole = x if skip is None else torch.cat([x, skip], 1)
    h = F.group_norm(whole if told is None else whole + told[:, :, None, None], job.groups, None, None, job.eps)
    wide, high = ((part if part.dim() == 2 else part[None])[:, :, None, None] for part in (weight, bias))
    h = h * wide + high
    h = F.silu(h) if job.silu else h
    return (h * kept(words, h, job.layer, job.drop) / (1 - job.drop) if job.drop else h), whole


def error(size: tuple[int, ...], kind: dict[str, Any]) -> float:
    """Largest difference between the kernels in float32 and the reference in float64, relative to the largest value."""
    n, first, second, height, width = size
    channels = first + second
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    tensors = [
        random(n, first, height, width) * 2 + 5,
        random(n, second, height, width) if second else None,
        random(n, channels) if kind["told"] else None,
        *(random(n, channels) if kind["per_image"] else random(channels) for _ in range(2)),
    ]
    words = torch.randint(0, 2**31, (n,), generator=generator).int().to(DEVICE)
    job = Job(16, 1e-6, silu=kind["silu"], drop=kind["drop"], layer=3, through=kind["through"])
    dy, dwhole = random(n, channels, height, width), random(n, channels, height, width)

    def found(call: Any, dtype: torch.dtype) -> list[Tensor]:
        inputs = [None if part is None else part.to(DEVICE, dtype).requires_grad_() for part in tensors]
        y, whole = call(*inputs)
        loss = (y * dy.to(DEVICE, dtype)).sum()
        if job.through:
            loss = loss + (whole * dwhole.to(DEVICE, dtype)).sum()
        given = [part for part in inputs if part is not None]
        return [y.detach(), *torch.autograd.grad(loss, given)]

    def ours(x: Tensor, skip: Tensor | None, told: Tensor | None, weight: Tensor, bias: Tensor) -> Any:
        answer = fused_norm(x, weight, bias, job, skip=skip, told=told, words=words)
        return answer if job.through else (answer, None)

    theirs = found(lambda *parts: reference(*parts, words, job), torch.float64)
    return max(
        float((a - b.double()).abs().max() / a.abs().max().clamp(min=1e-9))
        for a, b in zip(theirs, found(ours, torch.float32), strict=True)
    )


def error_of_join() -> float:
    """The same for the sum of a residual block."""
    parts = [torch.randn(2, 24, 5, 5, device=DEVICE, requires_grad=True) for _ in range(2)]
    bias, dy = torch.randn(24, device=DEVICE, requires_grad=True), torch.randn(2, 24, 5, 5, device=DEVICE)
    ours = fused_join(*parts, bias, scaled=True)
    theirs = (parts[0] + parts[1] + bias[:, None, None]) * 0.5**0.5
    pairs = zip(torch.autograd.grad(ours, (*parts, bias), dy), torch.autograd.grad(theirs, (*parts, bias), dy), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in [(ours, theirs), *pairs])


if __name__ == "__main__":
    errors = {f"{size} {kind}": error(size, kind) for size in SIZES for kind in KINDS}
    print(json.dumps(errors | {"join": error_of_join()}))
