"""From a user's own words to what a network is told, and to captions. Knows no sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Facts
from ddpm_exp.data.parts import repeated
from ddpm_exp.data.pixels import to_model_range
from ddpm_exp.spec.errors import UserError

Asked = Mapping[str, Any] | str | int | Sequence[str | int] | None
"""Words label, prompt, values and image with what is said; or a plain class or prompt, or several, taken in turn."""

_WORDS = ("label", "prompt", "values", "image")


def words_of(asked: Asked, conditions: Conditions, shape: tuple[int, ...]) -> dict[str, Any]:
    """`asked` as keywords of `Conditions.said`, images as the network sees them.

    Raises UserError for a word that there is none of, and for a plain text or number where it could mean several things.
    """
    if asked is None:
        return {}
    if not isinstance(asked, Mapping):
        plain = [part.word for part in conditions.parts if part.word in ("label", "prompt")]
        if len(plain) != 1:
            told = " and ".join(part.word for part in conditions.parts) or "nothing"
            raise UserError(
                f"a plain text or number is a class or a prompt, and this network is told {told}",
                field="condition",
                value=asked,
                fix="say which word it is for, such as {'label': 3}" if conditions.parts else "leave the condition out",
            )
        return {plain[0]: asked}
    for word in asked:
        if word not in _WORDS:
            raise UserError(f"a condition is said by {', '.join(_WORDS)}", field="condition", value=word, fix="take one of these")
    words = {word: said for word, said in asked.items() if said is not None}
    if "image" in words:
        image, mask = words["image"] if isinstance(words["image"], tuple) else (words["image"], None)
        words["image"] = (as_seen(image, "image", len(shape)), None if mask is None else as_mask(mask, len(shape)))
    return words


def captions_of(words: Mapping[str, Any], facts: Facts, n: int) -> tuple[str, ...]:
    """What `words` say of each of `n` samples, for people; empty if they are no words."""
    told: list[list[str]] = []
    for word in ("label", "prompt"):
        if word in words:
            told.append([_name(said, facts) if word == "label" else str(said) for said in repeated(words[word], n)])
    for name, numbers in words.get("values", {}).items():
        told.append([f"{name} = {number:g}" for number in repeated(numbers, n)])
    return tuple(", ".join(parts) for parts in zip(*told, strict=True))


def _name(said: str | int, facts: Facts) -> str:
    number = said if isinstance(said, int) else int(said) if said.isdecimal() and said not in facts.class_names else None
    return str(said) if number is None else facts.class_names[number]


def as_seen(image: Any, field: str, dimensions: int) -> Tensor:
    """Float32 [N, *shape] from one example or several, as a tensor or an array: uint8 pixels 0..255, or floats as the network
    sees them, which for images are in [-1, 1]. Raises UserError for another range or number of dimensions."""
    x = torch.as_tensor(image)
    x = x[None] if x.dim() == dimensions else x
    if x.dim() != dimensions + 1:
        raise UserError(
            f"one example has {dimensions} dimensions, several have one more in front, and these are {tuple(x.shape)}",
            field=field,
            fix="for images, give [C, H, W] or [N, C, H, W]",
        )
    if x.dtype == torch.uint8:
        return to_model_range(x)
    x = x.float()
    if dimensions == 3 and not bool(((x >= -1.0001) & (x <= 1.0001)).all()):
        low, high = (float(bound) for bound in torch.aminmax(x))
        raise UserError(
            f"pixels are uint8 from 0 to 255 or floats from -1 to 1, and these floats reach from {low:g} to {high:g}",
            field=field,
            fix="give them as uint8, or scale them",
        )
    return x


def as_mask(mask: Any, dimensions: int) -> Tensor:
    """Float32 with the batch first, 1 where something is known: [N or 1, 1, H, W] for images, from that or [H, W] or [1, H, W]."""
    known = torch.as_tensor(mask).float()
    while known.dim() < dimensions + 1:
        known = known[None]
    return known


def part_of(told: dict[str, Tensor] | None, part: slice, device: torch.device) -> dict[str, Tensor] | None:
    """Some samples' share of a condition, on `device`."""
    return None if told is None else {word: tensor[part].to(device) for word, tensor in told.items()}
