"""What every single part of a condition can do; one file per kind implements it. Not how a network reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.data.examples import Batch
from ddpm_exp.data.order import Draw


@dataclass(frozen=True)
class Draws:
    """The draws of one part, under purposes of its own: two parts of one condition never share a number."""

    draw: Draw
    prefix: str

    def __call__(self, seed: int, name: str, ordinals: Tensor, *shape: int) -> Tensor:
        """Uniform float32 [B, *shape], as `Draw`, for the purpose `name` of this part."""
        return self.draw(seed, f"{self.prefix}/{name}", ordinals, *shape)

    def hidden(self, seed: int, ordinals: Tensor, dropout: float) -> Tensor:
        """bool [B]: whose whole part is hidden, each with probability `dropout` on its own."""
        return self(seed, "dropout", ordinals) < dropout


class Part(ABC):
    """One kind of condition: of training examples (random, keyed by ordinal), of samples (fixed), and hidden."""

    word: str
    """The word of `Conditions.said` that a user says it with."""

    dropout: float
    """Probability that training hides it."""

    @property
    @abstractmethod
    def input(self) -> dict[str, Any]:
        """Fields of `models.build.ConditionInput` that are not zero."""

    @property
    def key(self) -> str:
        """Its key in the dict that networks are given."""
        return str(self.input["kind"])

    @abstractmethod
    def null(self, n: int, device: torch.device | str) -> Tensor:
        """`n` conditions that say nothing."""

    @abstractmethod
    def train(self, batch: Batch, seed: int, ordinals: Tensor) -> Tensor:
        """Conditions of `batch` with dropout; `ordinals` int64 [B] on the batch's device."""

    @abstractmethod
    def fixed(self, batch: Batch, device: torch.device | str, held_out: bool, turns: Tensor | None) -> Tensor:
        """Conditions without dropout; see `Conditions.fixed`."""

    @abstractmethod
    def texts(self, batch: Batch, held_out: bool, turns: Tensor | None) -> list[str]:
        """What `fixed` says, as captions; "" where words do not tell it."""

    @abstractmethod
    def said(self, n: int, device: torch.device | str, said: Any) -> Tensor:
        """What a user says of `n` samples; fewer sayings are repeated in turn. Raises UserError for what it cannot mean."""


def repeated(said: Any, n: int) -> list[Any]:
    """A single saying or several, in turn, `n` times."""
    several = [said] if isinstance(said, str | int | float) else list(said)
    return [several[k % len(several)] for k in range(n)] if several else []
