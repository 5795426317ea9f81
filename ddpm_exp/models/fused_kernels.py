"""Triton kernels for channels-last activations: GroupNorm with what surrounds it, and the sum of a residual block.

An activation is read as a matrix [H W, C] per image. A program takes one image and a few whole groups. Up to 1,024 pixels stay in
its registers; more are read twice, once to measure and once to normalize. Nothing is summed by atomics: the same bits each time.
"""

# Triton compiles these functions from their source; its language has no types that mypy knows.
# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _mixed(x):
    x = (x ^ (x >> 16)) * 0x7FEB352D
    return (x ^ (x >> 15)) * 0x846CA68B


@triton.jit
def _kept(keys, image, element, layer, threshold):
    """Whether dropout keeps an element: `dropout.kept`, in unsigned arithmetic."""
    key = tl.load(keys + image).to(tl.uint32, bitcast=True)
    number = _mixed((element.to(tl.uint32) ^ layer.to(tl.uint32)) * 0x9E3779B9)
    return _mixed(number ^ key).to(tl.int32, bitcast=True) >= threshold


@triton.jit
def _read(x, skip, image, rows, c, inside, pixels, C1, C, PAIR: tl.constexpr):
    """Float32 [ROWS, LANES] of an image whose channels lie in `x`, or in `x` and `skip` one after the other."""
    where = image.to(tl.int64) * pixels + rows.to(tl.int64)
    if PAIR:
        # Most programs have all of their channels in one of the two.
        left = x + where[:, None] * C1 + c[None, :]
        right = skip + where[:, None] * (C - C1) + (c - C1)[None, :]
        if tl.max(c, axis=0) < C1:
            value = tl.load(left, mask=inside, other=0.0).to(tl.float32)
        elif tl.min(c, axis=0) >= C1:
            value = tl.load(right, mask=inside, other=0.0).to(tl.float32)
        else:
            value = tl.load(left, mask=inside & (c < C1)[None, :], other=0.0).to(tl.float32)
            value += tl.load(right, mask=inside & (c >= C1)[None, :], other=0.0).to(tl.float32)
        return value
    return tl.load(x + where[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _of_groups(values, same):
    """Sums over the channels of each channel's group, [LANES], of [LANES]."""
    return tl.sum(tl.where(same, values[None, :], 0.0), axis=1)


@triton.jit
def _write_normed(
    value, image, rows, c, inside, keys, y, whole, mean, rstd, w, b, added, pixels, C, layer, threshold, keep_scale,
    PAIR: tl.constexpr, SILU: tl.constexpr, DROP: tl.constexpr,
):  # fmt: skip
    where = (image.to(tl.int64) * pixels + rows.to(tl.int64))[:, None] * C + c[None, :]
    if PAIR:
        tl.store(whole + where, value.to(whole.dtype.element_ty), mask=inside)
    z = (value + (added - mean)[None, :]) * (rstd * w)[None, :] + b[None, :]
    if SILU:
        z = z * tl.sigmoid(z)
    if DROP:
        z = tl.where(_kept(keys, image, rows[:, None] * C + c[None, :], layer, threshold), z * keep_scale, 0.0)
    tl.store(y + where, z.to(y.dtype.element_ty), mask=inside)


@triton.jit
def norm_forward(
    x, skip, told, weight, bias, keys, y, whole, means, rstds,
    pixels, C1, C, weight_stride, eps, layer, threshold, keep_scale,
    PER_GROUP: tl.constexpr, USED: tl.constexpr, LANES: tl.constexpr, ROWS: tl.constexpr, ONCE: tl.constexpr,
    PAIR: tl.constexpr, TOLD: tl.constexpr, SILU: tl.constexpr, DROP: tl.constexpr,
):  # fmt: skip
    """y = drop(silu(norm(x + told) weight + bias)), the mean and 1 / std of each group, and the pair as one tensor.

    ONCE: all pixels fit into ROWS and stay in registers, so that they are read once.
    """
    image, block = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, LANES)
    c = block * USED + lane
    real = (lane < USED) & (c < C)
    group = lane // PER_GROUP
    same = (group[:, None] == group[None, :]) & real[None, :]
    added = tl.zeros([LANES], tl.float32)
    if TOLD:
        added = tl.load(told + image * C + c, mask=real, other=0.0).to(tl.float32)
    w = tl.load(weight + image * weight_stride + c, mask=real, other=0.0).to(tl.float32)
    b = tl.load(bias + image * weight_stride + c, mask=real, other=0.0).to(tl.float32)
    if ONCE:
        rows = tl.arange(0, ROWS)
        inside = (rows < pixels)[:, None] & real[None, :]
        value = _read(x, skip, image, rows, c, inside, pixels, C1, C, PAIR)
        mean = _of_groups(tl.sum(value, axis=0) + pixels * added, same) / (pixels * PER_GROUP)
        off = tl.where(inside, value + (added - mean)[None, :], 0.0)
        variance = _of_groups(tl.sum(off * off, axis=0), same) / (pixels * PER_GROUP)
        rstd = 1.0 / tl.sqrt(variance + eps)
        _write_normed(
            value, image, rows, c, inside, keys, y, whole, mean, rstd, w, b, added, pixels, C, layer, threshold, keep_scale,
            PAIR, SILU, DROP,
        )  # fmt: skip
    else:
        # Means and squared deviations of tiles, combined (Chan et al. 1979): no difference of large sums.
        tiles_mean, squares = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
        before = 0.0
        for start in range(0, pixels, ROWS):
            rows = start + tl.arange(0, ROWS)
            inside = (rows < pixels)[:, None] & real[None, :]
            value = _read(x, skip, image, rows, c, inside, pixels, C1, C, PAIR) + added[None, :]
            here = tl.sum((rows < pixels).to(tl.float32), axis=0)
            tile_mean = tl.sum(tl.where(inside, value, 0.0), axis=0) / here
            off = tl.where(inside, value - tile_mean[None, :], 0.0)
            change, total = tile_mean - tiles_mean, before + here
            tiles_mean += change * (here / total)
            squares += tl.sum(off * off, axis=0) + change * change * (before * here / total)
            before = total
        mean = _of_groups(tiles_mean, same) / PER_GROUP
        apart = tiles_mean - mean
        variance = _of_groups(squares + pixels * apart * apart, same) / (pixels * PER_GROUP)
        rstd = 1.0 / tl.sqrt(variance + eps)
        for start in range(0, pixels, ROWS):
            rows = start + tl.arange(0, ROWS)
            inside = (rows < pixels)[:, None] & real[None, :]
            value = _read(x, skip, image, rows, c, inside, pixels, C1, C, PAIR)
            _write_normed(
                value, image, rows, c, inside, keys, y, whole, mean, rstd, w, b, added, pixels, C, layer, threshold, keep_scale,
                PAIR, SILU, DROP,
            )  # fmt: skip
    first_of_group = real & (lane % PER_GROUP == 0)
    tl.store(means + image * (C // PER_GROUP) + c // PER_GROUP, mean, mask=first_of_group)
    tl.store(rstds + image * (C // PER_GROUP) + c // PER_GROUP, rstd, mask=first_of_group)


@triton.jit
def _before_silu(
    dy, xhat, keys, image, rows, c, inside, w, b, pixels, C, layer, threshold, keep_scale, SILU: tl.constexpr, DROP: tl.constexpr
):
    """Gradient before SiLU and dropout, float32 [ROWS, LANES]."""
    where = (image.to(tl.int64) * pixels + rows.to(tl.int64))[:, None] * C + c[None, :]
    grad = tl.load(dy + where, mask=inside, other=0.0).to(tl.float32)
    if DROP:
        grad = tl.where(_kept(keys, image, rows[:, None] * C + c[None, :], layer, threshold), grad * keep_scale, 0.0)
    if SILU:
        z = xhat * w[None, :] + b[None, :]
        gate = tl.sigmoid(z)
        grad = grad * gate * (1.0 + z * (1.0 - gate))
    return grad


@triton.jit
def _write_gradient(
    grad, xhat, image, rows, c, inside, dwhole, dx, dskip, rstd, w, level, slope, pixels, C1, C,
    PAIR: tl.constexpr, THROUGH: tl.constexpr,
):  # fmt: skip
    pixel = image.to(tl.int64) * pixels + rows.to(tl.int64)
    where = pixel[:, None] * C + c[None, :]
    out = rstd[None, :] * (w[None, :] * grad - level[None, :] - xhat * slope[None, :])
    if THROUGH:
        out += tl.load(dwhole + where, mask=inside, other=0.0).to(tl.float32)
    if PAIR:
        tl.store(dx + pixel[:, None] * C1 + c[None, :], out.to(dx.dtype.element_ty), mask=inside & (c < C1)[None, :])
        to_skip = inside & (c >= C1)[None, :]
        tl.store(dskip + pixel[:, None] * (C - C1) + (c - C1)[None, :], out.to(dskip.dtype.element_ty), mask=to_skip)
    else:
        tl.store(dx + where, out.to(dx.dtype.element_ty), mask=inside)


@triton.jit
def norm_backward(
    dy, dwhole, x, skip, told, weight, bias, keys, means, rstds, dx, dskip, dweight, dbias, dtold,
    pixels, C1, C, weight_stride, layer, threshold, keep_scale,
    PER_GROUP: tl.constexpr, USED: tl.constexpr, LANES: tl.constexpr, ROWS: tl.constexpr, ONCE: tl.constexpr,
    PAIR: tl.constexpr, TOLD: tl.constexpr, SILU: tl.constexpr, DROP: tl.constexpr, THROUGH: tl.constexpr,
):  # fmt: skip
    """Gradients of `norm_forward`; those of weight and bias per image, side by side.

    `dwhole`, if THROUGH, is added to the gradient of the input."""
    image, block = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, LANES)
    c = block * USED + lane
    real = (lane < USED) & (c < C)
    group = lane // PER_GROUP
    same = (group[:, None] == group[None, :]) & real[None, :]
    mean = tl.load(means + image * (C // PER_GROUP) + c // PER_GROUP, mask=real, other=0.0)
    rstd = tl.load(rstds + image * (C // PER_GROUP) + c // PER_GROUP, mask=real, other=0.0)
    w = tl.load(weight + image * weight_stride + c, mask=real, other=0.0).to(tl.float32)
    b = tl.load(bias + image * weight_stride + c, mask=real, other=0.0).to(tl.float32)
    shift = -mean
    if TOLD:
        shift += tl.load(told + image * C + c, mask=real, other=0.0).to(tl.float32)
    of_xhat = tl.zeros([LANES], tl.float32)
    if ONCE:
        rows = tl.arange(0, ROWS)
        inside = (rows < pixels)[:, None] & real[None, :]
        value = _read(x, skip, image, rows, c, inside, pixels, C1, C, PAIR)
        xhat = tl.where(inside, (value + shift[None, :]) * rstd[None, :], 0.0)
        grad = _before_silu(dy, xhat, keys, image, rows, c, inside, w, b, pixels, C, layer, threshold, keep_scale, SILU, DROP)
        of_bias, of_weight = tl.sum(grad, axis=0), tl.sum(grad * xhat, axis=0)
        if TOLD:
            of_xhat = tl.sum(xhat, axis=0)
        level = _of_groups(w * of_bias, same) / (pixels * PER_GROUP)
        slope = _of_groups(w * of_weight, same) / (pixels * PER_GROUP)
        _write_gradient(grad, xhat, image, rows, c, inside, dwhole, dx, dskip, rstd, w, level, slope, pixels, C1, C, PAIR, THROUGH)
    else:
        of_bias, of_weight = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
        for start in range(0, pixels, ROWS):
            rows = start + tl.arange(0, ROWS)
            inside = (rows < pixels)[:, None] & real[None, :]
            value = _read(x, skip, image, rows, c, inside, pixels, C1, C, PAIR)
            xhat = tl.where(inside, (value + shift[None, :]) * rstd[None, :], 0.0)
            grad = _before_silu(dy, xhat, keys, image, rows, c, inside, w, b, pixels, C, layer, threshold, keep_scale, SILU, DROP)
            of_bias += tl.sum(grad, axis=0)
            of_weight += tl.sum(grad * xhat, axis=0)
            if TOLD:
                of_xhat += tl.sum(xhat, axis=0)
        level = _of_groups(w * of_bias, same) / (pixels * PER_GROUP)
        slope = _of_groups(w * of_weight, same) / (pixels * PER_GROUP)
        for start in range(0, pixels, ROWS):
            rows = start + tl.arange(0, ROWS)
            inside = (rows < pixels)[:, None] & real[None, :]
            value = _read(x, skip, image, rows, c, inside, pixels, C1, C, PAIR)
            xhat = (value + shift[None, :]) * rstd[None, :]
            grad = _before_silu(dy, xhat, keys, image, rows, c, inside, w, b, pixels, C, layer, threshold, keep_scale, SILU, DROP)
            _write_gradient(
                grad, xhat, image, rows, c, inside, dwhole, dx, dskip, rstd, w, level, slope, pixels, C1, C, PAIR, THROUGH
            )
    tl.store(dbias + image * 2 * C + c, of_bias, mask=real)
    tl.store(dweight + image * 2 * C + c, of_weight, mask=real)
    if TOLD:
        tl.store(dtold + image * C + c, rstd * (w * of_bias - pixels * level - slope * of_xhat), mask=real)
