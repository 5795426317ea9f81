"""Pydantic's errors as messages for the person who wrote the experiment: field, value, rule, fix and where it was set."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ddpm_exp.loading.describe import describe
from ddpm_exp.spec.base import Spec
from ddpm_exp.spec.errors import UserError, UserErrors
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.fields import hint, home_of, members

OriginOf = Callable[[str], str | None]
"""Dotted path to where its value was set, if known."""


class _Place(NamedTuple):
    """Where in a spec an error's location points."""

    path: str
    """Relative to the validated class, without the tags that unions add."""
    owner: type[Spec]
    """The spec class that holds (or lacks) the field."""
    home: str
    """Path of `owner`."""
    annotation: Any
    """Type of the field; None where there is no such field."""
    metadata: Sequence[Any]


def to_user_error(
    error: ValidationError,
    cls: type[Spec],
    origin_of: OriginOf | None = None,
    prefix: str | None = None,
) -> UserError:
    """`error`, raised while validating `cls`, as one `UserError`, or `UserErrors` if it holds several.

    `prefix` is the dotted path of `cls` in the experiment; None takes the only place where an experiment holds `cls`,
    or else the class's name. Mistyped names get "did you mean", misplaced ones their path.
    """
    if prefix is None:
        known = "" if issubclass(cls, Experiment) else home_of(cls)
        prefix = cls.__name__ if known is None else known
    errors = [_one(detail, cls, prefix, origin_of) for detail in error.errors(include_url=False)]
    return errors[0] if len(errors) == 1 else UserErrors(errors)


def _one(detail: ErrorDetails, cls: type[Spec], prefix: str, origin_of: OriginOf | None) -> UserError:
    context = detail.get("ctx", {})
    rule_of_ours = detail["type"] == "rule"
    loc = (*detail["loc"], *str(context["field"]).split(".")) if rule_of_ours else detail["loc"]
    place = _locate(cls, loc, prefix)
    value = context["value"] if rule_of_ours else detail["input"]
    rule, fix = (context["rule"], context["fix"]) if rule_of_ours else _rule_and_fix(detail, place)
    return UserError(
        rule,
        field=place.path,
        value=None if detail["type"] == "missing" else value,
        fix=fix,
        origin=origin_of(place.path) if origin_of else None,
    )


def _locate(cls: type[Spec], loc: tuple[int | str, ...], prefix: str) -> _Place:
    owner, home, path = cls, prefix, prefix
    annotation: Any = cls
    metadata: Sequence[Any] = ()
    for step in loc:
        candidates = members(annotation)
        if isinstance(step, int):
            path += f"[{step}]"
            parts = get_args(annotation)
            annotation = parts[0] if parts[-1:] == (Ellipsis,) else parts[step] if step < len(parts) else None
            metadata = ()
            continue
        tagged = [member for member in candidates if _kind(member) == step]
        if tagged and len(candidates) > 1:
            annotation = tagged[0]
            continue
        owner, home = (candidates or (owner,))[0], path
        path = f"{path}.{step}" if path else step
        field = owner.model_fields.get(step)
        annotation, metadata = (field.annotation, field.metadata) if field else (None, ())
    return _Place(path, owner, home, annotation, metadata)


def _kind(cls: type[Spec]) -> object:
    return cls.model_fields["kind"].default if "kind" in cls.model_fields else None


def _rule_and_fix(detail: ErrorDetails, place: _Place) -> tuple[str, str | None]:
    name = str(detail["loc"][-1]) if detail["loc"] else place.owner.__name__
    match detail["type"]:
        case "extra_forbidden":
            return f"{place.owner.__name__} has no field '{name}'", hint(name, place.owner, place.home)
        case "missing":
            return f"{place.owner.__name__} needs it", f"give {place.path}: {describe(place.annotation, place.metadata)}"
        case "frozen_instance":
            return "an experiment's pieces never change once made", f"make a changed copy: .but({name}={detail['input']!r})"
    if place.annotation is None or detail["type"] in ("amount", "metric", "seeds"):
        rule, _, fix = detail["msg"].partition("; ")
        return rule, fix or None
    return _must_be(place), _fix(detail, place)


def _must_be(place: _Place) -> str:
    return f"must be {describe(place.annotation, place.metadata)}"


def _fix(detail: ErrorDetails, place: _Place) -> str | None:
    value, kind = detail["input"], detail["type"]
    choices = [str(option) for option in choices_of(place.annotation)]
    if place.path.rpartition(".")[2] == "kind":
        return f"a piece keeps its kind; write another class in place of {place.owner.__name__}(...), or override the kind by path"
    if isinstance(value, bool):
        return f"{value} is not a number; write one" if kind in ("int_type", "float_type") else "choose an accepted value"
    if choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        return f"did you mean '{near[0]}'?" if near and isinstance(value, str) else f"choose one of {', '.join(choices)}"
    if isinstance(value, float) and kind.startswith("int") and value.is_integer():
        return f"write {int(value)}"
    if isinstance(value, str) and kind in ("int_type", "float_type") and _numeric(value):
        return f"write {value.strip()} without quotes"
    if isinstance(value, list) and kind == "tuple_type":
        return f"write a tuple: {tuple(value)!r}"
    if kind == "finite_number":
        return "choose a finite number"
    if members(place.annotation):
        return "write such a piece, or change the one there is with .but(...)"
    return "choose a value in this range" if "than" in kind or kind == "too_short" else "write a value of this type"


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """The values of a field that accepts a few words or numbers only; else none."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) is tuple:
        return ()
    return tuple(choice for part in get_args(annotation) for choice in choices_of(part))


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
