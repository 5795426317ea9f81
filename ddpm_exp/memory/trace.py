"""Records when the tensors of a step are born and die, on meta tensors: which bytes are alive at which moment. No device."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch._dynamo  # what `Recorder` imports at its first operation, whose callers, and their tensors, it would keep from dying
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from ddpm_exp.memory.answers import answer, tensors_in
from ddpm_exp.memory.reductions import Reduction, reductions_of
from ddpm_exp.memory.workspaces import Convolution, convolutions_of

Event = tuple[int, int]
"""(tensor, bytes) at a birth, (tensor, -1) at a death."""

Copied = Callable[[Any, tuple[Any, ...]], tuple[int, ...]]
"""An operation and its arguments to bytes of copies that its kernel makes for itself."""


@dataclass
class Trace:
    """Births and deaths of one step in program order, and what each tensor is."""

    events: list[Event] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)
    """Index of the first event of each phase."""
    kinds: dict[int, str] = field(default_factory=dict)
    """Term of each tensor; one that is missing is a temporary of its moment ("workspace")."""
    workspaces: dict[int, Convolution | Reduction] = field(default_factory=dict)
    """Temporaries whose size is no straight line in the number of images, and what they are for."""
    libraries: dict[tuple[str, str], int] = field(default_factory=dict)
    """By thread (of the program, or autograd's, which runs the backward pass) and library, which keeps a workspace for each: the
    event before which it is called first. A product calls cuBLAS; one with a bias cuBLASLt too."""
    heads: frozenset[int] = frozenset()
    """Channels of the heads whose attention was computed."""

    def shape(self) -> tuple[Any, ...]:
        """What must agree between two batch sizes for sizes to be compared event by event."""
        return tuple((tensor, size < 0) for tensor, size in self.events), tuple(self.starts.items())


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, notes each new meta storage and the moment that its last owner lets it go.

    `known` are tensors that exist already (weights): neither they nor their views are noted.
    `copied_before(op, arguments)` gives the bytes of each copy that an operation makes before it has its answer's memory, and keeps
    while it runs; `copied_after` those that it makes then. `channels_last`: the network runs so, and operations answer in the
    layout that they have on CUDA. `workspaces`: what kernels of CUDA take for themselves is noted too, without a size: what it is
    for tells it.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would call this method through its compiler each time, to keep it from being compiled."""
        return False

    def __init__(
        self,
        known: Iterable[Tensor],
        *,
        channels_last: bool,
        workspaces: bool,
        copied_before: Copied = lambda func, args: (),
        copied_after: Copied = lambda func, args: (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._before, self._after = copied_before, copied_after
        self._channels_last, self._workspaces = channels_last, workspaces
        self._tensor_of: dict[int, int] = {}
        self._watch: dict[int, weakref.ref[Any]] = {}
        self._count = 0
        self._phase = ""

    def phase(self, name: str) -> None:
        """From here on the step is in this phase. What is alive when `backward` begins is an activation."""
        self._phase = name
        self.trace.starts[name] = len(self.trace.events)
        if name == "backward":
            for tensor in self._tensor_of.values():
                self.trace.kinds.setdefault(tensor, "activations")

    def mark(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Say what `tensors` are, whatever phase they were born in."""
        for tensor in tensors:
            number = self._tensor_of.get(tensor.untyped_storage()._cdata)
            if number is not None:
                self.trace.kinds[number] = kind

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        recomputing = self._phase == "backward" and torch.is_grad_enabled()
        adds = func is _ADD and self._phase == "backward" and not recomputing
        if adds and _same_shape(args) and is_whole(args[0]):
            # Autograd adds a gradient to the one before it in place, unless that is a part of another tensor; but under a dispatch
            # mode it never does.
            return args[0]
        for library in _LIBRARIES.get(func, ()):
            thread = "autograd" if self._phase == "backward" else "program"
            self.trace.libraries.setdefault((thread, library), len(self.trace.events))
        copies = [self._born(size) for size in self._before(func, args)]
        result = answer(func, args, kwargs or {})
        if self._channels_last and func in _LAYOUTS:
            result = tree_map_only(Tensor, partial(_in_layout, _LAYOUTS[func]), result)
        for tensor in tensors_in(result):
            if tensor.device.type == "meta":
                self._note(tensor, "activations" if recomputing else None)
        purposes: tuple[Convolution | Reduction, ...] = ()
        if self._workspaces:
            purposes = (*convolutions_of(func, args, channels_last=self._channels_last), *reductions_of(func, args))
        for purpose in purposes:
            number = self._born(0)
            self.trace.workspaces[number] = purpose
            self.trace.events.append((number, -1))
        copies += [self._born(size) for size in self._after(func, args)]
        self.trace.events += [(copy, -1) for copy in copies]
        return result

    def _born(self, size: int) -> int:
        number, self._count = self._count, self._count + 1
        self.trace.events.append((number, size))
        return number

    def _note(self, tensor: Tensor, kind: str | None) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known or key in self._tensor_of:
            return
        number = self._tensor_of[key] = self._born(storage.nbytes())
        if kind:
            self.trace.kinds[number] = kind

        def died(_: Any) -> None:
            del self._tensor_of[key], self._watch[number]
            self.trace.events.append((number, -1))

        self._watch[number] = weakref.ref(storage, died)


_ADD = torch.ops.aten.add.Tensor
_LIBRARIES = {
    torch.ops.aten.addmm.default: ("cublas", "cublaslt"),
    torch.ops.aten.mm.default: ("cublas",),
    torch.ops.aten.bmm.default: ("cublas",),
}
_LAYOUTS = {
    torch.ops.aten.convolution.default: torch.channels_last,
    torch.ops.aten.convolution_backward.default: torch.channels_last,
    torch.ops.aten.native_group_norm_backward.default: torch.contiguous_format,
}
"""How CUDA's kernels answer in a network that runs channels-last; on meta tensors it may be otherwise."""


def _in_layout(layout: torch.memory_format, answer: Tensor) -> Tensor:
    if answer.dim() != 4:
        return answer
    return torch.empty(answer.shape, dtype=answer.dtype, device=answer.device, memory_format=layout)


def is_whole(tensor: Tensor) -> bool:
    """Whether it is all of its memory, and not a part of another tensor."""
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def _same_shape(args: tuple[Any, ...]) -> bool:
    return all(isinstance(arg, Tensor) for arg in args[:2]) and args[0].shape == args[1].shape and args[0].dtype == args[1].dtype


@contextmanager
def without_collector() -> Iterator[None]:
    """Python's cycle collector off, so that tensors die at the same moment in every trace."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
