"""Amounts of memory as they are typed: `15GiB`, `16GB`."""

from __future__ import annotations

import re

from ddpm_exp.spec.errors import UserError

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}

_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)\s*")

_LEAST = 2**30
"""A CUDA context with its libraries takes most of this already."""


def memory_bytes(text: str, option: str) -> int:
    """Bytes that `text` means: `15GiB`, `15000MiB`, `14.75 GiB`, `16GB` (a power of ten). Raises UserError, naming `option`, for
    anything else, and for less than a GiB."""
    found = _AMOUNT.fullmatch(text)
    unit = _UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None:
        raise UserError(
            "an amount of memory is a number and a unit: GiB, MiB, GB or MB", field=option, value=text, fix=f"write {option} 15GiB"
        )
    size = int(float(found[1]) * unit)
    if size < _LEAST:
        raise UserError(
            "the CUDA context alone takes most of a GiB, so that nothing would fit",
            field=option,
            value=text,
            fix="name more, such as 15GiB",
        )
    return size
