"""What a network is told beside the noise level, as sizes: the networks are built from it. No tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ConditionInput:
    """One part of what a network is told, under the key `kind` of its condition. Sizes that a kind does not use stay 0.

    | kind | the tensor | hidden |
    |---|---|---|
    | class | int64 [B] | label `classes` |
    | prompt | token ids, int64 [B, length]: 0 is padding, 1 an unknown word | padding alone |
    | states | token states, float [B, length, width + 1], the last feature 1 where a word is | zeros |
    | image | float [B, channels, H, W], the last channel says where something is known | zeros |
    | values | float [B, 2 count]: standardised values, then 1 where one is said | zeros |
    """

    kind: Literal["class", "prompt", "states", "image", "values"]
    by: Literal["embedding", "concatenation", "cross-attention"]
    classes: int = 0
    vocabulary: int = 0
    length: int = 0
    width: int = 0
    layers: int = 0
    """Transformer layers of the text encoder that is trained with the network."""

    channels: int = 0
    count: int = 0
