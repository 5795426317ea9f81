"""Which experiment a word means, which id a file has, and which class an experiment is compared with."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from ddpm_exp.loading.places import in_package
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment

_ADR_STEM = re.compile(r"adr_(\d+)")
_ADR_WORD = re.compile(r"(?:adr[-_ ]?)?(\d+)", re.IGNORECASE)


def id_of(file: Path) -> str:
    """`ADR-0002` for adr_0002.py, else the file's stem."""
    found = _ADR_STEM.fullmatch(file.stem)
    return f"ADR-{int(found[1]):04d}" if found else file.stem


def name_of(file: Path) -> str:
    """The stem, made safe as a folder's name on any system."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", file.stem)


def resolve(word: str, root: Path = Path("experiments")) -> Path:
    """The file that `word` means: a path, or in `root` a stem, a number or an ADR id ("2", "adr_0002", "ADR-0002").

    Raises `UserError` that lists what there is.
    """
    path = Path(word)
    number = _ADR_WORD.fullmatch(word)
    places = [path, root / path, root / f"{word}.py"]
    if number:
        places.append(root / f"adr_{int(number[1]):04d}.py")
    for place in places:
        if place.is_file():
            return place
    names = sorted(file.stem for file in root.glob("*.py"))
    near = difflib.get_close_matches(path.stem, names, n=1)
    there = f"{root} holds {', '.join(names)}" if names else f"there are no experiments in {root}"
    raise UserError("no such experiment", field=word, fix=f"did you mean {near[0]}? {there}" if near else there)


def file_of(cls: type[Experiment], modules: Mapping[str, ModuleType]) -> Path | None:
    """The file that defines `cls`; None for a class made without one."""
    module = modules.get(cls.__module__) or sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def parent_of(cls: type[Experiment], modules: Mapping[str, ModuleType]) -> type[Experiment] | None:
    """The experiment that `cls` subclasses; None if that is `Experiment` itself or a preset of this package."""
    for base in cls.__mro__[1:]:
        if base is Experiment or not issubclass(base, Experiment):
            continue
        file = file_of(base, modules)
        return None if file is None or in_package(file) else base
    return None
