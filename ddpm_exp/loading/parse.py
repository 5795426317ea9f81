"""Text of an override to a value of the target field's type. Ranges and rules are left to the spec's own validation."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin


def parse(text: str, annotation: Any) -> Any:
    """The value that `text` means for a field of type `annotation`; raises ValueError where it means none.

    Numbers, `true`/`false`, `none`, bare or quoted words, and tuples as `(1, 2)`, `[1, 2]` or `1,2`.
    """
    text = text.strip()
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return parse(text, parts[0])
    if origin in (Union, UnionType):
        return _first(text, sorted(parts, key=lambda part: part is not NoneType))
    if origin is Literal:
        return _choice(text, parts)
    if origin is tuple:
        return _tuple(text, parts)
    if annotation not in _SCALARS:
        raise ValueError(text)
    return _SCALARS[annotation](text)


def _first(text: str, parts: list[Any]) -> Any:
    for part in parts:
        try:
            return parse(text, part)
        except ValueError:
            continue
    raise ValueError(text)


def _choice(text: str, options: tuple[Any, ...]) -> Any:
    for option in options:
        if str(option) == _unquoted(text):
            return option
    raise ValueError(text)


def _tuple(text: str, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    words = _entries(text)
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(parse(word, parts[0]) for word in words)
    if len(words) != len(parts):
        raise ValueError(text)
    return tuple(parse(word, part) for word, part in zip(words, parts, strict=True))


def _entries(text: str) -> list[str]:
    """The entries of a written tuple or list, each as text again; a bare `1,2` counts as `(1,2)`."""
    bracketed = text[:1] + text[-1:] in ("()", "[]")
    if bracketed:
        for read in (ast.literal_eval, json.loads):
            try:
                value = read(text)
            except (ValueError, SyntaxError):
                continue
            # "(3)" is the number 3 to Python, and a tuple of one to a person who writes it for a tuple field
            return [repr(entry) for entry in (value if isinstance(value, list | tuple) else (value,))]
        text = text[1:-1]
    return [word.strip() for word in text.split(",") if word.strip()]


def _none(text: str) -> None:
    if text.lower() not in ("none", "null"):
        raise ValueError(text)


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _int(text: str) -> int:
    return int(text)


def _float(text: str) -> float:
    return float(text)


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        try:
            return str(ast.literal_eval(text))
        except SyntaxError:
            return text
    return text


_SCALARS: dict[Any, Callable[[str], Any]] = {NoneType: _none, bool: _bool, int: _int, float: _float, str: _unquoted}
