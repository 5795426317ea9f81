"""What a training process on CUDA reserves: its allocations in their order, through a model of torch's allocator. No device.

A captured step runs twice: once op by op on a stream of its own, whose memory goes back to the device, then into the graph's own
memory, which stays. A drawing does the same beside it, on a copy of the network.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from ddpm_exp.memory.allocator import Allocator, Order
from ddpm_exp.memory.script import DEATH, Script

GRAPH = "graph"
DRAWN = "drawn graph"
"""Pools of the captured step and of the captured drawing."""

CUBLASLT_WORKSPACE = 2**20


@dataclass(frozen=True)
class Process:
    """Everything that a training process allocates beside the tensors of a step. Sizes in bytes."""

    weights: tuple[int, ...]
    """Parameters and buffers in their order."""

    relaid: tuple[bool, ...]
    """Which of them are allocated anew, as channels-last."""

    half: tuple[int, ...]
    """16-bit copies that are made once per step, one for each of `weights` (0: none); empty where autocast makes them."""

    averages: int
    moments: tuple[int, ...]
    """What the optimizer keeps, tensor by tensor."""

    update: tuple[tuple[int, int], ...]
    """Births and deaths of what the optimizer takes during its step, as in a `Script`."""

    data: int
    workspace_bytes: int
    """Workspace that cuBLAS takes once per stream and thread."""

    captured: bool
    accumulates: bool
    shape_bytes: int
    """One example in float32."""

    guides: int = 0
    """Networks that guide the drawings, each as large as the one that is trained."""

    @property
    def gradients(self) -> int:
        """One buffer for all, as many bytes as the weights."""
        return sum(self.weights)


@dataclass(frozen=True)
class Reserved:
    """Bytes that the allocator reserved and that tensors took, at most."""

    reserved: int
    allocated: int


class Replay:
    """A process from its start. Methods are called in the order in which a run does these things."""

    def __init__(self, process: Process, order: Order = "below") -> None:
        self._process, self._memory = process, Allocator(order)
        self._stepped = False
        self._libraries: set[tuple[str, str, str]] = set()
        self._build()

    def copy(self) -> Replay:
        """The process as it is now, to go on with in another way."""
        other = copy.copy(self)
        other._memory, other._libraries = self._memory.copy(), set(self._libraries)
        return other

    def train(self, script: Script, images: int) -> Reserved:
        """Steps with `images` at once."""
        process, memory, events = self._process, self._memory, list(script.at(images))
        if not process.captured:
            for _ in range(2):
                self._events(script, events, "")
                self._optimize()
            return self._highest()
        self._events(script, events, "side")
        if not process.accumulates:
            self._optimize()
        memory.release()
        self._events(script, events, GRAPH)
        self._optimize()
        return self._highest()

    def validate(self, script: Script, images: int) -> Reserved:
        """Errors of so many held-out images at once, op by op on the program's stream, as an evaluation begins."""
        for name in ("held out", "noise", "noisy", "estimate"):
            self._memory.allocate(name, images * self._process.shape_bytes)
        self._events(script, list(script.at(images)), "")
        for name in ("noise", "noisy", "estimate"):
            self._memory.free(name)
        return self._highest()

    def draw(self, script: Script, images: int, together: int) -> Reserved:
        """A drawing of `together` samples after the steps, of which `images` go through the network at once."""
        process, memory, events = self._process, self._memory, list(script.at(images))
        for name in ("start", "x", "said"):
            memory.allocate(name, together * process.shape_bytes)
        if not process.captured:
            self._events(script, events, "")
            return self._highest()
        self._copy_network()
        memory.release(keep=(GRAPH,))
        for _ in range(2):
            self._events(script, events, "drawing")
        memory.release(keep=(GRAPH,))
        self._events(script, events, DRAWN)
        return self._highest()

    def end_drawing(self) -> None:
        """The samples are on the host; a captured drawing gives all that it had back to the device."""
        for name in ("start", "x", "said"):
            self._memory.free(name)
        if self._process.captured:
            self._free("copy", self._process.weights)
            self._free("low", self._process.half)
            self._memory.release(keep=(GRAPH,))

    def measure_bits(self, script: Script, images: int) -> Reserved:
        """Bits per dimension of so many held-out images at once, op by op after a drawing."""
        self._events(script, list(script.at(images)), "")
        return self._highest()

    def extract(self, script: Script, images: int, weights: Sequence[int]) -> Reserved:
        """Features for FID after a drawing, by a network with such `weights`: the highest from here on."""
        if self._process.captured:
            self._memory.release(keep=(GRAPH,))  # as the drawing before it did
        self._memory.forget_highest()
        self._all("inception", weights)
        self._events(script, list(script.at(images)), "")
        return self._highest()

    def _build(self) -> None:
        process, memory = self._process, self._memory
        for number, size in enumerate(process.weights):
            memory.allocate(("weight", number), size)
        for number, size in enumerate(process.weights):
            if process.relaid[number]:
                memory.allocate(("laid", number), size)
                memory.free(("weight", number))
        memory.allocate("data", process.data)
        self._all("half", process.half)
        memory.allocate("gradients", process.gradients)
        for average in range(process.averages):
            self._all(f"average {average}", process.weights)
        for guide in range(process.guides):
            self._all(f"guide {guide}", process.weights)

    def _optimize(self) -> None:
        """Op by op, on the program's stream."""
        if not self._stepped:
            self._all("moment", self._process.moments)
        self._stepped = True
        for tensor, size in self._process.update:
            if size == DEATH:
                self._memory.free(("update", tensor))
            else:
                self._memory.allocate(("update", tensor), size)

    def _copy_network(self) -> None:
        """All weights again, of which some are then replaced by 16-bit ones, one after the other."""
        self._all("copy", self._process.weights)
        for number, size in enumerate(self._process.half):
            self._memory.allocate(("low", number), size)
            if size:
                self._memory.free(("copy", number))

    def _all(self, name: str, sizes: Sequence[int]) -> None:
        for number, size in enumerate(sizes):
            self._memory.allocate((name, number), size)

    def _free(self, name: str, sizes: Sequence[int]) -> None:
        for number, _ in enumerate(sizes):
            self._memory.free((name, number))

    def _events(self, script: Script, events: list[tuple[int, int]], pool: str) -> None:
        """The step. A library's workspace is of a stream and a thread and stays: a captured step finds that of the step before."""
        memory = self._memory
        stream = {GRAPH: "side", DRAWN: "drawing"}.get(pool, pool)
        done = 0
        for index, callers in sorted(script.libraries.items()):
            memory.follow(events[done:index], pool)
            done = index
            for thread, library in callers:
                owner = (stream, thread, library)
                if owner not in self._libraries:
                    self._libraries.add(owner)
                    own = self._process.workspace_bytes if library == "cublas" else CUBLASLT_WORKSPACE
                    memory.allocate(owner, own, pool)
        memory.follow(events[done:], pool)

    def _highest(self) -> Reserved:
        return Reserved(self._memory.highest_reserved, self._memory.highest_allocated)
