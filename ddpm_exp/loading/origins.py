"""Where each value was written, read from the syntax trees of the experiment's file and of its bases."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ddpm_exp.loading.places import line_of
from ddpm_exp.spec.base import Spec
from ddpm_exp.spec.experiment import Experiment

DEFAULT = "default"
"""The origin of a value that nobody wrote."""


class _Scope(NamedTuple):
    """One loaded module and its syntax tree."""

    module: ModuleType
    file: Path
    tree: ast.Module

    def at(self, node: ast.AST) -> str:
        return line_of(self.file, getattr(node, "lineno", 1))


class Origins:
    """Follows assignments, `.but(...)` and constructor keywords, names and imports back to the line that set a value.

    What it cannot follow (a function's result, `**settings`) is attributed to the line that calls it.
    """

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._modules = modules
        self._scopes: dict[str, _Scope | None] = {}

    def of_class(self, cls: type[Experiment], path: str) -> str:
        """`file:line` that set the dotted `path` in an instance of `cls`, or "default"."""
        return self._class(cls, path.split("."))

    def _class(self, cls: type, parts: Sequence[str]) -> str:
        for base in cls.__mro__:
            if base is Experiment:
                break
            scope = self._scope(base.__module__) if issubclass(base, Experiment) else None
            if scope is None:
                continue
            for node in ast.walk(scope.tree):
                if isinstance(node, ast.ClassDef) and node.name == base.__name__:
                    written = list(_assignments(node.body, parts[0], None))
                    if written:
                        return self._value(written[-1], parts[1:], scope)
            if parts[0] in ("decision", "baseline"):  # never inherited
                break
        return DEFAULT

    def _value(self, node: ast.expr, parts: Sequence[str], scope: _Scope) -> str:
        """Where the part `parts` of the value of expression `node` was written."""
        if not parts:
            return scope.at(node)
        if isinstance(node, ast.Call):
            return self._call(node, parts, scope)
        if isinstance(node, ast.Attribute):
            owner = _evaluate(node.value, scope)
            if isinstance(owner, ModuleType):
                other = self._scope(owner.__name__)
                return self._name(node.attr, parts, other, None) if other else scope.at(node)
            return self._value(node.value, [node.attr, *parts], scope)
        if isinstance(node, ast.Name):
            return self._name(node.id, parts, scope, node.lineno) or scope.at(node)
        return scope.at(node)

    def _call(self, node: ast.Call, parts: Sequence[str], scope: _Scope) -> str:
        for keyword in node.keywords:
            if keyword.arg == parts[0]:
                return self._value(keyword.value, parts[1:], scope) if parts[1:] else scope.at(keyword)
        if any(keyword.arg is None for keyword in node.keywords):
            return scope.at(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "but":
            return self._value(node.func.value, parts, scope)
        made = _evaluate(node.func, scope)
        if isinstance(made, type) and issubclass(made, Experiment):
            return self._class(made, parts)
        if isinstance(made, type) and issubclass(made, Spec):
            return scope.at(node) if list(parts) == ["kind"] else DEFAULT  # the class that was written is its kind
        return scope.at(node)

    def _name(self, name: str, parts: Sequence[str], scope: _Scope, before: int | None) -> str:
        """Where `name`, as it was before line `before` of its module, got its value."""
        written = list(_assignments(scope.tree.body, name, before))
        if written:
            return self._value(written[-1], parts, scope)
        for node in ast.walk(scope.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    other = self._scope(node.module) if (alias.asname or alias.name) == name else None
                    if other is not None:
                        return self._name(alias.name, parts, other, None)
        return line_of(scope.file, before or 1)

    def _scope(self, module_name: str) -> _Scope | None:
        if module_name not in self._scopes:
            self._scopes[module_name] = None
            module = self._modules.get(module_name)
            file = getattr(module, "__file__", None)
            if module is not None and file is not None and file.endswith(".py"):
                self._scopes[module_name] = _Scope(module, Path(file), ast.parse(Path(file).read_text(encoding="utf-8")))
        return self._scopes[module_name]


def _assignments(body: Sequence[ast.stmt], name: str, before: int | None) -> Iterator[ast.expr]:
    """Values assigned to `name` in `body` and its branches, in order, on lines before `before`."""
    for node in body:
        if before is not None and node.lineno >= before:
            break
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is not None and any(isinstance(target, ast.Name) and target.id == name for target in targets):
                yield node.value
        elif isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
            for branch in ("body", "orelse", "finalbody"):
                yield from _assignments(getattr(node, branch, []), name, before)


def _evaluate(node: ast.expr, scope: _Scope) -> Any:
    """The object that a dotted name stands for in the loaded module; None for anything else."""
    if isinstance(node, ast.Name):
        return vars(scope.module).get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_evaluate(node.value, scope), node.attr, None)
    return None
