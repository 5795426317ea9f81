"""Numbers about each example, standardised, each with a flag that tells it from a missing one."""

from __future__ import annotations

import difflib
import math
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.data.examples import Batch, Facts
from ddpm_exp.data.parts import Draws, Part, repeated
from ddpm_exp.spec.condition import ContinuousValues
from ddpm_exp.spec.errors import UserError


class ValuesPart(Part):
    """float32 [B, 2 K]: K standardised values, 0 where missing, then K flags, 1 where present. All zero is null."""

    word = "values"

    def __init__(self, condition: ContinuousValues, facts: Facts, draws: Draws) -> None:
        if facts.value_names != condition.names:
            raise ValueError(f"data loaded for the values {facts.value_names} cannot tell {condition.names}")
        self._spec, self._facts, self._draws, self.dropout = condition, facts, draws, condition.dropout

    @property
    def input(self) -> dict[str, Any]:
        return {"kind": "values", "by": self._spec.by, "count": len(self._spec.names)}

    def null(self, n: int, device: torch.device | str) -> Tensor:
        return torch.zeros(n, 2 * len(self._spec.names), device=device)

    def train(self, batch: Batch, seed: int, ordinals: Tensor) -> Tensor:
        return _flagged(batch).masked_fill(self._draws.hidden(seed, ordinals, self.dropout)[:, None], 0.0)

    def fixed(self, batch: Batch, device: torch.device | str, held_out: bool, turns: Tensor | None) -> Tensor:
        return _flagged(batch).to(device)

    def texts(self, batch: Batch, held_out: bool, turns: Tensor | None) -> list[str]:
        rows = _known(batch).double().cpu() * torch.tensor(self._facts.value_stds).double()
        rows = rows + torch.tensor(self._facts.value_means).double()
        return [
            ", ".join(f"{name} {value:.4g}" for name, value in zip(self._spec.names, row, strict=True) if not math.isnan(value))
            for row in rows.tolist()
        ]

    def said(self, n: int, device: torch.device | str, said: Any) -> Tensor:
        """`said`: each name's number, or numbers in turn, in its own unit; all names, as training hides all or none."""
        for name in said:
            if name not in self._spec.names:
                near = difflib.get_close_matches(name, self._spec.names, n=1) or [", ".join(self._spec.names)]
                raise UserError("the network was not told of this value", field="values", value=name, fix=f"say {near[0]}")
        missing = [name for name in self._spec.names if name not in said]
        if missing:
            raise UserError(
                "the network was told all values or none in training",
                field="values",
                value=tuple(said),
                fix=f"say {', '.join(missing)} too",
            )
        columns = []
        for name, mean, std in zip(self._spec.names, self._facts.value_means, self._facts.value_stds, strict=True):
            numbers = [float(number) for number in repeated(said[name], n)]
            if not all(map(math.isfinite, numbers)):
                raise UserError("a value is a finite number", field=f"values.{name}", value=said[name], fix="write a number")
            columns.append([(number - mean) / std for number in numbers])
        values = torch.tensor(columns, dtype=torch.float32, device=device).T
        return torch.cat([values, torch.ones_like(values)], dim=1)


def _known(batch: Batch) -> Tensor:
    if batch.values is None:
        raise TypeError("conditions are made from values, but there are none")
    return batch.values


def _flagged(batch: Batch) -> Tensor:
    values = _known(batch)
    present = ~torch.isnan(values)
    return torch.cat([torch.where(present, values, 0.0), present.float()], dim=1)
