"""Ctrl-C, SIGTERM and a time limit, each turned into a wish to stop that the loop asks about."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """While active, the first SIGINT or SIGTERM only sets `reason`; a second SIGINT interrupts at once."""

    def __init__(self, max_hours: float | None) -> None:
        self._deadline = time.monotonic() + max_hours * 3600 if max_hours is not None else None
        self._max_hours = max_hours
        self.reason: str | None = None
        self.signalled = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signalled and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signalled = True
        self.reason = "interrupted by Ctrl-C" if number == signal.SIGINT else "asked to stop by SIGTERM"

    def asked(self) -> bool:
        """Whether to stop at the next opportunity."""
        if self.reason is None and self._deadline is not None and time.monotonic() > self._deadline:
            self.reason = f"reached --max-hours {self._max_hours:g}"
        return self.reason is not None
