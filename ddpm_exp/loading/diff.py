"""What differs between two experiments, path by path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ddpm_exp.spec.base import Role
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import flat


@dataclass(frozen=True)
class Change:
    """One path and its plain values (JSON types) on both sides; None also where a side has no such field."""

    path: str
    before: Any
    after: Any


def diff(before: dict[str, Any], after: dict[str, Any]) -> tuple[Change, ...]:
    """The paths whose values differ, in the order of the experiment's pieces; a change of kind shows its fields.

    1 and True differ, 1 and 1.0 do not.
    """
    paths = [*before, *(path for path in after if path not in before)]
    pieces = list(dict.fromkeys(path.split(".")[0] for path in paths))
    paths.sort(key=lambda path: pieces.index(path.split(".")[0]))
    changes = (Change(path, before.get(path), after.get(path)) for path in paths)
    return tuple(change for change in changes if _differ(change.before, change.after))


def diff_experiments(a: Experiment, b: Experiment) -> tuple[Change, ...]:
    """What differs from `a` to `b` in science and execution; how they are judged is left out."""
    roles = frozenset({Role.SCIENCE, Role.EXECUTION})
    return diff(flat(a, roles=roles), flat(b, roles=roles))


def _differ(before: Any, after: Any) -> bool:
    return bool(before != after) or isinstance(before, bool) != isinstance(after, bool)
