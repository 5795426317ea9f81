"""Pictures of drawn samples: grids of images, histograms of columns, curves and clouds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Splits
from ddpm_exp.evaluation import plots
from ddpm_exp.evaluation.asked import Asked, given_of
from ddpm_exp.evaluation.drawing import part_of
from ddpm_exp.evaluation.pictures import grid
from ddpm_exp.spec.condition import Condition, parts_of
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.evaluation import Evaluation


class Portrait:
    """Draws pictures of samples for one kind of data and condition."""

    def __init__(self, spec: Evaluation, splits: Splits, condition: Condition, family: Family, conditions: Conditions) -> None:
        self._spec, self._splits, self._family, self._conditions = spec, splits, family, conditions
        self._kinds = {part.kind for part in parts_of(condition)}

    def samples(self, drawn: torch.Tensor, asked: Asked, title: str) -> bytes:
        """A PNG of `drawn` [N, *shape]: rows of conditions for images, drawn over real for all else."""
        if self._family == "image":
            return self._given_and_drawn(drawn, asked, title) if "image" in self._kinds else self._rows(drawn, asked, title)
        held_out = self._splits.held_out
        if self._family == "vector":
            return self._marginals(drawn[asked.own] if len(asked.own) else drawn, title)
        plot = plots.curves if self._family == "sequence" else plots.clouds
        real = held_out.batch(slice(0, len(held_out))).x0
        if held_out.labels is not None and asked.batch.labels is not None and asked.rows:
            return plot(real[_taking_turns(held_out.labels, asked.rows)], drawn[asked.turns], self._captions(asked), title)
        return plot(real, drawn[: asked.grid], self._captions(asked), title)

    def reconstructions(self, pictures: torch.Tensor, title: str) -> bytes:
        """A PNG of `validate`'s reconstructions."""
        captions: Sequence[str] = ["held-out image"]
        for level in self._spec.reconstruction_log_snr:
            captions = [*captions, f"log-SNR {level:g}", "reconstruction"]
        return grid(pictures, captions, title)

    def _rows(self, drawn: torch.Tensor, asked: Asked, title: str) -> bytes:
        columns, rows = self._spec.grid_columns, asked.rows
        if not self._kinds:
            return grid(drawn[: columns**2].reshape(columns, columns, *drawn.shape[1:]), [""] * columns, title)
        if not rows:
            rows = min(8, len(drawn) // columns or 1)
            tiles = drawn[: rows * columns].reshape(rows, -1, *drawn.shape[1:])
            return grid(tiles, [""] * rows, title)
        tiles = drawn[: columns * rows].reshape(columns, rows, *drawn.shape[1:]).transpose(0, 1)
        return grid(tiles, self._captions(asked), title)

    def _captions(self, asked: Asked) -> list[str]:
        """What each of the conditions that take turns says."""
        if not asked.rows or not self._kinds:
            return []
        first = part_of(asked.batch, slice(0, asked.rows))
        return self._conditions.texts(first, held_out=True, turns=torch.zeros(asked.rows, dtype=torch.long))

    def _given_and_drawn(self, drawn: torch.Tensor, asked: Asked, title: str) -> bytes:
        count = min(self._spec.grid_columns, len(drawn))
        real = asked.batch.x0[:count]
        first = part_of(asked.batch, slice(0, count))
        given, _ = given_of(self._conditions, first)
        return grid(torch.stack([given, drawn[:count], real]), ["given", "drawn", "the original"], title)

    def _marginals(self, drawn: torch.Tensor, title: str) -> bytes:
        codec = self._splits.codec
        real = self._splits.held_out.x
        if codec is None:
            raise ValueError("data that are no images have a codec")
        # In one table: a category has the same number in both, though one of them may lack another category.
        both = _numbers(pd.concat([codec.frame(rows) for rows in (real, drawn)], ignore_index=True))
        return plots.marginals(both[: len(real)], both[len(real) :], codec.columns, title)


def _taking_turns(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Places in `labels` [N] of four examples per class, classes in turn: again from the first where a class has fewer, and any
    example where it has none."""
    of_class = [(labels == kind).nonzero().flatten() for kind in range(classes)]
    turns = [places if len(places) else torch.arange(len(labels)) for places in of_class]
    return torch.stack([places[turn % len(places)] for turn in range(4) for places in turns])


def _numbers(frame: pd.DataFrame) -> torch.Tensor:
    """A table as float64 [rows, columns]; categories by the order of their names."""
    columns = [
        frame[name].to_numpy(dtype="float64")
        if frame[name].dtype.kind in "iuf"
        else frame[name].astype("string").rank(method="dense").to_numpy(dtype="float64")
        for name in frame.columns
    ]
    return torch.from_numpy(np.stack(columns, axis=1))
