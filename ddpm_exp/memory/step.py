"""One training step and one sampling step on meta tensors, recorded: the real network, no device, no random numbers."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_exp.diffusion.draws import normal
from ddpm_exp.evaluation.captured import with_half_weights
from ddpm_exp.memory.kernels import Kernels, OnTarget
from ddpm_exp.memory.trace import Recorder, Trace, is_whole, without_collector
from ddpm_exp.models.build import build_network
from ddpm_exp.models.dropout import share_keys
from ddpm_exp.models.group_norm import fuse
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.model import Model
from ddpm_exp.training.half_weights import HalfWeights

_RELAID = {
    torch.ops.aten.convolution.default: ((0,), torch.channels_last),
    torch.ops.aten.convolution_backward.default: ((1, 0), torch.channels_last),
    torch.ops.aten.native_group_norm_backward.default: ((0,), torch.contiguous_format),
}
"""Positions of the arguments that are copied if they are not in this layout: inputs, and in the backward pass gradients."""

_DENSE = (torch.ops.aten.native_layer_norm_backward.default, torch.ops.aten.upsample_nearest2d_backward.default)
"""Backward passes that want their gradient without gaps."""


@dataclass(frozen=True)
class Setting:
    """All that decides what a step allocates, apart from the number of images. Equal settings share their traces."""

    model: Model
    inputs: tuple[ConditionInput, ...]
    shape: tuple[int, ...]
    family: Family
    outputs: int
    """Output channels per channel of the data: 2 with a learnt variance."""

    timesteps: int
    """Whole times of the schedule; 0 where times are real."""

    kernels: Kernels

    weights_once: bool = False
    """Whether 16-bit weights are made once per step (`HalfWeights`) and once per drawing (`Captured`), not by autocast."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of the network's own tensors."""

    parameters: int
    buffers: int


def meta_network(setting: Setting) -> nn.Module:
    """The real network without memory behind its weights."""
    network = copied(weights_of(setting))
    if setting.kernels.channels_last and setting.family == "image":
        network = network.to(memory_format=torch.channels_last)
    fuse(network, setting.kernels.fused_norms)
    return network


def weights_of(setting: Setting) -> nn.Module:
    """The same to read names and sizes from, whatever the kernels. All who ask are given one, so nobody may change it."""
    return _built(setting.model, setting.inputs, setting.shape, setting.outputs, setting.timesteps, setting.family)


@lru_cache(maxsize=32)
def _built(
    model: Model, inputs: tuple[ConditionInput, ...], shape: tuple[int, ...], outputs: int, timesteps: int, family: Family
) -> nn.Module:
    with torch.device("meta"):
        return build_network(model, inputs, shape, outputs=outputs, timesteps=timesteps, family=family)


def copied(network: nn.Module) -> nn.Module:
    """A network like this one, in a twentieth of the time that building takes (a sixth of a deep copy's)."""
    found: nn.Module = pickle.loads(_written(network))
    return found


@lru_cache(maxsize=32)
def _written(network: nn.Module) -> bytes:
    """Told apart by identity."""
    return pickle.dumps(network, protocol=pickle.HIGHEST_PROTOCOL)


def sizes(setting: Setting) -> Sizes:
    """Bytes of parameters and buffers."""
    network = weights_of(setting)
    return Sizes(
        parameters=sum(_bytes(weight) for weight in network.parameters()),
        buffers=sum(_bytes(buffer) for buffer in network.buffers()),
    )


def training_trace(setting: Setting, images: int) -> Trace:
    """Forward and backward of one micro-batch of `images`, added to gradients that exist already, as the trainer keeps them."""
    network = meta_network(setting).train()
    for weight in network.parameters():
        weight.grad = torch.empty_like(weight)
    once = HalfWeights(network, setting.kernels.half) if setting.weights_once and setting.kernels.half is not None else None
    if setting.kernels.fused_norms:
        share_keys(network).words = torch.empty(images, dtype=torch.int32, device="meta")
    target = OnTarget(setting.kernels, network)
    recorder = recorder_of(network, setting, () if once is None else once.low)
    with without_collector(), recorder:
        recorder.phase("forward")
        x0, eps, c_noise, condition = batch_of(setting, images)
        x = _noised(setting, x0, eps, c_noise) if setting.kernels.byte_masks else x0 + eps
        with target.autocast():
            output = (once or network)(x, c_noise, condition)
            recorder.mark(target.weight_copies, "autocast copies")
        loss = (output.float()[:, : eps.shape[1]] - eps).square().flatten(1).mean(dim=1).sum()
        recorder.mark((x0, eps, x), "data")
        recorder.phase("backward")
        loss.backward()
        if once is not None:
            recorder.mark((low.grad for low in once.low if low.grad is not None), "autocast copies")
            once.collect()
        recorder.phase("end")
    recorder.trace.heads = frozenset(target.heads)
    return recorder.trace


def sampling_trace(setting: Setting, images: int) -> Trace:
    """One forward pass of `images` without gradients, as every step of a sampler makes it."""
    network = meta_network(setting).eval().requires_grad_(False)
    if setting.weights_once and setting.kernels.half is not None:
        with_half_weights(network, setting.kernels.half)
    target = OnTarget(setting.kernels, network)
    recorder = recorder_of(network, setting)
    with without_collector(), recorder, torch.no_grad():
        recorder.phase("forward")
        x, _, c_noise, condition = batch_of(setting, images)
        with target.autocast():
            network(x, c_noise, condition).float()
        recorder.phase("end")
    recorder.trace.heads = frozenset(target.heads)
    return recorder.trace


def _noised(setting: Setting, x0: Tensor, eps: Tensor, times: Tensor) -> Tensor:
    """As on CUDA, where what drawing noise takes and gives back decides where later tensors lie."""
    eps.copy_(normal(0, "noise", torch.empty(len(x0), dtype=torch.int64, device="meta"), setting.shape))
    factor = times.view(-1, *[1] * (x0.dim() - 1))
    x = x0 * factor + eps * factor
    return x.to(memory_format=torch.channels_last) if setting.kernels.channels_last and x.dim() == 4 else x


def batch_of(setting: Setting, images: int) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor] | None]:
    """Examples, noise, what the network is told of its level, and the condition."""

    def empty(*shape: int) -> Tensor:
        # On a GPU the weights make the first convolution's answer channels-last; on meta tensors its input has to.
        last = setting.kernels.channels_last and len(shape) == 3
        layout = torch.channels_last if last else torch.contiguous_format
        return torch.empty((images, *shape), device="meta", memory_format=layout)

    condition: dict[str, Tensor] = {}
    for part in setting.inputs:
        size = {
            "class": (),
            "prompt": (part.length,),
            "states": (part.length, part.width + 1),
            "image": (part.channels, *setting.shape[1:]),
            "values": (2 * part.count,),
        }[part.kind]
        condition[part.kind] = empty(*size).long() if part.kind in ("class", "prompt") else empty(*size)
    return empty(*setting.shape), empty(*setting.shape), empty(), condition or None


def recorder_of(network: nn.Module, setting: Setting, more: Iterable[Tensor] = ()) -> Recorder:
    """For steps of `network`, whose weights are there already, as are `more`."""
    known = [*network.parameters(), *network.buffers(), *(w.grad for w in network.parameters() if w.grad is not None), *more]
    last = setting.kernels.channels_last and setting.family == "image"
    return Recorder(
        known,
        channels_last=last,
        workspaces=setting.kernels.byte_masks,
        copied_before=_layout_copies if last else _nothing,
        copied_after=_dense_copy if setting.kernels.byte_masks else _nothing,
    )


def _layout_copies(func: Any, args: tuple[Any, ...]) -> tuple[int, ...]:
    """Bytes of the inputs that an operation copies into its own memory format while it runs (see `Kernels.channels_last`)."""
    positions, layout = _RELAID.get(func, ((), torch.channels_last))
    images = (args[index] for index in positions if args[index].dim() == 4)
    return tuple(_bytes(image) for image in images if not image.is_contiguous(memory_format=layout))


def _dense_copy(func: Any, args: tuple[Any, ...]) -> tuple[int, ...]:
    """Bytes of a gradient with gaps, such as a part of a concatenated one, which some operations copy once they have their answer's
    memory."""
    return (_bytes(args[0]),) if func in _DENSE and not is_whole(args[0]) else ()


def _nothing(func: Any, args: tuple[Any, ...]) -> tuple[int, ...]:
    return ()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
