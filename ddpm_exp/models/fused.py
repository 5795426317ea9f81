"""The fused kernels as differentiable functions. What they compute, in torch's own operations, is in `group_norm`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

_LANES = 64
"""Channels that a program reads at once: 128 bytes in 16-bit types, a line of the cache."""

_ROWS = 64


@dataclass(frozen=True)
class Job:
    """Everything about a norm but its tensors."""

    groups: int
    eps: float
    silu: bool
    drop: float = 0.0
    layer: int = 0
    through: bool = False
    """Also hand the input on (a pair as one tensor), so that its other use's gradient is added by the same kernel."""


def available(device: torch.device) -> bool:
    """Whether the kernels run there: on CUDA GPUs of compute capability 7.5 and later, where Triton is installed."""
    if device.type != "cuda" or torch.version.hip is not None or torch.cuda.get_device_capability(device) < (7, 5):
        return False
    return find_spec("triton") is not None


class FusedNorm(torch.autograd.Function):
    """y = dropout(silu(norm(x + told) weight + bias)); x is [N, C, H, W], or its channels are those of x and of `skip`.

    `told` [N, C] or None; `weight`, `bias` [C] or [N, C]; `words` int32 [N]: dropout's keys. Returns y, or (y, input).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, skip: Tensor | None, told: Tensor | None, weight: Tensor, bias: Tensor, words: Tensor | None, job: Job
    ) -> Any:
        x = _dense(x)
        skip = None if skip is None else _dense(skip)
        told = None if told is None else told.contiguous()
        n, first, height, width = x.shape
        channels = first + (0 if skip is None else skip.shape[1])
        y = torch.empty((n, channels, height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        means, rstds = (torch.empty(n, job.groups, device=x.device) for _ in range(2))
        whole = torch.empty_like(y) if skip is not None else y
        if not x.is_meta:
            _launch(_kernels().norm_forward, x, skip, channels, weight, job)(
                x, _or(skip, x), _or(told, x), weight, bias, _or(words, x), y, whole, means, rstds,
                eps=job.eps, TOLD=told is not None,
            )  # fmt: skip
        ctx.save_for_backward(x, skip, told, weight, bias, words, means, rstds)
        ctx.job, ctx.channels = job, channels
        ctx.set_materialize_grads(False)
        if not job.through:
            return y
        return y, (whole if skip is not None else x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dwhole: Tensor | None = None) -> Any:
        x, skip, told, weight, bias, words, means, rstds = ctx.saved_tensors
        job, channels, n = ctx.job, ctx.channels, len(x)
        dy = _dense(dy)
        dwhole = None if dwhole is None else _dense(dwhole.to(x.dtype))
        dx = torch.empty_like(x)
        dskip = None if skip is None else torch.empty_like(skip)
        dweight, dbias = (torch.empty(n, channels, device=x.device) for _ in range(2))
        dtold = None if told is None else torch.empty(n, channels, device=x.device)
        if not x.is_meta:
            _launch(_kernels().norm_backward, x, skip, channels, weight, job)(
                dy, _or(dwhole, x), x, _or(skip, x), _or(told, x), weight, bias, _or(words, x), means, rstds,
                dx, _or(dskip, x), dweight, dbias, _or(dtold, dbias), TOLD=told is not None, THROUGH=dwhole is not None,
            )  # fmt: skip
        if weight.dim() == 1:
            dweight, dbias = dweight.sum(0), dbias.sum(0)
        dtold = None if dtold is None or told is None else dtold.to(told.dtype)
        return dx, dskip, dtold, dweight.to(weight.dtype), dbias.to(bias.dtype), None, None


class FusedJoin(torch.autograd.Function):
    """(x + branch + bias) scale, all [N, C, H, W] but the bias [C]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, bias: Tensor, scale: float) -> Tensor:
        x, branch = _dense(x), _dense(branch)
        out = torch.empty_like(branch)
        if not x.is_meta:
            count, block = out.numel(), 4096
            _kernels().join[(-(-count // block),)](x, branch, bias, out, count, out.shape[1], scale, BLOCK=block, num_warps=8)
        ctx.scale, ctx.types = scale, (x.dtype, branch.dtype, bias.dtype)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        of_x, of_branch, of_bias = ctx.types
        grad = _dense(grad)
        if ctx.scale != 1.0:
            grad = grad * ctx.scale
        return grad.to(of_x), grad.to(of_branch), grad.sum((0, 2, 3), dtype=torch.float32).to(of_bias), None


def fused_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    job: Job,
    *,
    skip: Tensor | None = None,
    told: Tensor | None = None,
    words: Tensor | None = None,
) -> Any:
    """See `FusedNorm`."""
    return FusedNorm.apply(x, skip, told, weight, bias, words, job)


def fused_join(x: Tensor, branch: Tensor, bias: Tensor, *, scaled: bool) -> Tensor:
    """x + branch + bias [C], times sqrt(1/2) if `scaled`."""
    result: Tensor = FusedJoin.apply(x, branch, bias, math.sqrt(0.5) if scaled else 1.0)
    return result


def _launch(kernel: Any, x: Tensor, skip: Tensor | None, channels: int, weight: Tensor, job: Job) -> Any:
    """`kernel` on its grid, with the arguments that forward and backward share."""
    from ddpm_exp.models.dropout import layer_word, threshold

    per_group = channels // job.groups
    together = max(1, min(job.groups, _LANES // per_group))
    together = 1 << (together.bit_length() - 1)
    used = together * per_group
    pixels = x.shape[2] * x.shape[3]
    rows = max(16, min(_ROWS, 1 << (pixels - 1).bit_length()))
    shared = {
        "pixels": pixels,
        "C1": x.shape[1],
        "C": channels,
        "weight_stride": 0 if weight.dim() == 1 else channels,
        "layer": layer_word(job.layer),
        "threshold": threshold(job.drop),
        "keep_scale": 1.0 / (1.0 - job.drop),
        "PER_GROUP": per_group,
        "USED": used,
        "LANES": max(16, 1 << (used - 1).bit_length()),
        "ROWS": rows,
        "PAIR": skip is not None,
        "SILU": job.silu,
        "DROP": job.drop > 0.0,
        "num_warps": 8 if rows * used >= 2048 else 4,
    }
    grid = (len(x), -(-channels // used))

    def launch(*tensors: Tensor, **more: Any) -> None:
        kernel[grid](*tensors, **shared, **more)

    return launch


def _dense(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _or(x: Tensor | None, other: Tensor) -> Tensor:
    """A tensor that the kernel will not touch, where there is none."""
    return other if x is None else x


def _kernels() -> Any:
    from ddpm_exp.models import fused_kernels

    return fused_kernels
