"""A network made fast for many evaluations on CUDA: weights in 16 bits once, and each shape of input captured as a graph."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from ddpm_exp.diffusion.network import Condition
from ddpm_exp.models.half import cast_by_autocast

_WARM_UPS = 2


class Captured(nn.Module):
    """A frozen copy of `network` that answers as it does under autocast to `half`, by replaying graphs.

    Autocast would cast the same weights again at every call. A shape is captured when it is first met, and its graph kept with
    its memory until `release`; somewhat smaller batches are answered by its first rows.
    """

    def __init__(self, network: nn.Module, half: torch.dtype | None) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._half = half
        if half is not None:
            with_half_weights(self.network, half)
        self._graphs: dict[tuple[object, ...], list[_Graph]] = {}

    @torch.no_grad()
    def forward(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        """What the network says, as a tensor that no later call overwrites."""
        key = tuple((name, part.shape[1:], part.dtype) for name, part in [("x", x), *sorted((condition or {}).items())])
        graphs = self._graphs.setdefault(key, [])
        graph = next((one for one in graphs if one.serves(len(x))), None)
        if graph is None:
            graph = _Graph(self._ask, x, c_noise, condition)
            graphs.append(graph)
        return graph(x, c_noise, condition)

    def release(self) -> bool:
        """Give back what the graphs hold, and say whether there were any; what is met next is captured again."""
        held = any(self._graphs.values())
        self._graphs.clear()
        return held

    def _ask(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        with torch.autocast(x.device.type, dtype=self._half or torch.bfloat16, enabled=self._half is not None):
            said: Tensor = self.network(x, c_noise, condition)
        return said


@lru_cache(maxsize=16)
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The one that all evaluations are captured on: matrix products keep a workspace for each stream that they ever ran on."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class _Graph:
    """One captured evaluation and the tensors that it reads and writes."""

    def __init__(self, ask: Callable[..., Tensor], x: Tensor, c_noise: Tensor, condition: Condition) -> None:
        self._x, self._c_noise = x.clone(), c_noise.clone()
        self._condition = None if condition is None else {name: part.clone() for name, part in condition.items()}
        gc.collect()
        torch.cuda.empty_cache()  # what graphs before this one had is not held beside it
        stream, current = _stream(x.device), torch.cuda.current_stream(x.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):  # libraries choose their kernels, Triton compiles
                ask(self._x, self._c_noise, self._condition)
        current.wait_stream(stream)
        torch.cuda.synchronize(x.device)
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self._graph, stream=stream):
                self._said = ask(self._x, self._c_noise, self._condition)
        except RuntimeError:
            torch.cuda.set_stream(current)  # a capture that fails at its end leaves its own
            raise

    def serves(self, examples: int) -> bool:
        """Whether so many are few enough for it, and not so few that most of it would be for nothing."""
        return len(self._x) // 2 < examples <= len(self._x)

    def __call__(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        n = len(x)
        self._x[:n].copy_(x)
        self._c_noise[:n].copy_(c_noise)
        for name, part in (condition or {}).items():
            assert self._condition is not None
            self._condition[name][:n].copy_(part)
        self._graph.replay()
        return self._said[:n].clone()


def with_half_weights(network: nn.Module, half: torch.dtype) -> None:
    """Turn into 16 bits what autocast would cast at each call."""
    for weight in cast_by_autocast(network).values():
        weight.data = weight.data.to(half)
