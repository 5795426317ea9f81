"""What a step computes and moves, kernel by kernel: the real network on meta tensors, counted. No device, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ddpm_exp.data.shapes import shape_of
from ddpm_exp.memory.estimate import condition_inputs, meta_network_of
from ddpm_exp.memory.kernels import Kernels, OnTarget
from ddpm_exp.models.group_norm import fuse
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.training.optimizer import split

_IMAGES = 13
"""Counted together. A prime that no width has: what it divides belongs to the images, the rest (weights) is there once."""

_ALLOCATES = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"})

_COPIED = {
    torch.ops.aten.native_group_norm.default: (0,),
    torch.ops.aten.native_group_norm_backward.default: (0, 1),
    torch.ops.aten.convolution.default: (0,),
    torch.ops.aten.convolution_backward.default: (0, 1),
}
"""Arguments that a kernel of its own brings into another layout first (see `Kernels.layout_copies`)."""

_TWICE = {
    torch.ops.aten.native_group_norm.default: (0,),
    torch.ops.aten.native_group_norm_backward.default: (0, 1),
}
"""Arguments that torch's kernels read once for the sums and once for the result."""

Pass = Literal["training", "sampling"]


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


@dataclass(frozen=True)
class Work:
    """All launches of a pass, equal ones together with how many there are."""

    kernels: tuple[tuple[Kernel, int], ...]

    @property
    def launches(self) -> int:
        """Kernels that are started, but for the optimizer's."""
        return sum(count for _, count in self.kernels)

    @property
    def flops(self) -> float:
        """Per image."""
        return sum(kernel.flops * count for kernel, count in self.kernels)

    @property
    def moved(self) -> float:
        """Bytes per image."""
        return sum(kernel.moved * count for kernel, count in self.kernels)


class Updated(NamedTuple):
    """What the optimizer's step and the averages take, whatever the images."""

    parameters: int
    tensors: int
    matrix_flops: float
    """Muon's products of matrices."""


def work_of(experiment: Experiment, kernels: Kernels, kind: Pass) -> Work:
    """Forward and backward of a micro-batch (`training`), or one evaluation without gradients (`sampling`), on a device with
    these kernels. Whatever else the experiment says (data, lengths, learning rate) shares the count."""
    shape = shape_of(experiment.data, experiment.condition)
    model = experiment.model
    outputs = 2 if experiment.diffusion.learned_variance else 1
    key = _Key(model.model_dump_json(), condition_inputs(experiment), shape, outputs, kernels, kind)
    return _counted(key, lambda: meta_network_of(experiment))


def updated_by(experiment: Experiment) -> Updated:
    """The optimizer's part of a step."""
    network = meta_network_of(experiment)
    flops = 0.0
    if experiment.training.optimizer == "muon":
        for weight in split(network)[0]:
            rows, columns = sorted((len(weight), weight[0].numel()))
            flops += 5 * (4.0 * rows * rows * columns + 2.0 * rows**3)  # five iterations of Newton and Schulz
    weights = list(network.parameters())
    return Updated(sum(weight.numel() for weight in weights), len(weights), flops)


class _Key(NamedTuple):
    model: str
    inputs: tuple[ConditionInput, ...]
    shape: tuple[int, ...]
    outputs: int
    kernels: Kernels
    kind: Pass


class _Network:
    """A way to the network that counts as equal to any other, so that the cache looks at the key alone."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self.make = make

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Network)

    def __hash__(self) -> int:
        return 0


def _counted(key: _Key, make: Callable[[], nn.Module]) -> Work:
    return _count(key, _Network(make))


@lru_cache(maxsize=128)
def _count(key: _Key, network_of: _Network) -> Work:
    network = network_of.make()
    fuse(network, key.kernels.fused_norms)
    training = key.kind == "training"
    network.train(training).requires_grad_(training)
    network.to(memory_format=torch.channels_last)
    for weight in network.parameters():
        weight.grad = torch.empty_like(weight) if training else None
    counter = _Counter(key.kernels.layout_copies)
    target = _Target(key.kernels, network, counter)
    x, c_noise, condition = _batch(key)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.set_grad_enabled(training), counter:
        with target.autocast():
            output = network(x + x, c_noise, condition)
        loss = (output.float()[:, : x.shape[1]] - x).square().flatten(1).mean(dim=1).sum()
        if training:
            loss.backward()
    return Work(tuple(counter.found.items()))


def _batch(key: _Key) -> tuple[Tensor, Tensor, dict[str, Tensor] | None]:
    def empty(*shape: int) -> Tensor:
        return torch.empty(_IMAGES, *shape, device="meta")

    condition: dict[str, Tensor] = {}
    for part in key.inputs:
        sizes: dict[str, tuple[int, ...]] = {
            "class": (),
            "prompt": (part.length,),
            "states": (part.length, part.width + 1),
            "image": (part.channels, *key.shape[1:]),
            "values": (2 * part.count,),
        }
        told = empty(*sizes[part.kind])
        condition[part.kind] = told.long() if part.kind in ("class", "prompt") else told
    return empty(*key.shape), empty(), condition or None


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operation that computes or copies; views and what only asks are free."""

    def __init__(self, layout_copies: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._copied = _COPIED if layout_copies else {}
        self.found: Counter[Kernel] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        result = _as_cudnn(func, func(*args, **kwargs))
        inputs, outputs = _tensors((args, kwargs)), _tensors(result)
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
        own = sum(_bytes(tensor) for tensor in moved if tensor.numel() % _IMAGES == 0)
        once = sum(_bytes(tensor) for tensor in moved if tensor.numel() % _IMAGES)
        half = bool(flops) and all(tensor.element_size() == 2 for tensor in (products or moved) if tensor.is_floating_point())
        self.found[Kernel(flops / _IMAGES, half, own / _IMAGES, float(once))] += 1


class _Target(OnTarget):
    """`OnTarget`, whose attention is one fused kernel that says what it computes."""

    def __init__(self, kernels: Kernels, network: nn.Module, counter: _Counter) -> None:
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
    def forward(ctx: Any, counter: _Counter, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
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


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _is_view(func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    if func._schema.is_mutable:
        return False
    there = {tensor.untyped_storage()._cdata for tensor in inputs}
    return all(tensor.untyped_storage()._cdata in there for tensor in outputs)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
