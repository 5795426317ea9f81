"""Which micro-batch to take, from what few attempts on a device say: doubled, bisected, the fastest preferred. Asks no device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ddpm_exp.memory.terms import in_words

Verdict = Literal["fits", "beyond the headroom", "out of memory"]

SAME_SPEED = 0.02
"""Rates within this share of the best are as good: a few timed steps tell no finer, so of them the least memory is taken."""


@dataclass(frozen=True)
class Attempt:
    """What real steps at one micro-batch took."""

    micro_batch: int
    peak_bytes: int | None
    """Of the device, at the busiest moment; None where memory ran out."""

    images_per_second: float | None = None
    """Of one device, over a few whole steps; None where memory ran out."""

    seconds: float = 0.0
    """The whole attempt, building and compiling included."""

    compiling_seconds: float = 0.0
    """Of these, the first step where the network is compiled in it."""

    first_step_seconds: float = 0.0
    """In which libraries start too, once in a process, and Triton compiles kernels, once on a machine."""

    allocated_bytes: tuple[int, int] = (0, 0)
    """By tensors, before the attempt and after it."""

    reserved_bytes: tuple[int, int] = (0, 0)
    """Held by torch, before and after."""

    @property
    def left_bytes(self) -> int:
        """What the attempt left allocated behind it."""
        return self.allocated_bytes[1] - self.allocated_bytes[0]

    def verdict(self, limit: int) -> Verdict:
        """Whether it stays within `limit` bytes."""
        if self.peak_bytes is None:
            return "out of memory"
        return "fits" if self.peak_bytes <= limit else "beyond the headroom"

    def to_json(self) -> dict[str, Any]:
        """Plain values; the inverse of `from_json`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Attempt:
        """What `to_json` gave. Raises TypeError for anything else."""
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
        return cls(**values)


@dataclass(frozen=True)
class Caps:
    """Where a search ends that could go on. It never ends before something fits."""

    attempts: int = 6
    seconds: float = 25.0
    """No attempt is begun that would end later if it took as long as the longest so far. Not counted: compiling, and the first step
    of the first attempt, in which kernels are compiled for this machine and libraries start."""


@dataclass(frozen=True)
class Found:
    """The micro-batch that a search ended with."""

    chosen: Attempt | None
    """None: not even a single image fits, or not the one micro-batch that was allowed."""

    why: str
    attempts: tuple[Attempt, ...]
    """In the order in which they were made."""

    @property
    def seconds(self) -> float:
        """What the search took, but for compiling and the first step of all."""
        return sum(_counted(self.attempts))


def _counted(attempts: Sequence[Attempt]) -> list[float]:
    """Seconds of each that `Caps.seconds` limits."""
    apart = [one.compiling_seconds for one in attempts]
    apart[:1] = [one.first_step_seconds for one in attempts[:1]]
    return [one.seconds - out for one, out in zip(attempts, apart, strict=True)]


Try = Callable[[int], Attempt]
"""A micro-batch to what real steps with it took."""


def search(
    candidates: Sequence[int], start: int, limit: int, attempt: Try, caps: Caps | None = None, *, by_speed: bool = True
) -> Found:
    """The fastest of `candidates` whose attempt stays within `limit` bytes, as far as few attempts can tell.

    Begins with `start`; if that does not fit, with its halves. Then doubles while the rate grows by more than `SAME_SPEED`, and
    where memory ends that, bisects the candidates between what fits and what does not. At last halves while that costs no speed.
    Without `by_speed`, clocks decide nothing: the largest that fits.
    """
    caps = caps or Caps()
    caps = caps if by_speed else Caps(caps.attempts, math.inf)
    return _Search(sorted(candidates), limit, attempt, caps, by_speed).from_start(start)


@dataclass
class _Search:
    candidates: list[int]
    limit: int
    attempt: Try
    caps: Caps
    by_speed: bool
    tried: dict[int, Attempt] = field(default_factory=dict)
    ended: str = ""

    def from_start(self, start: int) -> Found:
        size: int | None = start
        while size is not None and not self._fits(size):
            size = self._below(size)
        if size is None:
            return Found(None, "nothing that was tried fits", tuple(self.tried.values()))
        self._double(size)
        self._bisect()
        if self.by_speed:
            self._halve()
        return Found(self._chosen(), self._why(), tuple(self.tried.values()))

    def _double(self, size: int) -> None:
        above = self._above(size)
        while above is not None and above not in self.tried and self._may_go_on():
            if not self._fits(above) or not self._still_rises():
                return
            size, above = above, self._above(above)

    def _bisect(self) -> None:
        """Between the largest that fits and the smallest above it that does not."""
        while between := self._between():
            if not self._still_rises() or not self._may_go_on():
                return
            self._try(between[len(between) // 2])

    def _between(self) -> list[int]:
        largest = max(self._fitting())
        over = min((size for size in self.tried if size > largest), default=largest)
        return [size for size in self.candidates if largest < size < over]

    def _halve(self) -> None:
        """As long as less memory is as fast."""
        while (below := self._below(self._chosen().micro_batch)) is not None and below not in self.tried:
            if not self._may_go_on() or not self._fits(below):
                return

    def _fits(self, size: int) -> bool:
        return self._try(size).verdict(self.limit) == "fits"

    def _try(self, size: int) -> Attempt:
        if size not in self.tried:
            self.tried[size] = self.attempt(size)
        return self.tried[size]

    def _fitting(self) -> dict[int, Attempt]:
        return {size: one for size, one in self.tried.items() if one.verdict(self.limit) == "fits"}

    def _may_go_on(self) -> bool:
        made = list(self.tried.values())
        took = _counted(made)
        if len(took) >= self.caps.attempts:
            self.ended = f"no more than {self.caps.attempts} are tried"
        elif sum(took) + max(took) > self.caps.seconds:
            self.ended = f"after {sum(took):.0f} s no further one is tried"
        return not self.ended

    def _still_rises(self) -> bool:
        """Whether the largest that fits is faster than the next smaller one tried; where there is none, nothing speaks against."""
        sizes = sorted(self._fitting())
        if not self.by_speed or len(sizes) < 2:
            return True
        last, before = (self.tried[size].images_per_second or 0.0 for size in (sizes[-1], sizes[-2]))
        return last > before * (1 + SAME_SPEED)

    def _above(self, size: int) -> int | None:
        """Twice as many, or as near to that as candidates come."""
        larger = [one for one in self.candidates if one > size]
        return max((one for one in larger if one <= 2 * size), default=larger[0] if larger else None)

    def _below(self, size: int) -> int | None:
        smaller = [one for one in self.candidates if one < size]
        return max((one for one in smaller if 2 * one <= size), default=smaller[-1] if smaller else None)

    def _chosen(self) -> Attempt:
        fitting = self._fitting()
        if not self.by_speed:
            return fitting[max(fitting)]
        best = max(one.images_per_second or 0.0 for one in fitting.values())
        as_fast = [one for one in fitting.values() if (one.images_per_second or 0.0) >= best * (1 - SAME_SPEED)]
        return min(as_fast, key=lambda one: (one.peak_bytes or 0, one.micro_batch))

    def _why(self) -> str:
        chosen, fitting = self._chosen(), self._fitting()
        best = max(fitting.values(), key=lambda one: one.images_per_second or 0.0)
        if not self.by_speed:
            why = "the largest that was found to fit (hardware.deterministic: clocks decide nothing)"
        elif len(self.tried) == 1:
            why = "the only one tried"
        elif best.micro_batch == chosen.micro_batch:
            why = f"the fastest of {len(fitting)} that fit" if len(fitting) > 1 else "the only one tried that fits"
        else:
            less = in_words((best.peak_bytes or 0) - (chosen.peak_bytes or 0))
            why = (
                f"within {SAME_SPEED:.0%} of the fastest ({best.images_per_second:,.0f} images/s at {best.micro_batch}), "
                f"with {less} less memory"
            )
        return f"{why}; {self.ended}" if self.ended else why
