"""`path=value` words applied to an experiment: the one parser for the command line and for sweeps."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from ddpm_exp.loading.describe import describe
from ddpm_exp.loading.parse import parse
from ddpm_exp.loading.translate import OriginOf, choices_of, to_user_error
from ddpm_exp.spec.base import Role, Spec
from ddpm_exp.spec.errors import UserError, UserErrors
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.fields import all_sites, hint, members

_CHOOSE = "choose one of these"
_EXAMPLE = "write path=value, such as training.learning_rate=3e-4"


class _Override(NamedTuple):
    text: str
    path: str
    value: str


_Tree = dict[str, "_Override | _Tree"]


def apply_overrides(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """`experiment` with each `path=value` applied, every changed piece validated once with all its changes.

    Values are read by the field's type (see `parse`). `data.kind=cifar10` changes the kind: science fields that both
    kinds declare alike keep their value, the others start from their defaults. A field of an absent piece
    (`evaluation.fid.images=1000`) creates it. Raises `UserError` naming each override that is wrong.
    """
    return apply_with_origins(experiment, overrides, None)


def apply_with_origins(experiment: Experiment, overrides: Sequence[str], origin_of: OriginOf | None) -> Experiment:
    """As `apply_overrides`; `origin_of` says where values came from that no override set."""
    if not overrides:
        return experiment
    errors: list[UserError] = []
    tree = _tree(overrides, errors)
    given = {override.path: override for override in _leaves(tree)}

    def origin(path: str) -> str | None:
        if path in given:
            return f"override {given[path].text}"
        known = origin_of(path) if origin_of else None
        return f"{known}, with {_and(given)}" if known else _and(given)

    changed = _Rebuild(origin, errors).piece(experiment, (type(experiment),), tree, "")
    if errors:
        raise errors[0] if len(errors) == 1 else UserErrors(errors)
    assert isinstance(changed, Experiment)
    return changed


def override_paths(overrides: Sequence[str]) -> dict[str, str]:
    """Dotted path to the override as typed, of overrides that were applied."""
    return {text.partition("=")[0].strip(): text for text in overrides}


def _and(given: dict[str, _Override]) -> str:
    return f"override{'s' if len(given) > 1 else ''} {', '.join(override.text for override in given.values())}"


def _tree(overrides: Sequence[str], errors: list[UserError]) -> _Tree:
    tree: _Tree = {}
    for text in overrides:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals or not path:
            errors.append(UserError("an override is a path and a value", field=text, fix=_EXAMPLE))
            continue
        if path.startswith("-"):
            errors.append(UserError("an override has no hyphens in front", field=text, fix=f"write {text.lstrip('-')}"))
            continue
        *homes, name = path.split(".")
        branch: Any = tree
        for home in homes:
            branch = branch.setdefault(home, {}) if isinstance(branch, dict) else branch
        if not isinstance(branch, dict) or name in branch:
            errors.append(
                UserError("overridden twice", field=path, value=value, fix="give each path once", origin=f"override {text}")
            )
            continue
        branch[name] = _Override(text, path, value)
    return tree


def _leaves(tree: _Tree) -> list[_Override]:
    return [leaf for node in tree.values() for leaf in (_leaves(node) if isinstance(node, dict) else [node])]


class _Rebuild:
    """Rebuilds changed pieces from the inside out; what is wrong is collected, so that one pass reports everything."""

    def __init__(self, origin_of: OriginOf, errors: list[UserError]) -> None:
        self._origin_of = origin_of
        self._errors = errors

    def piece(self, now: Spec | None, options: tuple[type[Spec], ...], changes: _Tree, path: str) -> Spec | None:
        """The piece at `path`, which is `now` and may be any of `options`, with `changes`; None if that failed."""
        before = len(self._errors)
        cls = self._class(now, options, changes, path)
        if cls is None:
            return None
        values = _kept(now, cls)
        for name, change in changes.items():
            if name not in cls.model_fields:
                self._unknown(name, change, cls, path)
            elif name != "kind":
                values[name] = self._field(now, cls, name, change, f"{path}.{name}" if path else name)
        if len(self._errors) > before:
            return None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = to_user_error(error, cls, self._origin_of, prefix=path)
            self._errors.extend(problem.errors if isinstance(problem, UserErrors) else [problem])
            return None

    def _class(self, now: Spec | None, options: tuple[type[Spec], ...], changes: _Tree, path: str) -> type[Spec] | None:
        kinds = {cls.model_fields["kind"].default: cls for cls in options if "kind" in cls.model_fields}
        change = changes.get("kind")
        if isinstance(change, _Override) and kinds:
            if change.value.strip() in kinds:
                return kinds[change.value.strip()]
            near = difflib.get_close_matches(change.value, kinds, n=1)
            self._refuse(change, f"must be one of {', '.join(kinds)}", f"did you mean {path}.kind={near[0]}?" if near else _CHOOSE)
            return None
        if now is not None:
            return type(now)
        if len(options) == 1:
            needs = [name for name, field in options[0].model_fields.items() if field.is_required() and name not in changes]
            if not needs:
                return options[0]
            rule = f"there is no {path}, and a new one needs {', '.join(needs)}"
            self._refuse(_leaves(changes)[0], rule, f"write {path} = {options[0].__name__}(...) in the experiment's file")
            return None
        self._refuse(_leaves(changes)[0], "this piece is absent and has several kinds", f"set {path}.kind as well")
        return None

    def _field(self, now: Spec | None, cls: type[Spec], name: str, change: _Override | _Tree, path: str) -> Any:
        field = cls.model_fields[name]
        options = members(field.annotation)
        present = getattr(now, name, None)
        if isinstance(change, dict):
            if options:
                return self.piece(present if isinstance(present, Spec) else None, options, change, path)
            if _in_file_only(field.annotation):
                self._refuse(_leaves(change)[0], f"{path} is written in the experiment's file only", "edit it there")
            else:
                self._refuse(_leaves(change)[0], f"{path} is a single value and has no fields", f"write {path}=value")
            return None
        try:
            return parse(change.value, field.annotation)
        except ValueError:
            if options:
                inside = "kind" if "kind" in options[0].model_fields else next(iter(options[0].model_fields))
                meant = re.split(r"\W", change.value.strip(), maxsplit=1)[0]
                kinds = {cls.__name__: str(cls.model_fields["kind"].default) for cls in options} if inside == "kind" else {}
                said = kinds.get(meant, meant if meant in kinds.values() else "...")
                self._refuse(
                    change, f"{path} is a piece with fields of its own", f"set its fields one by one: {path}.{inside}={said}"
                )
            elif _in_file_only(field.annotation):
                self._refuse(change, "is written in the experiment's file only", "edit it there")
            else:
                choices = [str(choice) for choice in choices_of(field.annotation)]
                near = difflib.get_close_matches(change.value, choices, n=1)
                near = near or [choice for choice in choices if change.value and choice.startswith(change.value)][:1]
                fix = f"write it like {path}={_written(present)}" if present is not None else "write a value of this type"
                fix = f"did you mean {path}={near[0]}?" if near else fix
                self._refuse(change, f"must be {describe(field.annotation, field.metadata)}", fix)
            return None

    def _unknown(self, name: str, change: _Override | _Tree, cls: type[Spec], path: str) -> None:
        for override in _leaves({name: change}):
            meant = [site.path for site in all_sites() if site.path.endswith(f".{override.path}")]
            if not meant and not isinstance(change, dict) and not any(site.name == name for site in all_sites()):
                meant = [f"{path}.{near}" for near in difflib.get_close_matches(name, cls.model_fields, n=1) if path]
            fix = f"did you mean {' or '.join(dict.fromkeys(meant))}?" if meant else hint(name, cls, path)
            rule = f"{path or 'an experiment'} has no field '{name}'"
            self._errors.append(UserError(rule, field=override.path, fix=fix, origin=f"override {override.text}"))

    def _refuse(self, override: _Override, rule: str, fix: str | None) -> None:
        origin = f"override {override.text}"
        self._errors.append(UserError(rule, field=override.path, value=override.value, fix=fix, origin=origin))


def _in_file_only(annotation: Any) -> bool:
    """Whether a field holds several pieces, which no word of a command line can be."""
    return any(members(part) for part in getattr(annotation, "__args__", ()))


def _written(value: Any) -> str:
    """A value as a person would type it in an override."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _kept(now: Spec | None, cls: type[Spec]) -> dict[str, Any]:
    """Values that a piece keeps: all within its class; across kinds, the science fields that both declare alike."""
    if now is None:
        return {}
    old, new = type(now).model_fields, cls.model_fields
    if type(now) is cls:
        return {name: getattr(now, name) for name in old}
    return {
        name: getattr(now, name)
        for name in old
        if name in new
        and name != "kind"
        and cls.role_of(name) is Role.SCIENCE
        and (old[name].annotation, old[name].metadata) == (new[name].annotation, new[name].metadata)
    }
