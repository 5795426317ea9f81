"""What networks are fed with in tests: one small condition of each kind, and tensors for it."""

from __future__ import annotations

import torch
from torch import Tensor

from ddpm_exp.models.inputs import ConditionInput

NONE: tuple[ConditionInput, ...] = ()
CLASSES = (ConditionInput("class", "embedding", classes=10),)
PROMPTS = (ConditionInput("prompt", "embedding", vocabulary=20, length=6, width=16, layers=2),)
WORDS = (ConditionInput("prompt", "cross-attention", vocabulary=20, length=6, width=16, layers=2),)
STATES = (ConditionInput("states", "cross-attention", length=6, width=12),)
HOLES = (ConditionInput("image", "concatenation", channels=2),)
VALUES = (ConditionInput("values", "embedding", count=2),)
BESIDE = (ConditionInput("class", "concatenation", classes=10),)
SEVERAL = (CLASSES[0], HOLES[0], WORDS[0], VALUES[0])

EVERY = {
    "none": NONE,
    "class": CLASSES,
    "prompt": PROMPTS,
    "words": WORDS,
    "states": STATES,
    "holes": HOLES,
    "values": VALUES,
    "beside": BESIDE,
    "several": SEVERAL,
}
"""By name, for `pytest.mark.parametrize`."""


def conditions(inputs: tuple[ConditionInput, ...], count: int = 3, side: int = 8) -> dict[str, Tensor] | None:
    """A condition for `count` examples, the last of which is told nothing; None for a network without."""
    return {part.kind: _tensor(part, count, side) for part in inputs} or None


def _tensor(part: ConditionInput, count: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    if part.kind == "class":
        labels = torch.arange(count) % part.classes
        labels[-1] = part.classes
        return labels
    if part.kind == "prompt":
        tokens = torch.randint(1, part.vocabulary, (count, part.length), generator=generator)
        tokens[0, 3:] = 0
        tokens[-1] = 0
        return tokens
    shape = {
        "states": (part.length, part.width + 1),
        "image": (part.channels, side, side),
        "values": (2 * part.count,),
    }[part.kind]
    values = torch.randn(count, *shape, generator=generator)
    if part.kind == "states":
        values[..., -1] = 1.0
        values[0, 3:] = 0.0
    elif part.kind == "image":
        values[:, -1] = (values[:, -1] > 0).float()
        values[:, :-1] *= values[:, -1:]
    else:
        values[:, part.count :] = 1.0
    values[-1] = 0.0
    return values
