"""A mode that notes each kernel of a pass over meta tensors: its arithmetic and the bytes that it moves. Runs nothing itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ddpm_exp.memory.answers import answer, tensors_in
from ddpm_exp.memory.kernels import Kernels, OnTarget

IMAGES = 1009
"""Counted together, which costs nothing on meta tensors. A prime that no width, length or side is a multiple of: the tensors whose
size it divides belong to the images, the rest (weights) is there once."""

_ALLOCATES = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"})

_COPIED = {
    torch.ops.aten.native_group_norm.default: (0,),
    torch.ops.aten.native_group_norm_backward.default: (0, 1),
    torch.ops.aten.convolution.default: (0,),
    torch.ops.aten.convolution_backward.default: (0, 1),
}
"""Arguments that a kernel of its own brings into another layout first (see `Kernels.channels_last`)."""

_TWICE = {
    torch.ops.aten.native_group_norm.default: (0,),
    torch.ops.aten.native_group_norm_backward.default: (0, 1),
}
"""Arguments that torch's kernels read once for the sums and once for the result."""


class Kernel(NamedTuple):
    """A launch, for any number of images."""

    flops: float
    """Of matrix products and convolutions, per image; multiplications and additions are counted each."""
    half: bool
    """Whether its products are of 16-bit numbers."""
    moved: float
    """Bytes read and written per image."""
    moved_once: float
    """Bytes read and written however many images there are."""


class KernelCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operation that computes or copies; views and what only asks are free."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would call this method through its compiler each time, to keep it from being compiled."""
        return False

    def __init__(self, layout_copies: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._copied = _COPIED if layout_copies else {}
        self.found: Counter[Kernel] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        result = _as_cudnn(func, answer(func, args, kwargs))
        inputs, outputs = tensors_in((args, kwargs)), tensors_in(result)
        packet = func.overloadpacket
        if packet.__name__ in _ALLOCATES:
            # Only the fused kernels of this package allocate on meta tensors: each reads about as much as it writes.
            self.note(0.0, [*outputs, *outputs])
        elif outputs and not _is_view(func, inputs, outputs):
            count = flop_registry.get(packet)
            flops = float(count(*args, **kwargs, out_val=result)) if count else 0.0
            self.note(flops, [*inputs, *outputs, *(args[index] for index in _TWICE.get(func, ()))], products=inputs)
            for index in self._copied.get(func, ()):
                self.note(0.0, [args[index], args[index]])
        return result

    def note(self, flops: float, moved: list[Tensor], products: list[Tensor] | None = None) -> None:
        """A launch of `flops` over all images that reads and writes `moved`."""
        own = sum(_bytes(tensor) for tensor in moved if tensor.numel() % IMAGES == 0)
        once = sum(_bytes(tensor) for tensor in moved if tensor.numel() % IMAGES)
        half = bool(flops) and all(tensor.element_size() == 2 for tensor in (products or moved) if tensor.is_floating_point())
        self.found[Kernel(flops / IMAGES, half, own / IMAGES, float(once))] += 1


class CountedTarget(OnTarget):
    """`OnTarget`, whose attention is one fused kernel that says what it computes."""

    def __init__(self, kernels: Kernels, network: nn.Module, counter: KernelCounter) -> None:
        super().__init__(kernels, network)
        self._half, self._counter = kernels.half, counter

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not F.scaled_dot_product_attention:
            return super().__torch_function__(func, types, args, kwargs)
        kwargs = kwargs or {}
        given = [*args[:3], *(kwargs[name] for name in ("query", "key", "value")[len(args[:3]) :])]
        if self._half is not None and torch.is_autocast_enabled("cpu"):
            given = [tensor.to(self._half) for tensor in given]
        return _Attention.apply(self._counter, *given)


class _Attention(torch.autograd.Function):
    """Two products forward; backward computes the first again and has four of its own."""

    @staticmethod
    def forward(ctx: Any, counter: KernelCounter, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.counter = counter
        ctx.save_for_backward(q, k, v)
        counter.note(2 * _product(q, k), [q, k, v])
        return torch.empty_like(q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        ctx.counter.note(5 * _product(q, k), [q, k, v])
        return None, torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _product(q: Tensor, k: Tensor) -> float:
    return 2.0 * q.numel() * k.shape[-2]


def _as_cudnn(func: Any, result: Any) -> Any:
    """What a convolution returns, channels-last as on a GPU: on meta tensors it forgets the layout, and copies would be counted."""
    if func is torch.ops.aten.convolution.default and result.dim() == 4:
        return result.contiguous(memory_format=torch.channels_last)
    if func is torch.ops.aten.convolution_backward.default and result[0] is not None and result[0].dim() == 4:
        return (result[0].contiguous(memory_format=torch.channels_last), *result[1:])
    return result


def _is_view(func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    if func._schema.is_mutable:
        return False
    there = {tensor.untyped_storage()._cdata for tensor in inputs}
    return all(tensor.untyped_storage()._cdata in there for tensor in outputs)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
