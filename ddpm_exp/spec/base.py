"""The base class of everything that an experiment says: frozen, strict, validated again on every change."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Role(Enum):
    """What a field is for. Unmarked fields are science: they enter the science hash."""

    SCIENCE = "science"
    EXECUTION = "execution"
    """How the work is done (GPU, micro-batch, workers, logging): never changes what is learnt."""
    JUDGEMENT = "judgement"
    """How the result is judged (the decision): hashed on its own."""


EXECUTION = Role.EXECUTION
JUDGEMENT = Role.JUDGEMENT


class FirstDefault(NamedTuple):
    """Mark of a field whose default was changed: what it was at first (`Annotated[int, FirstDefault(1)]`).

    Hashes leave out what is as at first, so that recorded runs keep theirs, and the new default enters them like any choice."""

    value: object


class Spec(BaseModel):
    """A frozen piece of an experiment. `but` is the only way to a changed copy."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    def but(self, **changes: Any) -> Self:
        """The same piece with `changes`, validated as if written from scratch.

        Raises pydantic's `ValidationError` for unknown names, wrong types and broken rules.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**values, **changes})

    @classmethod
    def role_of(cls, field: str) -> Role:
        """The role that a field is marked with in its annotation (`Annotated[int, EXECUTION]`)."""
        for mark in cls.model_fields[field].metadata:
            if isinstance(mark, Role):
                return mark
        return Role.SCIENCE

    @classmethod
    def first_default(cls, field: str) -> object:
        """The default that the field had when it was added, which hashes leave out."""
        described = cls.model_fields[field]
        return next((mark.value for mark in described.metadata if isinstance(mark, FirstDefault)), described.default)


def broken(rule: str, *, field: str, value: object, fix: str) -> PydanticCustomError:
    """The error a validator raises for a rule across fields; `field` is relative to the validated class."""
    return PydanticCustomError(
        "rule",
        "{rule}; {fix}",
        {"rule": rule, "field": field, "value": value, "fix": fix},
    )


def require_belonging(piece: Spec, chosen: str, belongs: Mapping[str, tuple[str, ...]], *, kind: str) -> None:
    """Refuse a field that means nothing beside the `chosen` schedule, sampler, ...: it would be ignored.

    `belongs`: field to the choices that it means something for; beside any other it must stay at its default. `kind`: what
    the choice is called in the fix. Raises the `broken` error of the first such field.
    """
    for field, choices in belongs.items():
        default = type(piece).model_fields[field].default
        if chosen not in choices and getattr(piece, field) != default:
            raise broken(
                f"{field} belongs to {' and '.join(choices)}, and means nothing for {chosen}",
                field=field,
                value=getattr(piece, field),
                fix=f"leave it out (its default is {default!r}), or choose such a {kind}",
            )
