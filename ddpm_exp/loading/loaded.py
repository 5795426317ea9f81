"""From an experiment's file and overrides to everything that is known about it: values, origins, sources, baseline."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from pydantic import ValidationError

from ddpm_exp.loading.importing import import_file
from ddpm_exp.loading.lineage import file_of, id_of, name_of, parent_of, resolve
from ddpm_exp.loading.origins import DEFAULT, Origins
from ddpm_exp.loading.overrides import apply_overrides, apply_with_origins, override_paths
from ddpm_exp.loading.places import in_package, shown
from ddpm_exp.loading.translate import to_user_error
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import flat

__all__ = ["Loaded", "apply_overrides", "load_experiment", "resolve"]


@dataclass(frozen=True)
class Loaded:
    """An experiment and where it came from."""

    experiment: Experiment
    """Validated, with the overrides applied."""

    id: str
    """`ADR-0002` for adr_0002.py, else the file's stem."""

    name: str
    """The file's stem, safe as a folder's name."""

    class_name: str
    path: Path
    sources: dict[str, str]
    """File name to text: the experiment's file and those it builds on, outside the package."""

    baseline: Loaded | None
    """The experiment named by `baseline`, else the parent class if it is a user's own; never overridden."""

    origins: dict[str, str]
    """Dotted path to `file:line`, `override path=value` or `default`."""

    overrides: tuple[str, ...]


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """The experiment of the file at `path`, with `path=value` overrides.

    Raises `UserError` for a file that is missing, does not run, or does not define exactly one valid experiment, for
    wrong overrides, and for a baseline that is missing or leads back to the experiment.
    """
    return _load(Path(path), tuple(overrides), _Chain((), None))


class _Chain(NamedTuple):
    """The experiments that led to a baseline, so that a circle is seen."""

    files: tuple[Path, ...]
    named_at: str | None
    """Where the last baseline was named; a circle always holds a named one, since classes cannot subclass in circles."""

    def then(self, path: Path) -> _Chain:
        return self._replace(files=(*self.files, path.resolve()))


def _load(path: Path, overrides: tuple[str, ...], chain: _Chain) -> Loaded:
    imported = import_file(path)
    return _assemble(imported.cls, path, imported.modules, overrides, chain)


def _assemble(
    cls: type[Experiment], path: Path, modules: dict[str, ModuleType], overrides: tuple[str, ...], chain: _Chain
) -> Loaded:
    written = Origins({**sys.modules, **modules})
    if path.resolve() in chain.files:
        steps = " -> ".join(id_of(file) for file in (*chain.files, path))
        raise UserError(
            "baselines lead in a circle",
            field="baseline",
            value=steps,
            fix="name another baseline in one of them",
            origin=chain.named_at,
        )

    def origin_of(dotted: str) -> str:
        return written.of_class(cls, dotted.split("[")[0])

    try:
        plain = cls()
    except ValidationError as error:
        raise to_user_error(error, cls, origin_of, prefix="") from error
    experiment = apply_with_origins(plain, overrides, origin_of)
    return Loaded(
        experiment=experiment,
        id=id_of(path),
        name=name_of(path),
        class_name=cls.__name__,
        path=path,
        sources=_sources(cls, path, modules),
        baseline=_baseline(plain, path, modules, chain.then(path), origin_of("baseline")),
        origins=_origins(plain, experiment, written, overrides),
        overrides=overrides,
    )


def _baseline(experiment: Experiment, path: Path, modules: dict[str, ModuleType], chain: _Chain, origin: str) -> Loaded | None:
    if experiment.baseline is not None:
        try:
            named = resolve(experiment.baseline, path.parent)
        except UserError as error:
            raise UserError(error.rule, field="baseline", value=experiment.baseline, fix=error.fix, origin=origin) from error
        return _load(named, (), chain._replace(named_at=origin))
    parent = parent_of(type(experiment), modules)
    file = file_of(parent, modules) if parent else None
    if parent is None or file is None:
        return None
    beside = file.parent == path.resolve().parent
    return _assemble(parent, path.with_name(file.name) if beside else Path(shown(file)), modules, (), chain)


def _sources(cls: type[Experiment], path: Path, modules: dict[str, ModuleType]) -> dict[str, str]:
    sources = {path.name: path.read_text(encoding="utf-8")}
    for base in cls.__mro__:
        file = file_of(base, modules) if issubclass(base, Experiment) else None
        if file is not None and not in_package(file):
            key = file.name if sources.get(file.name) in (None, file.read_text(encoding="utf-8")) else shown(file)
            sources[key] = file.read_text(encoding="utf-8")
    return {**_shared(path, modules), **sources}


def _shared(path: Path, modules: dict[str, ModuleType]) -> dict[str, str]:
    """Modules beside the experiment that it imports values from and that define no experiment themselves."""
    shared = {}
    for module in modules.values():
        file = Path(getattr(module, "__file__", None) or "")
        if file.parent == path.resolve().parent and file.suffix == ".py" and not _defines_experiment(module):
            shared[file.name] = file.read_text(encoding="utf-8")
    return shared


def _defines_experiment(module: ModuleType) -> bool:
    own = (value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__)
    return any(isinstance(value, type) and issubclass(value, Experiment) for value in own)


def _origins(plain: Experiment, experiment: Experiment, written: Origins, overrides: tuple[str, ...]) -> dict[str, str]:
    typed = override_paths(overrides)
    before, after = flat(plain), flat(experiment)
    origins = {}
    for path, value in after.items():
        if path in typed:
            origins[path] = f"override {typed[path]}"
        elif path in before and before[path] == value:
            origins[path] = written.of_class(type(plain), path)
        else:  # a default of a kind or piece that an override brought in
            origins[path] = DEFAULT
    return origins
