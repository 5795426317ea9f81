"""Amounts of training as users write them ("50 epochs", "5000 steps", "2000000 images") and their conversion to images."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

_PATTERN = re.compile(r"\s*([0-9][0-9_]{0,14}(?:\.[0-9]{1,6})?)\s*(images?|steps?|epochs?)\s*")
"""At most 15 digits and 6 decimals, so that the number is exact as a float and its canonical spelling reads back."""


def _split(text: str) -> tuple[float, str]:
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise PydanticCustomError(
            "amount",
            "an amount of training is a number and a unit, images, steps or epochs; write it like '50 epochs' or '20000 images'",
        )
    number = float(found[1].replace("_", ""))
    return number, found[2].rstrip("s") + "s"


def _canonical(text: str) -> str:
    number, unit = _split(text)
    return f"{number:.6f}".rstrip("0").rstrip(".") + f" {unit}"


Amount = Annotated[str, AfterValidator(_canonical)]
"""An amount of training: `"50 epochs"`, `"5000 steps"` or `"2000000 images"`; stored in canonical spelling."""


def _positive(text: str) -> str:
    if _split(text)[0] == 0:
        raise PydanticCustomError("amount", "this amount must be more than 0; write it like '1 epochs'")
    return text


PositiveAmount = Annotated[Amount, AfterValidator(_positive)]
"""An amount that is not zero."""


def to_images(amount: str, *, images_per_step: int, images_per_epoch: int) -> int:
    """`amount` in images seen, rounded up to whole steps of the optimizer.

    An epoch is `images_per_epoch` images: as many as the training set holds. 0 stays 0.
    """
    number, unit = _split(amount)
    factor = {"images": 1, "steps": images_per_step, "epochs": images_per_epoch}[unit]
    return math.ceil(round(number * factor, 6) / images_per_step) * images_per_step
