"""What a field accepts, in words: one sentence for every message about a value of the wrong type or range."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen

from ddpm_exp.spec.base import Spec
from ddpm_exp.spec.progress import Amount

_AMOUNT = get_args(Amount)[1]


def describe(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A noun phrase such as "a number > 0 and <= 0.1", to follow "must be"."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(parts[0], [*parts[1:], *metadata])
    if origin in (Union, UnionType):
        return " or ".join(describe(part, metadata) for part in sorted(parts, key=lambda part: part is NoneType))
    if origin is Literal:
        options = [repr(option) for option in parts]
        return options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    if origin is tuple:
        return _describe_tuple(parts, metadata)
    if any(mark == _AMOUNT for mark in metadata):
        return "an amount of training such as '50 epochs', '5000 steps' or '20000 images'"
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return f"{annotation.__name__}(...)"
    words = {NoneType: "None", bool: "True or False", int: "a whole number", float: "a number", str: "text"}
    return words.get(annotation, str(annotation)) + _bounds(metadata)


def _describe_tuple(parts: tuple[Any, ...], metadata: Sequence[Any]) -> str:
    if len(parts) == 2 and parts[1] is Ellipsis:
        least = max((mark.min_length for mark in metadata if isinstance(mark, MinLen)), default=0)
        return f"a tuple{f' with at least {least} entry' if least == 1 else ''}, each entry {describe(parts[0])}"
    return f"a tuple of {len(parts)}: {', '.join(describe(part) for part in parts)}"


def _bounds(metadata: Sequence[Any]) -> str:
    words = {Gt: (">", "gt"), Ge: (">=", "ge"), Lt: ("<", "lt"), Le: ("<=", "le")}
    bounds = []
    for mark in metadata:
        for kind, (word, attribute) in words.items():
            if isinstance(mark, kind):
                bounds.append(f"{word} {getattr(mark, attribute):g}")
    return f" {' and '.join(bounds)}" if bounds else ""
