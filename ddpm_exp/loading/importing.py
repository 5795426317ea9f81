"""Runs an experiment's file apart from everything else: siblings import each other by stem, and nothing stays behind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from ddpm_exp.loading.failures import import_failure
from ddpm_exp.loading.places import line_of, shown
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment


class Imported(NamedTuple):
    """The experiment class of a file and the modules that were loaded from the file's folder, by name."""

    cls: type[Experiment]
    modules: dict[str, ModuleType]


def import_file(path: Path) -> Imported:
    """Run the file at `path` and find its experiment. Raises `UserError` for everything that is wrong with it."""
    _readable(path)
    file = path.resolve()
    with _apart(file.parent) as modules:
        spec = spec_from_file_location(file.stem, file, loader=_FreshLoader(file.stem, str(file)))
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[file.stem] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise import_failure(error, file) from error
        finally:
            modules.update(_of_folder(file.parent))
    return Imported(_experiment_of(module, file), modules)


def _readable(path: Path) -> None:
    if path.is_dir():
        raise UserError("an experiment is a file, and this is a folder", field=str(path), fix="name a .py file in it")
    if not path.exists():
        raise UserError("no such file", field=str(path), fix=_what_there_is(path))
    if path.suffix != ".py":
        raise UserError("an experiment is a Python file that ends in .py", field=str(path), fix="name a .py file")
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"not text in UTF-8 (byte {error.start})", field=str(path), fix="save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", field=str(path), fix="check its permissions") from error


def _what_there_is(path: Path) -> str:
    names = sorted(file.name for file in path.parent.glob("*.py")) if path.parent.is_dir() else []
    if not names:
        return f"there is no Python file in {path.parent}; write one, or name another folder"
    return f"{path.parent} holds {', '.join(names[:20])}"


class _FreshLoader(SourceFileLoader):
    """Compiles from source every time: a cached .pyc of the same second and size would hide an edit."""

    def get_code(self, fullname: str) -> CodeType:
        """The file's code as it is on disk now."""
        file = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(file), file)
        return code


class _Siblings(MetaPathFinder):
    """Finds the other experiments of a folder by stem."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The sibling `fullname`.py, if there is one and Python has no module of that name itself."""
        file = self._folder / f"{fullname}.py"
        if path is not None or fullname in sys.stdlib_module_names or not file.is_file():
            return None
        return spec_from_file_location(fullname, file, loader=_FreshLoader(fullname, str(file)))


@contextmanager
def _apart(folder: Path) -> Iterator[dict[str, ModuleType]]:
    """Modules named like a file in `folder` are set aside, and those loaded from it are dropped afterwards."""
    stems = {file.stem for file in folder.glob("*.py")} - sys.stdlib_module_names - {"ddpm_exp"}
    aside = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in stems}
    for name in aside:
        del sys.modules[name]
    finder, loaded = _Siblings(folder), dict[str, ModuleType]()
    sys.meta_path.insert(0, finder)
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    try:
        yield loaded
    finally:
        sys.meta_path.remove(finder)
        sys.path.remove(str(folder))
        for name in _of_folder(folder):
            del sys.modules[name]
        sys.modules.update(aside)


def _of_folder(folder: Path) -> dict[str, ModuleType]:
    """Loaded modules whose top-level file or package lies directly in `folder` (never this package itself)."""
    tops = set()
    for name, module in sys.modules.items():
        file = getattr(module, "__file__", None)
        if "." not in name and name not in ("ddpm_exp", "__main__") and file is not None:
            place = Path(file).parent if Path(file).name == "__init__.py" else Path(file)
            if place.parent == folder:
                tops.add(name)
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in tops}


def _experiment_of(module: ModuleType, file: Path) -> type[Experiment]:
    found = dict.fromkeys(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Experiment) and value.__module__ == module.__name__
    )
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise UserError(
            "no experiment is defined in it",
            field=shown(file),
            fix="write one: class MyExperiment(Experiment), with what changes in its body",
        )
    places = ", ".join(f"{cls.__name__} ({line_of(file, _first_line(cls, file))})" for cls in found)
    raise UserError(
        f"a file defines one experiment, and this one defines {len(found)}: {places}",
        field=shown(file),
        fix="move all but one to files of their own and import them from there",
    )


def _first_line(cls: type, file: Path) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.split("(")[0].strip() == f"class {cls.__name__}"), 1)
