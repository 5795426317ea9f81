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

LATE = 0.5
"""Share of a training from which on its samples should look like data."""

NOISY = 0.05
"""samples/noise_left from which on samples are noisy. This and those below: measured by benchmarks/symptom_thresholds.py."""

FAR = 1.5
"""samples/nearest_training from which on samples that are no images are noisy."""

BLURRY = 0.25
"""samples/blur from which on they are blurry."""

COLLAPSED = 0.5
"""samples/diversity or samples/nearest_sample below which they are alike."""

REPEATED = 0.15
"""samples/memorisation from which on they repeat training examples."""

COVERED = 0.8
"""samples/class_coverage below which classes are missing."""

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


def symptoms(history: History, total: int | None = None) -> list[Symptom]:
    """Every symptom of `history`, in order of appearance, each where it showed first; `total` as in `newest`."""
    found: dict[str, Symptom] = {}
    for end in range(1, len(history) + 1):
        for symptom in newest(history[:end], but=frozenset(found), total=total):
            found[symptom.name] = symptom
    return list(found.values())


def newest(history: History, *, but: frozenset[str] = frozenset(), total: int | None = None) -> list[Symptom]:
    """The symptoms that the last row of `history` shows, except those named in `but`. Evaluations matter from the first on, of
    logs the last `WINDOW`; samples from half of the training's `total` images on, or always after the start if it is None."""
    if not history:
        return []
    images = history[-1][0]
    found = []
    late = images >= max(1, LATE * (total or 0))
    for name, (look, advice) in (_LOOKS | (_LOOKS_AT_SAMPLES if late else {})).items():
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


def _beyond(name: str, limit: float, *, above: bool, says: str) -> Callable[[History], str | None]:
    """Looks whether the newest value of a metric is on the wrong side of `limit`; `says` has a place for the value."""

    def look(history: History) -> str | None:
        value = history[-1][1].get(name, math.nan)
        wrong = value >= limit if above else value < limit
        return f"{name} is {value:.4g}: {says}" if wrong else None

    return look


def _noisy(history: History) -> str | None:
    """Of images by the noise in them; of other data, which have no such measure, by how far off they are."""
    if "samples/noise_left" in history[-1][1]:
        return _beyond("samples/noise_left", NOISY, above=True, says="this share of the samples has noise left in it")(history)
    says = "samples are so many times as far from the training examples as held-out ones are"
    return _beyond("samples/nearest_training", FAR, above=True, says=says)(history)


def _collapsed(history: History) -> str | None:
    for name, says in (
        ("samples/nearest_sample", "a sample is that much as far from the nearest other one as real examples are"),
        ("samples/diversity", "samples are that much as far from each other as real examples are"),
    ):
        found = _beyond(name, COLLAPSED, above=False, says=says)(history)
        if found is not None:
            return found
    return None


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

_LOOKS_AT_SAMPLES: dict[str, tuple[Callable[[History], str | None], str]] = {
    "noisy samples": (
        _noisy,
        "Guide 002, of samples that are pure noise: train longer, check the learning rate, too high or too low, and the data; "
        "guide 000: a lower rate, more timesteps. Where only some samples keep noise, take more steps or a sampler that adds it",
    ),
    "blurry samples": (
        _beyond("samples/blur", BLURRY, above=True, says="their spectrum falls by so much more than that of real images"),
        "Guide 003: the learning rate is too low; guide 001: 1,000 timesteps to beta_end 0.02, attention, a wider time embedding, "
        "or the cosine schedule",
    ),
    "mode collapse": (
        _collapsed,
        "Guide 002: a larger model, longer training, classifier-free guidance; where sampling.guidance_scale is high already, a "
        "lower one, as more guidance is less diversity",
    ),
    "memorised examples": (
        _beyond("samples/memorisation", REPEATED, above=True, says="this share of the samples repeats a training example"),
        "Guide 000, of overfitting: fewer epochs (training.stop_early), a smaller network, dropout or weight decay, more data",
    ),
    "missing classes": (
        _beyond("samples/class_coverage", COVERED, above=False, says="only this share of the classes is recognised in its samples"),
        "Guide 001 expects every class after 100 epochs: train longer; guide 002: a higher guidance scale is stronger conditioning",
    ),
}
"""Looks at samples, which count late in a training; at its start they are noise, and should be."""
