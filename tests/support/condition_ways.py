"""Every kind of condition in every way that a network can take it in."""

from __future__ import annotations

from typing import Any, Literal, get_args

from ddpm_exp.models.inputs import ConditionInput

By = Literal["embedding", "concatenation", "cross-attention"]

SIZES: dict[str, dict[str, Any]] = {
    "class": {"classes": 10},
    "prompt": {"vocabulary": 20, "length": 6, "width": 16, "layers": 2},
    "states": {"length": 6, "width": 12},
    "values": {"count": 2},
}

WAYS = {f"{kind} by {by}": (ConditionInput(kind, by, **sizes),) for kind, sizes in SIZES.items() for by in get_args(By)}  # type: ignore[arg-type]
"""By name; an image, which goes by concatenation alone, is `network_inputs.HOLES`."""

ALL_AT_ONCE = (
    WAYS["class by concatenation"][0],
    WAYS["prompt by cross-attention"][0],
    WAYS["states by cross-attention"][0],
    WAYS["values by embedding"][0],
)
"""Four kinds, three ways, tokens of two of them."""
