"""What cuDNN takes while it computes a convolution, as measured on an H100: no rule of its choices is published. Asks no device.

In 16 bits it is little; in fp32 (without TF32) it is several times inputs and answers, which are first laid out otherwise. Where
memory is short, torch takes a kernel that needs less: what is counted here is what a device with room enough is asked for.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

KIB = 1024
_TABLE = Path(__file__).with_name("convolutions_h100.json")
_FORWARD, _BACKWARD = torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default


class Convolution(NamedTuple):
    """A convolution whose workspace is asked for."""

    part: str
    """forward, input or weight."""

    dtype: str
    into: int
    out: int
    kernel: tuple[int, int]
    """Height and width, as of the padding."""
    stride: int
    padding: tuple[int, int]
    side: int
    channels_last: bool = True

    @property
    def name(self) -> str:
        """As in the table, whatever the part: `float32 3 64 3 1 1 32`, `float32 128 192 1x7 1 0x3 17 channels-first`."""
        sizes = (self.into, self.out, _written(self.kernel), self.stride, _written(self.padding), self.side)
        layout = () if self.channels_last else (_FIRST,)
        return " ".join(map(str, (self.dtype, *sizes, *layout)))

    @classmethod
    def named(cls, name: str) -> Convolution:
        """That of a `name`, with no part."""
        dtype, into, out, kernel, stride, padding, side, *layout = name.split()
        return cls("", dtype, int(into), int(out), _pair(kernel), int(stride), _pair(padding), int(side), layout != [_FIRST])


_FIRST = "channels-first"


def _written(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _pair(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def convolutions_of(func: object, args: tuple[Any, ...], *, channels_last: bool) -> tuple[Convolution, ...]:
    """The convolutions with square images that an operation computes, one for each part; of others, none. `channels_last`: the
    layout in which they are computed."""
    parts: tuple[str, ...]
    if func is _FORWARD:
        x, weight, stride, padding, parts = *args[:2], *args[3:5], ("forward",)
    elif func is _BACKWARD:
        x, weight, stride, padding = *args[1:3], *args[4:6]
        parts = tuple(part for part, wanted in zip(("input", "weight"), args[10], strict=False) if wanted)
    else:
        return ()
    if x.dim() != 4 or x.shape[2] != x.shape[3]:
        return ()
    dtype = "float32" if x.dtype == torch.float32 else "bfloat16"  # fp16 was seen to take the same
    kernel, around = (weight.shape[2], weight.shape[3]), (padding[0], padding[-1])
    about = (dtype, int(x.shape[1]), int(weight.shape[0]), kernel, stride[0], around, int(x.shape[2]), channels_last)
    return tuple(Convolution(part, *about) for part in parts)


@lru_cache(maxsize=65536)
def workspace(convolution: Convolution, images: int) -> int:
    """Bytes for so many images; beyond the measured numbers of images in proportion.

    Between two of them cuDNN goes over from one choice to another, nobody knows where. What a choice takes stays the same or grows
    with the images, so it is counted as no more than the larger of both, and no more for each image than the larger of both.
    Of a convolution that was not measured, what the most alike one takes, in proportion to inputs and answers.
    """
    column = 1 + ("forward", "input", "weight").index(convolution.part)
    rows, scale = _rows_of(convolution._replace(part=""))
    below = max((row for row in rows if row[0] <= images), default=rows[0])
    above = min((row for row in rows if row[0] >= images), default=below)
    if below is above or images < below[0]:
        return int(below[column] / below[0] * images * scale * KIB)
    each = max(below[column] / below[0], above[column] / above[0])
    return int(min(max(below[column], above[column]), each * images) * scale * KIB)


@lru_cache(maxsize=4096)
def _rows_of(convolution: Convolution) -> tuple[list[list[int]], float]:
    """What was measured of it, or of the most alike one, with the factor from that to it."""
    known = _table()
    if convolution in known:
        return known[convolution], 1.0
    alike = min(known, key=lambda other: _distance(convolution, other))
    return known[alike], _moved(convolution) / _moved(alike)


def _distance(one: Convolution, other: Convolution) -> tuple[bool, bool, bool, float]:
    sizes = ((one.into, other.into), (one.out, other.out), (one.side, other.side))
    apart = sum(abs(math.log(a / b)) for a, b in sizes)
    other_kernel = (one.kernel, one.stride) != (other.kernel, other.stride)
    return one.dtype != other.dtype, one.channels_last != other.channels_last, other_kernel, apart


def _moved(convolution: Convolution) -> int:
    """Numbers in input and answer of one image."""
    side, stride = convolution.side, convolution.stride
    after = [
        max(1, (side + 2 * around - size) // stride + 1)
        for around, size in zip(convolution.padding, convolution.kernel, strict=True)
    ]
    return convolution.into * side**2 + convolution.out * math.prod(after)


@lru_cache(maxsize=1)
def _table() -> dict[Convolution, list[list[int]]]:
    """Rows of [images, KiB forward, KiB for the input's gradient, KiB for the weight's]."""
    found: dict[str, list[list[int]]] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return {Convolution.named(name): rows for name, rows in found.items()}
