"""What is wrong with a training, read off the numbers that it recorded. Pure: the same history has the same symptoms.

A symptom is judged by the newest row and the few before it, so that looking costs the same at any time, and looking again after a
resume finds what was found before. Medians and their deviations are those of the window: one odd row among them changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

History = Sequence[tuple[int, Mapping[str, float]]]
"""(images seen, values) of each log and evaluation, in order; names are the metric catalogue's."""

WINDOW = 30
"""Logs that are looked at."""

STARVING = 0.1
"""Share of the training time spent waiting for data from which on it is told."""

_BASE = 20
_FEWEST = 10
_SPIKE = 2.0
_DEVIATIONS = 8.0
_EXPLOSION = 10.0
_SLOWER = 1.5
_IN_A_ROW = 3
_FELL = 0.1
_BETTER = 0.01
_EVALUATIONS = 5


@dataclass(frozen=True)
class Symptom:
    """Something that a person should look at."""

    name: str
    images: int
    """Images seen when it showed."""
    evidence: str
    """The numbers that show it."""
    advice: str
    """What the guides say to do."""

    def __str__(self) -> str:
        return f"{self.name} at {self.images:,} images: {self.evidence}. {self.advice}"


def symptoms(history: History) -> list[Symptom]:
    """Every symptom of `history`, in order of appearance, each where it showed first."""
    found: dict[str, Symptom] = {}
    for end in range(1, len(history) + 1):
        for symptom in newest(history[:end], but=frozenset(found)):
            found[symptom.name] = symptom
    return list(found.values())


def newest(history: History, *, but: frozenset[str] = frozenset()) -> list[Symptom]:
    """The symptoms that the last row of `history` shows, except those named in `but`. Evaluations matter from the first on, of
    logs the last `WINDOW`."""
    if not history:
        return []
    images = history[-1][0]
    found = []
    for name, (look, advice) in _LOOKS.items():
        evidence = None if name in but else look(history)
        if evidence is not None:
            found.append(Symptom(name, images, evidence, advice))
    return found


def _series(history: History, name: str, window: int = WINDOW) -> list[float]:
    """The last values of a metric, if the newest row has one; else none, as it shows nothing new."""
    if name not in history[-1][1]:
        return []
    return [values[name] for _, values in history[-2 * window :] if name in values and math.isfinite(values[name])][-window:]


def _spike(history: History) -> str | None:
    *before, now = _series(history, "train/loss")[-_BASE - 1 :] or [0.0]
    if len(before) < _FEWEST:
        return None
    usual = median(before)
    spread = 1.4826 * median([abs(value - usual) for value in before])
    if now <= max(_SPIKE * usual, usual + _DEVIATIONS * spread):
        return None
    return f"train/loss is {now:.4g}, {now / usual:.1f} times its median of {len(before)} logs, {usual:.4g}" if usual > 0 else None


def _explosion(history: History) -> str | None:
    *before, now = _series(history, "train/gradient_norm")[-_BASE - 1 :] or [0.0]
    if len(before) < _FEWEST or now <= _EXPLOSION * (usual := median(before)) or usual <= 0:
        return None
    return f"train/gradient_norm is {now:.4g}, {now / usual:.0f} times its median of {len(before)} logs, {usual:.4g}"


def _slower(history: History) -> str | None:
    seconds = _series(history, "speed/epoch_seconds")
    before, now = seconds[:-_IN_A_ROW][-_BASE:], seconds[-_IN_A_ROW:]
    if len(before) < _FEWEST or min(now) <= _SLOWER * median(before):
        return None
    return f"an epoch takes {median(now):.4g} s, {median(now) / median(before):.1f} times the {median(before):.4g} s that it took"


def _throttled(history: History) -> str | None:
    found = _series(history, "speed/throttled")[-_IN_A_ROW:]
    if len(found) < _IN_A_ROW or not all(found):
        return None
    return f"the device held its clock down for heat or power at {_IN_A_ROW} logs in a row"


def _starving(history: History) -> str | None:
    shares = _series(history, "speed/data_wait_share")[-2:]  # in the first log of a sitting, workers start
    if len(shares) < 2 or min(shares) < STARVING:
        return None
    return f"an idle device waited for data {shares[-1]:.0%} of the training time"


def _plateau(history: History) -> str | None:
    """It fell, and for a third of the training and five evaluations it has not."""
    if "val/denoising" not in history[-1][1]:
        return None
    points = [(at, values["val/denoising"]) for at, values in history if not math.isnan(values.get("val/denoising", math.nan))]
    now = history[-1][0]
    late = [value for at, value in points if at > now * 2 / 3]
    early = [value for at, value in points if at <= now * 2 / 3]
    if len(late) < _EVALUATIONS or len(early) < 2 or min(early) > (1 - _FELL) * early[0] or min(late) < (1 - _BETTER) * min(early):
        return None
    return f"val/denoising is {late[-1]:.4g}, and was {min(early):.4g} before the last third of the training"


_LOOKS: dict[str, tuple[Callable[[History], str | None], str]] = {
    "loss spike": (
        _spike,
        "Guide 001: if loss is erratic, reduce the learning rate or increase images per step; guide 003: clip gradients",
    ),
    "gradient explosion": (
        _explosion,
        "Guide 003: clip gradients at 0.5 to 2 (training.gradient_clip), or lower the learning rate or lengthen the warm-up",
    ),
    "plateau": (
        _plateau,
        "It has learnt what it can at this rate (training.stop_early ends it, a falling training.rate goes on), or the rate is too "
        "low: guide 001: if loss plateaus above 0.2, increase the learning rate; guide 004 took ten times the rate",
    ),
    "slower epochs": (
        _slower,
        "Look for other programs on the device and the processor, and whether data are read from a slower place; guide 001 gives "
        "minutes per epoch of its configurations",
    ),
    "throttling": (_throttled, "Cool the device or raise its power limit; the results stay right"),
    "waiting for data": (_starving, "Guide 000: increase num_workers (here hardware.workers)"),
}
