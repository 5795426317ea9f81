"""The busiest moment of a step for any number of images, from two traces: every moment's bytes are a straight line in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ddpm_exp.memory.trace import Trace

Bytes = dict[str, int]
"""Bytes alive by term."""


@dataclass(frozen=True)
class Moment:
    """One moment at which no other has more alive for every number of images: bytes = fixed + images x per_image."""

    phase: str
    fixed: Bytes
    per_image: Bytes

    def at(self, images: int) -> Bytes:
        """Bytes alive by term for `images`."""
        return {term: self.fixed[term] + images * self.per_image[term] for term in self.fixed}


class Moments:
    """The moments of one kind of step. The busiest one changes with the number of images, so all that can be it are kept."""

    def __init__(self, trace_of: Callable[[int], Trace], images: tuple[int, int] = (2, 4)) -> None:
        """`trace_of(images)` records the step. Raises ValueError if its operations change with the number of images."""
        few, many = images
        first, second = trace_of(few), trace_of(many)
        if first.shape() != second.shape():
            raise ValueError("the network's operations change with the number of images, so sizes between cannot be inferred")
        low, high = list(_walk(first)), list(_walk(second))
        lines = []
        for (phase, at_few), (_, at_many) in zip(low, high, strict=True):
            slope = {term: (at_many[term] - at_few[term]) // (many - few) for term in at_few}
            lines.append(Moment(phase, {term: at_few[term] - few * slope[term] for term in at_few}, slope))
        self._moments = _undominated(lines)

    def peak(self, images: int) -> tuple[str, Bytes]:
        """Phase and bytes by term of the busiest moment with `images`."""
        candidates = [(moment.phase, moment.at(images)) for moment in self._moments]
        return max(candidates, key=lambda candidate: sum(candidate[1].values()))


_TERMS = ("activations", "autocast copies", "data", "workspace")


def _walk(trace: Trace) -> list[tuple[str, Bytes]]:
    """Phase and bytes by term after each birth that a death follows: the peak can only be one of these."""
    begins = sorted((start, name) for name, start in trace.starts.items())
    alive = dict.fromkeys(_TERMS, 0)
    born: dict[int, int] = {}
    moments = []
    phase = ""
    for index, (tensor, size) in enumerate(trace.events):
        while begins and begins[0][0] <= index:
            phase = begins.pop(0)[1]
        term = trace.kinds.get(tensor, "workspace")
        if size < 0:
            alive[term] -= born.pop(tensor)
            continue
        born[tensor] = size
        alive[term] += size
        if phase != "end" and (index + 1 == len(trace.events) or trace.events[index + 1][1] < 0):
            moments.append((phase, dict(alive)))
    return moments


def _undominated(moments: list[Moment]) -> list[Moment]:
    """Moments that no other exceeds both in its slope and in its fixed part, steepest first."""

    def rank(moment: Moment) -> tuple[int, int]:
        return sum(moment.per_image.values()), sum(moment.fixed.values())

    kept: list[Moment] = []
    for moment in sorted(moments, key=rank, reverse=True):
        if not kept or rank(moment)[1] > rank(kept[-1])[1]:
            kept.append(moment)
    return kept
