"""An exception from inside an experiment's file as one message that names the file, the line and the mend."""

from __future__ import annotations

import ast
import difflib
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from ddpm_exp.loading.origins import Origins
from ddpm_exp.loading.places import line_of, shown
from ddpm_exp.loading.translate import to_user_error
from ddpm_exp.spec.base import Spec
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment


def import_failure(error: BaseException, file: Path) -> UserError:
    """`error`, raised while `file` ran, for the person who wrote it."""
    if isinstance(error, SyntaxError) and error.filename:
        where = line_of(Path(error.filename), error.lineno or 1)
        text = (error.text or "").strip()
        return UserError(f"syntax error: {error.msg}", field=where, fix=f"mend this line: {text}" if text else "mend this line")
    source, line = _last_line(error, file)
    where = line_of(source, line)
    if isinstance(error, UserError):
        if error.origin is None and type(error) is UserError:
            return UserError(
                error.rule, field=error.field, value=error.value, fix=error.fix, origin=_statement(error, source, line)
            )
        return error
    if isinstance(error, ValidationError):
        return _validation(error, source, line)
    if isinstance(error, ImportError):
        return _missing_import(error, where, file)
    return UserError(f"{type(error).__name__}: {error}", field=where, fix=_suggestion(error))


def _last_line(error: BaseException, file: Path) -> tuple[Path, int]:
    """The deepest line of the traceback in the folder of `file`: what the user wrote, not what it called."""
    last = (file, 1)
    for frame, line in traceback.walk_tb(error.__traceback__):
        place = Path(frame.f_code.co_filename)
        if place.parent == file.parent:
            last = (place, line)
    return last


def _validation(error: ValidationError, source: Path, line: int) -> UserError:
    cls = _class_named(error.title)
    tree = ast.parse(source.read_text(encoding="utf-8"))

    def origin_of(path: str) -> str:
        written = _keyword(tree, line, path)
        if written is None and issubclass(cls, Experiment):
            known = Origins(_modules()).of_class(cls, path.split("[")[0])
            return known if known != "default" else line_of(source, line)
        return line_of(source, written or line)

    return to_user_error(error, cls, origin_of)


def _keyword(tree: ast.Module, line: int, path: str) -> int | None:
    """Line of the keyword that set `path`, in the innermost call that spans `line`."""
    names = [part.split("[")[0] for part in path.split(".")]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.lineno <= line <= (node.end_lineno or line)]
    for call in sorted(calls, key=lambda node: (node.end_lineno or node.lineno) - node.lineno):
        for keyword in call.keywords:
            if keyword.arg in names:
                return keyword.lineno
    return None


def _statement(error: UserError, source: Path, line: int) -> str:
    """Where the field that the error names is assigned in the class statement at `line`, else the line itself."""
    cls, _, name = (error.field or "").partition(".")
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == cls and name:
            for statement in node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    return line_of(source, statement.lineno)
    return line_of(source, line)


def _class_named(title: str) -> type[Spec]:
    waiting: list[type[Spec]] = [Spec]
    found: type[Spec] = Experiment
    while waiting:
        cls = waiting.pop()
        if cls.__name__ == title:
            found = cls
        waiting.extend(cls.__subclasses__())
    return found


def _modules() -> dict[str, ModuleType]:
    return dict(sys.modules)


def _missing_import(error: ImportError, where: str, file: Path) -> UserError:
    name = error.name or ""
    siblings = sorted(other.stem for other in file.parent.glob("*.py"))
    if isinstance(error, ModuleNotFoundError):
        near = difflib.get_close_matches(name, [stem for stem in siblings if stem != file.stem], n=1)
        if near:
            fix = f"did you mean '{near[0]}'?"
        elif name.startswith("adr_"):
            fix = f"{shown(file.parent)} holds {', '.join(siblings)}"
        else:
            top = name.partition(".")[0]
            fix = f"install it into this Python (pip install {top}), or put {top}.py beside this file"
        return UserError(f"there is no module '{name}'", field=where, fix=fix)
    found = re.match(r"cannot import name '(\w+)'", str(error))  # ImportError has `name_from` only since Python 3.12
    wanted = found[1] if found else None
    module = sys.modules.get(name)
    rule = f"'{name}' has no '{wanted}'" if wanted else str(error)
    if "circular import" in str(error) or name == file.stem:
        return UserError(f"{rule} yet: the files import each other", field=where, fix="let only one of the two import the other")
    known = [word for word in dir(module) if not word.startswith("_")] if module else []
    known += list(getattr(module, "__all__", []))
    near = difflib.get_close_matches(str(wanted), known, n=1) if wanted else []
    return UserError(rule, field=where, fix=f"did you mean '{near[0]}'?" if near else "mend this import")


def _suggestion(error: BaseException) -> str:
    if isinstance(error, AttributeError) and isinstance(error.obj, Spec):
        near = difflib.get_close_matches(str(error.name), type(error.obj).model_fields, n=1)
        if near:
            return f"did you mean '{near[0]}'?"
    if isinstance(error, NameError) and error.name:
        import ddpm_exp  # its names are what an experiment file most often forgets to import

        near = difflib.get_close_matches(error.name, ddpm_exp.__all__, n=1)
        if near == [error.name]:
            return f"import it: from ddpm_exp import {error.name}"
        if near:
            return f"did you mean '{near[0]}'?"
    if isinstance(error, SystemExit):
        return "an experiment file only describes; take the exit out"
    return "mend this line; the file must run as plain Python"
