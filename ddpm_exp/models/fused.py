"""The fused kernels as differentiable functions. What they compute, in torch's own operations, is in `group_norm`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

OLDEST = (7, 5)
"""Compute capability from which Triton compiles the kernels."""

_LANES = 64
"""Channels that a program reads at once where it can: 128 bytes in 16-bit types, a line of the cache."""


class Tile(NamedTuple):
    """What one program of a norm kernel takes."""

    rows: int
    groups: int
    warps: int


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
    if device.type != "cuda" or torch.version.hip is not None or torch.cuda.get_device_capability(device) < OLDEST:
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
            _launch(x, skip, channels, weight, job, backward=False)(
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
        parts = torch.empty(n, 2, channels, device=x.device)
        dweight, dbias = parts.unbind(1)
        dtold = None if told is None else torch.empty(n, channels, device=x.device)
        if not x.is_meta:
            _launch(x, skip, channels, weight, job, backward=True)(
                dy, _or(dwhole, x), x, _or(skip, x), _or(told, x), weight, bias, _or(words, x), means, rstds,
                dx, _or(dskip, x), dweight, dbias, _or(dtold, dbias), TOLD=told is not None, THROUGH=dwhole is not None,
            )  # fmt: skip
        if weight.dim() == 1:
            dweight, dbias = _over_images(parts).unbind(0)
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
            _sums().join[(-(-count // block),)](x, branch, bias, out, count, out.shape[1], scale, BLOCK=block, num_warps=8)
        ctx.scale, ctx.types = scale, (x.dtype, branch.dtype, bias.dtype)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        of_x, of_branch, of_bias = ctx.types
        grad = _dense(grad)
        if ctx.scale != 1.0:
            grad = grad * ctx.scale
        return grad.to(of_x), grad.to(of_branch), _over_pixels(grad).to(of_bias), None


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


def _launch(x: Tensor, skip: Tensor | None, channels: int, weight: Tensor, job: Job, *, backward: bool) -> Any:
    """A norm kernel on its grid, with the arguments that forward and backward share."""
    from ddpm_exp.models.dropout import layer_word, threshold

    per_group = channels // job.groups
    pixels = x.shape[2] * x.shape[3]
    tile = tile_of(pixels, per_group, job.groups, backward=backward, pair=skip is not None)
    used = tile.groups * per_group
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
        "LANES": power_of_two(used),
        "ROWS": tile.rows,
        "ONCE": tile.rows >= pixels,
        "PAIR": skip is not None,
        "SILU": job.silu,
        "DROP": job.drop > 0.0,
        "num_warps": tile.warps,
    }
    grid = (len(x), -(-channels // used))

    def launch(*tensors: Tensor, **more: Any) -> None:
        kernel = _kernels().norm_backward if backward else _kernels().norm_forward
        kernel[grid](*tensors, **shared, **more)

    return launch


def tile_of(pixels: int, per_group: int, groups: int, *, backward: bool, pair: bool) -> Tile:
    """The pixels at a time, whole groups and warps for images of so many pixels, with `groups` of `per_group` channels.

    What was fastest on an H100 for each shape of a U-Net (benchmarks/norm_tiles.py).
    """
    lanes = _LANES
    if pixels <= 256:
        rows = power_of_two(pixels)
        warps = 8 if rows >= 256 else 4
    elif pixels <= 1024 and not backward and not pair and per_group <= 32:
        rows, lanes, warps = power_of_two(pixels), 32, 16
    else:
        rows, warps = (64, 4) if backward else (128, 8)
    together = max(1, min(groups, lanes // per_group))
    return Tile(rows, 1 << (together.bit_length() - 1), warps)


def power_of_two(count: int) -> int:
    """The least power of two that is not below `count`, nor 16."""
    return max(16, 1 << (count - 1).bit_length())


def _over_pixels(grad: Tensor) -> Tensor:
    """float32 [C], the sum over images and pixels of a dense [N, C, H, W]."""
    n, channels, height, width = grad.shape
    count = n * height * width
    slices = min(512, -(-count // 256))
    parts = torch.empty(slices, channels, device=grad.device)
    if not grad.is_meta:
        lanes = min(_LANES, power_of_two(channels))
        grid = (slices, -(-channels // lanes))
        _sums().sum_slice[grid](grad, parts, count, -(-count // slices), channels, ROWS=64, LANES=lanes, num_warps=4)
    return _over_images(parts)


def _over_images(parts: Tensor) -> Tensor:
    """Sums over the first axis of float32 [N, ...], always in the same order."""
    sums = torch.empty(parts.shape[1:], device=parts.device)
    if not parts.is_meta:
        grid = (-(-sums.numel() // 32),)
        _sums().sum_images[grid](parts, sums, len(parts), sums.numel(), ROWS=128, LANES=32, num_warps=8)
    return sums


def _dense(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _or(x: Tensor | None, other: Tensor) -> Tensor:
    """A tensor that the kernel will not touch, where there is none."""
    return other if x is None else x


def _kernels() -> Any:
    from ddpm_exp.models import fused_kernels

    return fused_kernels


def _sums() -> Any:
    from ddpm_exp.models import sum_kernels

    return sum_kernels
