"""What the network is told about each example: nothing, or one tensor per part of the condition. Not how it reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.data.class_part import ClassPart
from ddpm_exp.data.examples import Batch, Facts
from ddpm_exp.data.image_part import ImagePart
from ddpm_exp.data.order import Draw
from ddpm_exp.data.parts import Draws, Part
from ddpm_exp.data.prompt_part import PromptPart
from ddpm_exp.data.values_part import ValuesPart
from ddpm_exp.spec.condition import ClassLabels, Condition, ContinuousValues, ImageCondition, Prompts, Several, parts_of
from ddpm_exp.spec.errors import UserError


class Conditions:
    """Conditions of training examples (random, keyed by ordinal), of samples (fixed), of a user's own words, and the null
    condition of guidance. Each is a dict with one tensor per part, batch first; None for an unconditional network."""

    def __init__(self, parts: tuple[Part, ...], together: Draws | None = None, dropout: float = 0.0) -> None:
        """`together`: draws for hiding all parts at once, each example with the probability `dropout`."""
        self.parts, self._together, self._dropout = parts, together, dropout
        self.inputs: tuple[dict[str, Any], ...] = tuple(part.input for part in parts)
        """Fields of one `models.build.ConditionInput` per part; those left out are zero."""

    def null(self, n: int, device: torch.device | str) -> dict[str, Tensor] | None:
        """`n` conditions that say nothing: all parts hidden."""
        return {part.key: part.null(n, device) for part in self.parts} or None

    def train(self, batch: Batch, seed: int, ordinals: Tensor) -> dict[str, Tensor] | None:
        """Conditions of `batch`, on its device. Each part is hidden per example with its own dropout, and all of several together
        with theirs, keyed by (seed, ordinal); `ordinals`: int64 [B]."""
        ordinals = ordinals.to(batch.x0.device, non_blocking=True)
        told = {part.key: part.train(batch, seed, ordinals) for part in self.parts}
        if self._together is not None:
            hidden = self._together.hidden(seed, ordinals, self._dropout)
            for part in self.parts:
                said = told[part.key]
                nothing = part.null(len(ordinals), said.device)
                told[part.key] = torch.where(hidden.view(-1, *(1,) * (said.dim() - 1)), nothing, said)
        return told or None

    def fixed(
        self, batch: Batch, device: torch.device | str, held_out: bool = False, turns: Tensor | None = None
    ) -> dict[str, Tensor] | None:
        """Conditions without dropout. The k-th prompt uses template `turns[k]` (int64 [N], default 0, 1, ...) modulo their
        number; `held_out` takes the templates never trained on. Holes are of mean size, in the middle."""
        return {part.key: part.fixed(batch, device, held_out, turns) for part in self.parts} or None

    def texts(self, batch: Batch, held_out: bool = False, turns: Tensor | None = None) -> list[str]:
        """What `fixed` says, as captions; "" where it says nothing that words tell."""
        told = [part.texts(batch, held_out, turns) for part in self.parts]
        return [", ".join(filter(None, texts)) for texts in zip(*told, strict=True)] if told else [""] * len(batch.x0)

    def said(
        self,
        n: int,
        device: torch.device | str,
        *,
        label: int | str | Sequence[int | str] | None = None,
        prompt: str | Sequence[str] | None = None,
        values: Mapping[str, float | Sequence[float]] | None = None,
        image: tuple[Tensor, Tensor | None] | None = None,
    ) -> dict[str, Tensor] | None:
        """A user's own condition for `n` samples; what is not said is hidden. Fewer sayings than samples are repeated in turn.

        `label`: class names or numbers. `values`: numbers in their own units, by name. `image`: (image [n or 1, C, H, W] in
        [-1, 1], mask [n or 1, 1, H, W], 1 where it is known); for super-resolution (small or full image, None).
        Raises UserError for what the network was never told of, and for leaving out what training never hid.
        """
        words = {"label": label, "prompt": prompt, "values": values, "image": image}
        told = {word: value for word, value in words.items() if value is not None}
        ours = {part.word: part for part in self.parts}
        for word in told:
            if word not in ours:
                has = " and ".join(ours) or "nothing"
                raise UserError(f"this network is told {has}", field=word, value=None, fix=f"leave {word} out")
        for word, part in ours.items():
            if word not in told and part.dropout == 0:
                raise UserError(
                    f"training never hid the {word} (its dropout is 0), so it must be said", field=word, fix=f"say the {word}"
                )
        return {p.key: p.said(n, device, told[p.word]) if p.word in told else p.null(n, device) for p in self.parts} or None


def build_conditions(condition: Condition, facts: Facts, draw: Draw) -> Conditions:
    """Conditions for data of these facts. Raises UserError if the data lacks what the condition needs.

    A part of several has draws of its own; a single one keeps the purposes it always had.
    """
    if isinstance(condition, Several):
        parts = tuple(_part(part, facts, Draws(draw, f"condition/{part.kind}")) for part in condition.of)
        return Conditions(parts, Draws(draw, "condition"), condition.dropout)
    return Conditions(tuple(_part(part, facts, Draws(draw, "condition")) for part in parts_of(condition)))


def _part(condition: ClassLabels | Prompts | ImageCondition | ContinuousValues, facts: Facts, draws: Draws) -> Part:
    if isinstance(condition, ImageCondition):
        return ImagePart(condition, facts.shape, draws)
    if isinstance(condition, ContinuousValues):
        return ValuesPart(condition, facts, draws)
    if not facts.class_names:
        raise UserError(
            "the data has no classes to condition on",
            field="condition",
            value=condition.kind,
            fix=(
                "sort every image of a folder into sub-folders, one per class; name a table's data.label; "
                "or set condition to ContinuousValues() or Unconditional()"
            ),
        )
    if isinstance(condition, ClassLabels):
        return ClassPart(condition, facts.class_names, draws)
    if condition.encoder == "embedded":
        return PromptPart(condition, facts.class_names, draws)
    from ddpm_exp.data.frozen_text import StatesPart

    return StatesPart(condition, facts.class_names, draws)
