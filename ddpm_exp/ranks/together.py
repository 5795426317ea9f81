"""Lets all processes stop after the same step, without making any step wait for an answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ddpm_exp.ranks.ranks import Ranks

_SECONDS = 0.5
"""About how often the processes ask each other."""


class StopTogether:
    """Asked after every step by every process, it turns true after the same step in all, soon after one wished to stop.

    Each question travels while the next steps are computed, and is answered at the next question. How many steps lie between
    two follows from the slowest process's time, which is part of the answer: so all count alike.
    """

    def __init__(self, ranks: Ranks, wish: Callable[[], bool]) -> None:
        self._ranks, self._wish = ranks, wish
        self._interval, self._steps = 1, 0
        self._asked_at = time.monotonic()
        self._question = torch.zeros(2, dtype=torch.float64)
        self._wait_for_answer: Callable[[], None] | None = None
        self._stopped = False

    def __call__(self) -> bool:
        """Whether all stop now."""
        if self._ranks.size == 1:
            return self._wish()
        self._steps += 1
        if self._steps >= self._interval and not self._stopped:
            self._answer()
            self._ask()
        return self._stopped

    def _answer(self) -> None:
        if self._wait_for_answer is None:
            return
        self._wait_for_answer()
        stop, seconds_per_step = self._question.tolist()
        self._stopped = stop > 0
        self._interval = max(1, min(1000, round(_SECONDS / max(seconds_per_step, 1e-6)), 2 * self._interval))

    def _ask(self) -> None:
        if self._stopped:
            return
        now = time.monotonic()
        self._question = torch.tensor([float(self._wish()), (now - self._asked_at) / self._steps], dtype=torch.float64)
        self._asked_at, self._steps = now, 0
        self._wait_for_answer = self._ranks.ask_largest(self._question)
