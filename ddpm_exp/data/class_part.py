"""The class of each example as an integer; one more label, the last, is null."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.data.examples import Batch
from ddpm_exp.data.parts import Draws, Part, repeated
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.errors import UserError


class ClassPart(Part):
    """int64 [B]; the number of classes is null."""

    word = "label"

    def __init__(self, condition: ClassLabels, class_names: tuple[str, ...], draws: Draws) -> None:
        self._spec, self._names, self._draws = condition, class_names, draws
        self.dropout = condition.dropout

    @property
    def input(self) -> dict[str, Any]:
        return {"kind": "class", "by": self._spec.by, "classes": len(self._names)}

    def null(self, n: int, device: torch.device | str) -> Tensor:
        return torch.full((n,), len(self._names), dtype=torch.int64, device=device)

    def train(self, batch: Batch, seed: int, ordinals: Tensor) -> Tensor:
        labels = known(batch.labels)
        return torch.where(self._draws.hidden(seed, ordinals, self.dropout), len(self._names), labels)

    def fixed(self, batch: Batch, device: torch.device | str, held_out: bool, turns: Tensor | None) -> Tensor:
        return known(batch.labels).to(device)

    def texts(self, batch: Batch, held_out: bool, turns: Tensor | None) -> list[str]:
        return [self._names[label] for label in known(batch.labels).tolist()]

    def said(self, n: int, device: torch.device | str, said: Any) -> Tensor:
        return torch.tensor([self._label(name) for name in repeated(said, n)], dtype=torch.int64, device=device)

    def _label(self, name: int | str) -> int:
        """Of a class by its name, or by its number."""
        if isinstance(name, str) and name in self._names:
            return self._names.index(name)
        number = int(name) if not isinstance(name, str) or name.isdecimal() else -1
        if 0 <= number < len(self._names):
            return number
        near = difflib.get_close_matches(str(name), self._names, n=1)
        raise UserError(
            f"the classes are {_some(self._names)}",
            field="label",
            value=name,
            fix=f"did you mean {near[0]!r}?" if near else f"name one of these, or its number, 0 to {len(self._names) - 1}",
        )


def known(labels: Tensor | None) -> Tensor:
    """The labels, where there must be some."""
    if labels is None:
        raise TypeError("conditions are made from labels, but there are none")
    return labels


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
