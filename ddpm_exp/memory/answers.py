"""What operations answer on meta tensors, found by torch once for equal inputs: it takes torch most of a millisecond each time.

An answer on the meta device is its sizes, strides and type. Only answers in memory of their own are kept: no view, and nothing
of an operation that changes its input.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_MOST = 2**16
"""Answers that are kept; a network asks for a thousand or so."""

_PLAIN = (str, torch.dtype, torch.device, torch.layout, torch.memory_format, type(None))

_kept: dict[Hashable, Any] = {}


class _UnclearError(Exception):
    """An input that does not decide the answer by what is said of it."""


def answer(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`func(*args, **kwargs)` of an operation of torch: of equal tensors the same, as new ones."""
    if not _makes_new(func):
        return func(*args, **kwargs)
    try:
        question = func, _said(args), _said(tuple(kwargs.items())) if kwargs else ()
    except _UnclearError:
        return func(*args, **kwargs)
    if (found := _kept.get(question)) is not None:
        return _made(found)
    result = func(*args, **kwargs)
    if len(_kept) < _MOST and _is_new(result, (args, kwargs)):
        _kept[question] = _noted(result)
    return result


@lru_cache(maxsize=1024)
def _makes_new(func: Any) -> bool:
    """By its schema, which knows of nearly all views."""
    schema = func._schema
    return not schema.is_mutable and all(each.alias_info is None for each in schema.returns)


def _said(value: Any) -> Hashable:
    """All of an argument that can decide an answer's sizes, strides and type. Raises `_UnclearError`."""
    if isinstance(value, Tensor):
        if value.device.type != "meta":
            raise _UnclearError
        return value.shape, value.stride(), value.dtype
    if isinstance(value, list | tuple):
        return tuple([_said(each) for each in value])
    if isinstance(value, int | float):
        return type(value), value  # 1 == 1.0 == True, but they promote types differently
    if isinstance(value, _PLAIN):
        return value
    raise _UnclearError


def _is_new(result: Any, given: Any) -> bool:
    """Whether `result` is tensors on the meta device, each of which is all of a memory of its own."""
    if isinstance(result, tuple | list) and type(result) not in (tuple, list):
        return False
    memories = [tensor.untyped_storage()._cdata for tensor in tensors_in(given)]
    for tensor in tensors_in(result):
        memory = tensor.untyped_storage()
        if tensor.device.type != "meta" or memory._cdata in memories:
            return False
        if memory.nbytes() != _made(_noted(tensor)).untyped_storage().nbytes():
            return False
        memories.append(memory._cdata)
    return all(part is None or isinstance(part, Tensor) for part in (result if isinstance(result, tuple | list) else (result,)))


def tensors_in(value: Any) -> list[Tensor]:
    """Those of an operation's arguments or answers, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return []
    return [tensor for part in value for tensor in tensors_in(part)]


def _noted(result: Any) -> Any:
    if isinstance(result, tuple | list):
        return type(result), [_noted(each) for each in result]
    return None if result is None else (result.shape, result.stride(), result.dtype)


def _made(noted: Any) -> Any:
    if noted is None:
        return None
    if noted[0] in (tuple, list):
        return noted[0](_made(each) for each in noted[1])
    shape, stride, dtype = noted
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
