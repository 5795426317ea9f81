"""Triton kernels for sums: of a residual block, over pixels, over images. Always in the same order."""

# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sum_slice(values, parts, count, each, width, ROWS: tl.constexpr, LANES: tl.constexpr):
    """parts [slices, width]: sums over consecutive `each` rows of values [count, width]."""
    first = tl.program_id(0).to(tl.int64) * each
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    last = tl.minimum(first + each, count)
    total = tl.zeros([ROWS, LANES], tl.float32)
    for start in range(0, each, ROWS):
        rows = first + start + tl.arange(0, ROWS)
        inside = (rows < last)[:, None] & (c < width)[None, :]
        total += tl.load(values + rows[:, None] * width + c[None, :], mask=inside, other=0.0).to(tl.float32)
    tl.store(parts + tl.program_id(0) * width + c, tl.sum(total, axis=0), mask=c < width)


@triton.jit
def sum_images(parts, sums, images, width, ROWS: tl.constexpr, LANES: tl.constexpr):
    """sums [width] = the sum of float32 parts [images, width] over its rows, in one order."""
    c = tl.program_id(0) * LANES + tl.arange(0, LANES)
    total = tl.zeros([ROWS, LANES], tl.float32)
    for start in range(0, images, ROWS):
        rows = start + tl.arange(0, ROWS)
        total += tl.load(
            parts + rows[:, None] * width + c[None, :], mask=(rows < images)[:, None] & (c < width)[None, :], other=0.0
        )
    tl.store(sums + c, tl.sum(total, axis=0), mask=c < width)


@triton.jit
def join(x, branch, bias, out, count, C, scale, BLOCK: tl.constexpr):
    """out = (x + branch + bias) scale; `bias` is one number per channel, the fastest axis."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    total = tl.load(x + place, mask=inside).to(tl.float32) + tl.load(branch + place, mask=inside).to(tl.float32)
    total += tl.load(bias + place % C, mask=inside).to(tl.float32)
    tl.store(out + place, (total * scale).to(out.dtype.element_ty), mask=inside)
