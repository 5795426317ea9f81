"""Which preset comes from which source, and which of its values that source states. Knows no preset itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ddpm_exp.spec.experiment import Experiment

E = TypeVar("E", bound=type[Experiment])


@dataclass(frozen=True)
class Origin:
    """Where a preset comes from."""

    source: str
    """A guide's number, or a paper."""

    states: tuple[str, ...]
    """Dotted paths (or whole parts, "data") whose values are the source's own. The others are chosen here, free of advice."""

    def states_field(self, path: str) -> bool:
        """Whether the source states the value at `path`."""
        return any(path == stated or path.startswith(f"{stated}.") for stated in self.states)


_ORIGINS: dict[type[Experiment], Origin] = {}


def preset(source: str, *states: str) -> Callable[[E], E]:
    """Class decorator: this experiment is a preset of `source`, which states the values at the paths `states`."""

    def register(cls: E) -> E:
        _ORIGINS[cls] = Origin(source, states)
        return cls

    return register


def origin_of(cls: type[Experiment]) -> tuple[type[Experiment], Origin] | None:
    """The nearest preset that `cls` is or builds on, with its origin."""
    for base in cls.__mro__:
        if base in _ORIGINS:
            return base, _ORIGINS[base]
    return None
