"""Makes a network on meta tensors keep what the target device's kernels would keep: autocast, attention, dropout.

Autocast and the choice of kernels depend on a tensor's device, so meta tensors see none of it. It is done here instead,
at the level of torch's public functions: casts before 16-bit and fp32 operations, one fused attention, one-byte dropout masks.
While it acts, meta tensors say that they are on a CPU, so that code which asks (`torch.autocast(x.device.type)`, recomputation)
works; the region in which CPU autocast is on stands for the target's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ddpm_exp.models.fused import OLDEST
from ddpm_exp.spec.hardware import Gpu
from ddpm_exp.spec.training import Precision

_CPU, _META = torch.device("cpu"), torch.device("meta")
_DEVICE: Any = Tensor.device.__get__

_LOWER: frozenset[Any] = frozenset(
    {F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, F.linear, F.scaled_dot_product_attention}
    | {torch.conv2d, torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum}
    | {Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__, Tensor.addmm, Tensor.baddbmm}
)
"""What CUDA autocast runs in 16 bits, as far as networks here use it (torch's documentation, "CUDA Ops that can
autocast to float16")."""

_FULL: frozenset[Any] = frozenset(
    {F.group_norm, F.layer_norm, F.softmax, F.log_softmax, F.mse_loss, F.l1_loss, F.normalize, F.cross_entropy}
    | {torch.group_norm, torch.layer_norm, torch.softmax, torch.exp, torch.log, torch.pow, torch.sum, torch.cumsum, torch.norm}
    | {Tensor.softmax, Tensor.exp, Tensor.log, Tensor.pow, Tensor.sum, Tensor.cumsum, Tensor.norm, Tensor.__pow__}
)
"""What autocast runs in fp32 (the same page, "CUDA Ops that can autocast to float32")."""


Attention = Literal["op by op", "memory-efficient", "flash"]


@dataclass(frozen=True)
class Kernels:
    """What decides which tensors a device keeps. Two devices with equal `Kernels` share a trace."""

    half: torch.dtype | None
    """The 16-bit type of autocast; None: fp32 throughout."""

    fused_heads: int
    """Attention keeps no matrix of queries x keys where a head's channels divide by this; 0: it always does."""

    byte_masks: bool
    """Dropout masks of one byte (CUDA); a CPU keeps them in the activations' type."""

    channels_last: bool
    """Networks for images run channels-last (CUDA). What is not, convolutions copy first; torch's own GroupNorm works
    channels-first and answers so."""

    fused_norms: bool = False
    """GroupNorm and what surrounds it by this package's kernels, which stay channels-last and keep no float32 copies."""

    def attention(self, channels: int) -> Attention:
        """How heads of so many channels are computed."""
        if self.fused_heads == 0 or channels % self.fused_heads:
            return "op by op"
        return "flash" if self.fused_heads == 1 and self.half is not None else "memory-efficient"

    @property
    def beside_attention(self) -> Kernels:
        """What is left to tell kernels apart that compute attention alike: both 16-bit types take the same bytes."""
        return replace(self, half=None if self.half is None else torch.bfloat16, fused_heads=0)


def kernels_of(gpu: Gpu, precision: Precision, *, fused_norms: bool = False) -> Kernels:
    """The kernels that torch takes on `gpu` at `precision`.

    Attention is fused (flash for 16 bits from capability 8.0, else memory-efficient, which wants aligned heads), but for
    bf16 below 8.0, which falls back to the math kernel. A CPU has a fused kernel of its own. `fused_norms`: whether the
    experiment wants them (`hardware.fused_kernels`); they run from capability 7.5.
    """
    half = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    cuda = is_cuda(gpu)
    fused = fused_norms and gpu.maker == "NVIDIA" and gpu.capability >= OLDEST
    return Kernels(
        half=half,
        fused_heads=_fused_heads(gpu, precision),
        byte_masks=cuda,
        channels_last=cuda,
        fused_norms=fused,
    )


def _fused_heads(gpu: Gpu, precision: Precision) -> int:
    if not is_cuda(gpu):
        return 1
    if gpu.capability >= (8, 0):
        return 4 if precision == "fp32" else 1
    return {"fp32": 1, "fp16": 8, "bf16": 0}[precision]


def library_bytes(gpu: Gpu) -> int:
    """What cuBLAS, and cuBLASLt beside it, each keep on a stream: 32 MiB from Hopper on, 8 MiB before."""
    return (32 if gpu.capability >= (9, 0) else 8) * 2**20 if is_cuda(gpu) else 0


def is_cuda(gpu: Gpu) -> bool:
    """Whether the row is a GPU; the catalogue's CPU has no compute capability."""
    return gpu.capability > (0, 0)


class _FusedAttention(torch.autograd.Function):
    """What every fused kernel keeps: queries, keys, values, the output and one number per query."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, flash: bool) -> Tensor:
        out, ctx.flash = torch.empty_like(q), flash
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, _out, row = ctx.saved_tensors
        found = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), None
        if not ctx.flash:  # the memory-efficient kernel's caller multiplies gradient and output first
            product, rows = torch.empty_like(q), (torch.empty_like(row), torch.empty_like(row))
            del product
            torch.empty_like(q, dtype=torch.float32)
            del rows
        else:
            torch.empty(q.numel() + row.numel(), dtype=torch.float32, device=q.device)
        return found


class OnTarget(TorchFunctionMode):
    """While `network` runs, meta tensors are treated as `kernels` would treat tensors of the target device.

    It switches itself on when one of the network's modules is called and off when the outermost call returns: the backward
    pass suspends a mode that was entered around it, but recomputation calls modules again.
    """

    def __init__(self, kernels: Kernels, network: nn.Module) -> None:
        super().__init__()
        self.heads: set[int] = set()
        """Channels of the heads whose attention was computed so far."""
        self._kernels = kernels
        self._copies: dict[int, Tensor] = {}
        self._depth = 0
        for module in network.modules():
            module.register_forward_pre_hook(self._called)
            module.register_forward_hook(self._returned, always_call=True)

    def _called(self, *_: Any) -> None:
        self._depth += 1
        if self._depth == 1:
            self.__enter__()  # type: ignore[no-untyped-call]

    def _returned(self, *_: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Where the step would enter autocast: casts happen, and copies of weights are kept until the end of the region."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._kernels.half is not None):
            yield
        self._copies.clear()

    @property
    def weight_copies(self) -> list[Tensor]:
        """The 16-bit weights that autocast holds at this moment."""
        return list(self._copies.values())

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func == _DEVICE:
            return _CPU if args[0].device.type == "meta" else args[0].device
        if kwargs.get("device") is not None and torch.device(kwargs["device"]) == _CPU:
            kwargs = {**kwargs, "device": _META}
        if self._kernels.half is not None and torch.is_autocast_enabled("cpu"):
            if func in _LOWER:
                args, kwargs = self._cast((args, kwargs), self._kernels.half)
            elif func in _FULL:
                args, kwargs = self._cast((args, kwargs), torch.float32)
        if func is F.scaled_dot_product_attention:
            channels = (args[0] if args else kwargs["query"]).shape[-1]
            self.heads.add(channels)
            how = self._kernels.attention(channels)
            if how != "op by op":
                return _fused_attention(*args, flash=how == "flash", **kwargs)
        if func is F.group_norm and self._kernels.channels_last:
            return func(args[0].contiguous(), *args[1:], **kwargs)  # torch 2.11 does so on CUDA, and keeps the copy
        if func is F.dropout and self._kernels.byte_masks:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)

    def _cast(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, Tensor):
            return self._as(value, dtype)
        if type(value) in (tuple, list):
            return type(value)(self._cast(part, dtype) for part in value)
        return {name: self._cast(part, dtype) for name, part in value.items()} if isinstance(value, dict) else value

    def _as(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        if not tensor.is_floating_point() or tensor.dtype == dtype:
            return tensor
        if not (tensor.is_leaf and tensor.requires_grad and torch.is_grad_enabled()):
            return tensor.to(dtype)
        if id(tensor) not in self._copies:
            self._copies[id(tensor)] = tensor.to(dtype)
        return self._copies[id(tensor)]


def _fused_attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, flash: bool, **__: Any) -> Tensor:
    """`scaled_dot_product_attention` by a fused kernel; a mask or a scale changes nothing that is kept."""
    result: Tensor = _FusedAttention.apply(query, key, value, flash)
    return result


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`torch.nn.functional.dropout` as its CUDA kernel does it, with a mask of one byte."""
    if not training or p == 0:
        return input
    return torch.native_dropout(input, p, True)[0]
