"""What an evaluation asks the network to draw: the same conditions and noise numbers for every arm, seed and moment;
the noises themselves are keyed by the run's seed.

Figures of single conditions, and pictures, want every class equally often; a distance to the data wants them as often as the data
has them, or a perfect sampler would be far from its data. So one drawing holds both: a small grid in equal turns, `samples` in the
data's own proportions, and, of classes that are rarer than an equal share, a few more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Batch, Examples
from ddpm_exp.spec.condition import Condition, parts_of

VALUE_ROWS = 8
"""Held-out examples whose values have a row in the grid, spread evenly over the first value's range."""


@dataclass(frozen=True)
class Asked:
    """N conditions, as examples that have them, and the noise number that each sample starts from."""

    batch: Batch
    """On the CPU. `x0` is what the condition was made from, or zeros where no condition looks at it."""

    noises: torch.Tensor
    """int64 [N]."""

    rows: int
    """How many different conditions take turns in the grid, which comes first; 0: every sample has a condition of its own."""

    grid: int
    """How many samples the grid has: `rows` times the columns, each run of `rows` with one noise; without rows, all."""

    own: torch.Tensor
    """int64: places of the samples whose conditions come in the data's own proportions, each with a noise that no other of them
    has; what is measured of all of them may be compared with the data."""

    turns: torch.Tensor
    """int64: places of samples that hold every class equally often; `own` where classes take no turns."""

    def __len__(self) -> int:
        return len(self.noises)


def ask(condition: Condition, train: Examples, held_out: Examples, *, samples: int, columns: int) -> Asked:
    """A grid of `columns` columns and `samples` samples beside it, or that are it where no conditions take turns.

    In the grid classes take turns, each with the same noises; so do held-out examples at even steps through the first of the
    continuous values. The others are asked for what the training examples say, in their proportions. Where a condition shows a
    part of an image, all is taken from held-out examples. Without a condition there are only noises.
    """
    kinds: set[str] = {part.kind for part in parts_of(condition)}
    rows = _rows(kinds, held_out)
    if rows is None:
        count = max(columns**2 if not kinds else columns, samples)
        numbers = torch.arange(count)
        batch = in_proportion(condition, held_out if "image" in kinds else train, numbers)
        return Asked(batch, numbers, 0 if kinds else 1, count, numbers, numbers)
    own = in_proportion(condition, train, torch.arange(samples))
    parts, count = [_repeated(rows, columns), own], len(rows.x0) * columns
    turns = torch.arange(count, count + samples)
    if rows.labels is not None:
        each = max(columns, samples // len(rows.x0))
        told = torch.cat([part.labels for part in parts if part.labels is not None])
        missing = torch.cat([label.repeat(max(0, each - int((told == label).sum()))) for label in rows.labels])
        parts.append(_nothing(len(missing), own.x0.shape[1:])._replace(labels=missing))
        told = torch.cat([told, missing])
        turns = torch.stack([(told == label).nonzero().flatten()[:each] for label in rows.labels], dim=1).flatten()
    batch = _joined(parts)
    noises = torch.cat(
        [torch.arange(columns).repeat_interleave(len(rows.x0)), torch.arange(columns, columns + len(batch.x0) - count)]
    )
    return Asked(batch, noises, len(rows.x0), count, torch.arange(count, count + samples), turns)


def in_proportion(condition: Condition, examples: Examples, numbers: torch.Tensor) -> Batch:
    """Conditions of the samples `numbers` (int64 [N]), as often as `examples` have them: of every len(examples) samples in a row
    each example gives its condition to one, and of the first few they are spread evenly over classes and the first value.

    A sample's condition depends on its number and the examples alone. Without a condition there is nothing in it.
    """
    kinds = {part.kind for part in parts_of(condition)}
    if not kinds:
        return _nothing(len(numbers), examples.x.shape[1:])
    order = torch.arange(len(examples))
    if "values" in kinds and examples.values is not None:
        order = examples.values[:, 0].argsort(stable=True)
    if kinds != {"values"} and examples.labels is not None:
        order = order[examples.labels[order].argsort(stable=True)]
    places = order[numbers * _stride(len(order)) % len(order)]
    labels = examples.labels if kinds & {"class", "prompt"} else None
    values = examples.values if "values" in kinds else None
    shown = examples.batch(places) if "image" in kinds else _nothing(len(numbers), examples.x.shape[1:])
    return Batch(shown.x0, None if labels is None else labels[places], None if values is None else values[places])


def given_of(conditions: Conditions, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What an image condition shows of each example in evaluation, [N, C, H, W], and where, bool [N, 1, H, W]."""
    condition = conditions.fixed(batch, "cpu")
    if condition is None or "image" not in condition:
        raise ValueError("there is no image among the conditions")
    shown = condition["image"]
    return shown[:, :-1], shown[:, -1:] > 0.5


def complete(values: torch.Tensor | None) -> torch.Tensor:
    """bool [N]: which rows of `values` [N, K] have all of them; [0] without values."""
    return torch.zeros(0, dtype=torch.bool) if values is None else values.isfinite().all(1)


def _rows(kinds: set[str], held_out: Examples) -> Batch | None:
    """The conditions that take turns in a grid; None where each sample has one of its own."""
    shape = held_out.x.shape[1:]
    if kinds and kinds <= {"class", "prompt"}:
        classes = len(held_out.class_names)
        return _nothing(classes, shape)._replace(labels=torch.arange(classes))
    known = complete(held_out.values)
    if kinds == {"values"} and held_out.values is not None and bool(known.any()):
        order = held_out.values[:, 0].argsort(stable=True)
        order = order[known[order]]
        chosen = order[torch.linspace(0, len(order) - 1, min(VALUE_ROWS, len(order))).round().long()]
        return _nothing(len(chosen), shape)._replace(values=held_out.values[chosen])
    return None


def _stride(count: int) -> int:
    """The whole number next to count / 1.618 that shares no divisor with it: its multiples, modulo `count`, meet every number
    once, and any few of them in a row lie about evenly (the golden section's sequence, as far as whole numbers allow)."""
    return next(step for step in range(max(1, round(count / 1.618034)), 2 * count + 1) if math.gcd(step, count) == 1)


def _repeated(rows: Batch, times: int) -> Batch:
    return _joined([rows] * times)


def _joined(parts: list[Batch]) -> Batch:
    """Batches that are asked for nothing else than labels or values, one after the other."""
    labels = [part.labels for part in parts if part.labels is not None]
    values = [part.values for part in parts if part.values is not None]
    count = sum(len(part.x0) for part in parts)
    return Batch(
        torch.zeros(()).expand(count, *parts[0].x0.shape[1:]),
        torch.cat(labels) if labels else None,
        torch.cat(values) if values else None,
    )


def _nothing(count: int, shape: tuple[int, ...]) -> Batch:
    return Batch(torch.zeros(()).expand(count, *shape), None, None)
