"""How long a training will still take, from how long it took since its first log."""

from __future__ import annotations


class TimeLeft:
    """Reckons from the first log on, evaluations included: before it, kernels are compiled and memory is found."""

    def __init__(self, total_images: int) -> None:
        self._total = total_images
        self._first: tuple[float, int] | None = None

    def seconds(self, now: float, images: int, images_per_second: float | None) -> float | None:
        """At a log `now` (seconds of any clock), with the speed of its steps; None where nothing can be said yet."""
        if self._first is None:
            self._first = now, images
        began, before = self._first
        if images > before:
            return (now - began) / (images - before) * (self._total - images)
        return (self._total - images) / images_per_second if images_per_second else None
