"""Every field of an experiment by its dotted path, and which one a mistyped or misplaced name probably means."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from ddpm_exp.spec.base import Spec


class Site(NamedTuple):
    """One field at one place of an experiment; a field of a union's member has one site per kind that declares it."""

    path: str
    owner: type[Spec]

    @property
    def name(self) -> str:
        """Last word of the path."""
        return self.path.rpartition(".")[2]

    @property
    def home(self) -> str:
        """Path of the piece that the field belongs to; empty at the top."""
        return self.path.rpartition(".")[0]


def members(annotation: Any) -> tuple[type[Spec], ...]:
    """The spec classes that a field of this type can hold directly (not inside a tuple)."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return (annotation,)
    if get_origin(annotation) is tuple:
        return ()
    parts = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return tuple(found for part in parts for found in members(part))


def sites(cls: type[Spec], prefix: str = "") -> Iterator[Site]:
    """Every field of `cls` and of the specs inside it."""
    for name, field in cls.model_fields.items():
        yield Site(f"{prefix}{name}", cls)
        for member in members(field.annotation):
            yield from sites(member, f"{prefix}{name}.")


@lru_cache(maxsize=1)
def all_sites() -> tuple[Site, ...]:
    """Every field of an experiment."""
    from ddpm_exp.spec.experiment import Experiment  # the experiment's own class statement asks for hints

    return tuple(sites(Experiment))


def home_of(cls: type[Spec]) -> str | None:
    """Path at which an experiment holds `cls` (`training` for `Training`); None if it is nowhere or in several places."""
    homes = {site.home for site in all_sites() if site.owner is cls}
    return homes.pop() if len(homes) == 1 else None


def hint(name: str, cls: type[Spec], home: str | None) -> str:
    """What someone who wrote `name` into the `cls` at path `home` probably meant, as a fix.

    A name that exists elsewhere gets the right path; a near miss gets the nearest name; else what there is.
    """
    elsewhere = [site for site in all_sites() if site.name == name and site.name != "kind" and site.owner is not cls]
    kinds = [site.owner.__name__ for site in elsewhere if site.home and site.home == home]
    if kinds:
        return f"{name} belongs to {' or '.join(kinds)}, and this is {cls.__name__}; write another kind of {home} to have it"
    near = difflib.get_close_matches(name, cls.model_fields, n=1)
    guess = f"did you mean '{near[0]}'?" if near else ""
    if elsewhere:
        places = " or ".join(dict.fromkeys(_belongs(site) for site in elsewhere))
        return f"{name} belongs to {places}" + (f"; or {guess}" if guess else "")
    if guess:
        return guess
    far = difflib.get_close_matches(name, [site.name for site in all_sites()], n=1, cutoff=0.75)
    if far:
        places = " or ".join(dict.fromkeys(_belongs(site) for site in all_sites() if site.name == far[0]))
        return f"did you mean '{far[0]}'? It belongs to {places}"
    return f"known fields: {', '.join(cls.model_fields)}"


def _belongs(site: Site) -> str:
    if not site.home:
        return f"the experiment itself ({site.name} = ...)"
    return f"{site.home} ({site.home}.{site.name})"
