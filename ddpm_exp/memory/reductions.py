"""What torch takes on CUDA while it sums over many values per answer: blocks of threads leave their parts in a buffer, which the
last of them adds up. Asks no device.

The buffer holds a part for every thread, not for every block, and can be several times the tensor that is summed. It follows from
the tensor's shape as torch lays out the threads (aten/src/ATen/native/cuda/Reduce.cuh, `setReduceConfig`, torch 2.11).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

RESIDENT_THREADS = 132 * 2048
"""That an H100 runs at a time. GPUs that run fewer take a smaller buffer, or the same; they are counted as if they were one."""

_PARTS = 4
"""Bytes of a partial sum, float32 whatever is summed."""

_THREADS, _WARP, _VECTOR = 512, 32, 4
"""Threads of a block at most, those that run together, and values that a thread reads at once."""

_OVER_SOME = (torch.ops.aten.sum.dim_IntList, torch.ops.aten.mean.dim)
_OVER_ALL = (torch.ops.aten.sum.default, torch.ops.aten.mean.default)
_CONVOLUTION = torch.ops.aten.convolution_backward.default

_LEAST, _MOST = 16, 256
"""Values that a thread should sum."""


class Reduction(NamedTuple):
    """A sum: the tensor, by size and stride of its dimensions, and which of them are summed over."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    over: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor, over: Iterable[int]) -> Reduction:
        """Of `tensor` over the dimensions `over`; all if there are none."""
        named = tuple(sorted(dim % tensor.dim() for dim in over)) or tuple(range(tensor.dim()))
        return cls(tuple(tensor.shape), tensor.stride(), named)

    def scaled(self, other: Reduction, share: float) -> Reduction:
        """The sum on the straight line from this to `other`, `share` of the way."""

        def along(few: tuple[int, ...], many: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(round(low + share * (high - low)) for low, high in zip(few, many, strict=True))

        return Reduction(along(self.shape, other.shape), along(self.strides, other.strides), self.over)


def reductions_of(func: object, args: tuple[Any, ...]) -> tuple[Reduction, ...]:
    """The sums that an operation computes by torch's own kernel."""
    if func in _OVER_SOME:
        return (Reduction.of(args[0], args[1] or ()),) if args[0].dim() else ()
    if func in _OVER_ALL:
        return (Reduction.of(args[0], ()),) if args[0].dim() else ()
    if func is _CONVOLUTION and args[10][2]:  # the bias
        return (Reduction.of(args[0], (0, *range(2, args[0].dim()))),)
    return ()


def buffer_bytes(reduction: Reduction, threads: int = RESIDENT_THREADS) -> int:
    """Bytes of the buffer; 0 where one block computes each answer alone."""
    summed, kept = _dimensions(reduction)
    inputs, outputs = math.prod(size for size, _ in summed), math.prod(size for size, _ in kept)
    if inputs * outputs == 0 or not summed:
        return 0
    along = not kept or summed[0][1] < kept[0][1]  # neighbours in memory belong to the same answer
    width, height, vector = (inputs, outputs, 1) if along else (outputs, inputs, 1)
    if not along and kept[0][1] == 1:
        vector = math.gcd(_VECTOR, kept[0][0], *(stride for _, stride in (*summed, *kept[1:])))
        width //= vector
    elif along and summed[0][1] == 1 and not kept and len(summed) == 1 and width > 128:
        width //= _VECTOR
    most = _THREADS // vector
    columns, rows = _power_of_two(min(width, most)), _power_of_two(min(height, most))
    block_width = min(columns, _WARP)
    block_height = min(rows, most // block_width)
    block_width = min(columns, most // block_height)
    per_thread = -(-inputs // block_width) if along else inputs
    answers = 1 if along else block_width
    shared = per_thread >= min(block_height * _LEAST, _MOST)
    if shared:
        per_thread = -(-inputs // (block_width * block_height if along else block_height))
    else:
        answers *= block_height
    grid = -(-(outputs // vector) // answers)
    target = threads // (block_width * block_height)
    if not shared or per_thread < _MOST or grid > target:
        return 0
    blocks = max(min(-(-target // grid), -(-per_thread // _LEAST)), -(-per_thread // _MOST))
    if blocks <= 1:
        return 0
    return _PARTS * outputs * blocks * (1 if along else block_width * vector)


def _dimensions(reduction: Reduction) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(size, stride) of what is summed over and of what stays, innermost first, neighbours joined."""
    summed: list[tuple[int, int]] = []
    kept: list[tuple[int, int]] = []
    sizes = sorted(zip(reduction.strides, reduction.shape, range(len(reduction.shape)), strict=True))
    for stride, size, dim in sizes:
        row = summed if dim in reduction.over else kept
        if size == 1:
            continue
        if row and row[-1][0] * row[-1][1] == stride:
            row[-1] = (row[-1][0] * size, row[-1][1])
        else:
            row.append((size, stride))
    return summed, kept


def _power_of_two(value: int) -> int:
    """The largest that is not above `value`."""
    return 1 << (max(1, value).bit_length() - 1)
