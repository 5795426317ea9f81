"""`--price`: what an hour of a GPU costs. Knows no currency and no cloud's prices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.hardware import find_gpu, gpu_names

OPTION = "--price"
EVERY = ""
"""The key of a price that holds for all GPUs that have none of their own."""


def hourly_prices(words: Sequence[str]) -> dict[str, float]:
    """Price per hour of one device by catalogue name, `EVERY` for all others, from `T4=0.35`, `T4=0.35,L4=0.7` or `0.35`.

    Raises UserError for what is no price, for an unknown GPU, and for two prices of one.
    """
    prices: dict[str, float] = {}
    for word in (part.strip() for text in words for part in text.split(",")):
        name, equals, amount = word.rpartition("=")
        price = _amount(amount, word)
        try:
            key = find_gpu(name).name if equals else EVERY
        except KeyError:
            raise UserError(
                f"a GPU is one of {', '.join(gpu_names())}", field=OPTION, value=word, fix=f"write {OPTION} T4={amount}"
            ) from None
        if prices.get(key, price) != price:
            whose = f"of {key}" if key else "for every GPU"
            raise UserError(f"there are two prices {whose}", field=OPTION, value=word, fix="leave one out")
        prices[key] = price
    return prices


def price_of(name: str, prices: Mapping[str, float]) -> float | None:
    """What an hour of the GPU costs; None where nobody said."""
    return prices.get(name, prices.get(EVERY))


def _amount(text: str, word: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not (math.isfinite(price) and price >= 0):
        fix = f"write {OPTION} T4=0.35, or {OPTION} 0.35 for every GPU"
        raise UserError("a price is a number per hour of one GPU, not negative", field=OPTION, value=word, fix=fix)
    return price
