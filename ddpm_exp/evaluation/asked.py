"""What an evaluation asks the network to draw: the same conditions and noise numbers for every arm, seed and moment."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Batch, Examples
from ddpm_exp.spec.condition import Condition, parts_of

VALUE_ROWS = 8
"""Held-out examples whose values are asked for, spread evenly over the first value's range."""


@dataclass(frozen=True)
class Asked:
    """N conditions, as examples that have them, and the noise number that each sample starts from."""

    batch: Batch
    """On the CPU. `x0` is what the condition was made from, or zeros where no condition looks at it."""

    noises: torch.Tensor
    """int64 [N]."""

    rows: int
    """How many different conditions take turns, each with every noise; 0: every sample has a condition of its own."""

    def __len__(self) -> int:
        return len(self.noises)


def ask(condition: Condition, held_out: Examples, shape: tuple[int, ...], *, samples: int, columns: int) -> Asked:
    """At least `samples` samples, and enough for a picture of `columns` columns.

    Classes take turns, each with the same noises; so do the examples at even steps through the first of the continuous values.
    Where a condition shows a part of an image, or several conditions go together, held-out examples are taken as they come.
    So are they where none has all its values. Without a condition there are only noises.
    """
    kinds = {part.kind for part in parts_of(condition)}
    if not kinds:
        count = max(columns**2, samples)
        return Asked(_nothing(count, shape), torch.arange(count), 1)
    if kinds <= {"class", "prompt"}:
        rows = len(held_out.class_names)
        labels, noises = _taking_turns(torch.arange(rows), max(columns, samples // rows))
        return Asked(_nothing(len(noises), shape)._replace(labels=labels), noises, rows)
    known = complete(held_out.values)
    if kinds == {"values"} and held_out.values is not None and bool(known.any()):
        order = held_out.values[:, 0].argsort(stable=True)
        order = order[known[order]]
        chosen = order[torch.linspace(0, len(order) - 1, min(VALUE_ROWS, len(order))).round().long()]
        taken, noises = _taking_turns(chosen, max(columns, samples // len(chosen)))
        return Asked(_nothing(len(noises), shape)._replace(values=held_out.values[taken]), noises, len(chosen))
    count = max(columns, samples)
    return Asked(held_out.batch(torch.arange(count) % len(held_out)), torch.arange(count), 0)


def for_fid(condition: Condition, train: Examples, numbers: torch.Tensor) -> Batch:
    """Conditions of FID's samples `numbers` (int64 [N]): classes take turns; all else is as in the training examples, in turn."""
    kinds = {part.kind for part in parts_of(condition)}
    if kinds <= {"class", "prompt"}:
        return _nothing(len(numbers), tuple(train.x.shape[1:]))._replace(labels=numbers % max(1, len(train.class_names)))
    return train.batch(numbers % len(train))


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


def _taking_turns(of: torch.Tensor, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each of `of` [R] in turn, `each` times over, and the number of the turn: both [each x R]."""
    return of.repeat(each), torch.arange(each).repeat_interleave(len(of))


def _nothing(count: int, shape: tuple[int, ...]) -> Batch:
    return Batch(torch.zeros(()).expand(count, *shape), None, None)
