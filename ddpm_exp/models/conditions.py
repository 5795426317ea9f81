"""What a network is told about each example, part by part: features to add, tokens to look at, channels beside its input."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ddpm_exp.models.condition_parts import ClassFeatures, StateFeatures, ValueFeatures, ValueTokens
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.models.text import TextEncoder

BESIDE = 32
"""Channels that a class, a prompt or values become beside the input (guide 002, conditioning by concatenation)."""


class Encoded(NamedTuple):
    """A condition in the three ways that a network takes it in; None where no part goes that way."""

    embedding: Tensor | None
    """[B, E], to be added to the time embedding: the sum over parts."""

    tokens: Tensor | None
    """[B, L, W], to be looked at: the parts' tokens one after the other."""

    visible: Tensor | None
    """Bool [B, L], which tokens are there, one of each row at least; None: all of them."""

    channels: Tensor | None
    """[B, C', H, W] with an image among the parts, else [B, C'], the same at every place."""


class ConditionEncoder(nn.Module):
    """Each part through a module named after its kind, then together (guide 002).

    `embedding` is the width of features that are added, `token_width` that of tokens. `channels`, an attribute, counts the
    channels beside the input. Initial weights are torch's own, drawn in the order of `inputs`.

    Raises ValueError for two parts of one kind, an image by anything but concatenation, or no parts at all.
    """

    def __init__(self, inputs: tuple[ConditionInput, ...], *, embedding: int, token_width: int) -> None:
        super().__init__()
        kinds = [part.kind for part in inputs]
        if not inputs or len(set(kinds)) < len(kinds):
            raise ValueError(f"a condition has one part or more, each kind once, not {kinds}")
        self.inputs = inputs
        self.channels = 0
        for part in inputs:
            if part.by == "concatenation":
                self.channels += part.channels if part.kind == "image" else BESIDE
            if part.kind != "image":
                width = {"embedding": embedding, "concatenation": BESIDE, "cross-attention": token_width}[part.by]
                self.add_module(f"{part.kind}_part", _module(part, width))  # "class" alone is no name that torch.export can write
            elif part.by != "concatenation":
                raise ValueError(f"an image is told by concatenation, not by {part.by}")

    def forward(self, condition: dict[str, Tensor]) -> Encoded:
        """From one tensor per part, under its kind, as `build.ConditionInput` says.

        Raises ValueError, naming them, for parts that are missing or that the network was not built for.
        """
        self._check(condition)
        added: Tensor | None = None
        beside: list[Tensor] = []
        looked: list[tuple[Tensor, Tensor | None]] = []
        for part in self.inputs:
            given = condition[part.kind]
            if part.kind == "image":
                beside.append(given)
                continue
            module = getattr(self, f"{part.kind}_part")
            if part.by == "cross-attention":
                looked.append(module.tokens(given))
            elif part.by == "concatenation":
                beside.append(module(given))
            else:
                added = module(given) if added is None else added + module(given)
        tokens, visible = _one_after_the_other(looked)
        return Encoded(added, tokens, visible, _side_by_side(beside))

    def _check(self, condition: dict[str, Tensor]) -> None:
        known = [part.kind for part in self.inputs]
        missing = [kind for kind in known if kind not in condition]
        unexpected = [kind for kind in condition if kind not in known]
        if missing or unexpected:
            raise ValueError(
                f"the condition's parts are {', '.join(known)}"
                + (f"; missing: {', '.join(missing)}" if missing else "")
                + (f"; not built for: {', '.join(unexpected)}" if unexpected else "")
            )


def _module(part: ConditionInput, out: int) -> nn.Module:
    if part.kind == "class":
        return ClassFeatures(part.classes, out)
    if part.kind == "prompt":
        return TextEncoder(vocabulary=part.vocabulary, length=part.length, width=part.width, layers=part.layers, out=out)
    if part.kind == "states":
        return StateFeatures(part.width, out)
    if part.by == "cross-attention":
        return ValueTokens(part.count, out)
    return ValueFeatures(part.count, out, layers=1 if part.by == "concatenation" else 2)


def _one_after_the_other(parts: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor | None, Tensor | None]:
    if len(parts) <= 1:
        return parts[0] if parts else (None, None)
    tokens = torch.cat([x for x, _ in parts], dim=1)
    if all(visible is None for _, visible in parts):
        return tokens, None
    masks = [x.new_ones(x.shape[:2], dtype=torch.bool) if visible is None else visible for x, visible in parts]
    return tokens, torch.cat(masks, dim=1)


def _side_by_side(parts: list[Tensor]) -> Tensor | None:
    """Vectors [B, K] are spread over the pixels of the image among the parts, if there is one."""
    if not parts:
        return None
    sides = next((part.shape[2:] for part in parts if part.dim() == 4), None)
    if sides is not None:
        parts = [part if part.dim() == 4 else part[:, :, None, None].expand(-1, -1, *sides) for part in parts]
    return torch.cat(parts, dim=1)
