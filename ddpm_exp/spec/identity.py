"""What an experiment is, as flat keys and as hashes: science apart from execution and judgement."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ddpm_exp.spec.base import Role, Spec
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.training import Precision

SCHEMA_VERSION = 1
"""Version of the configuration's form in manifests; raise it when a field is renamed or changes meaning."""


def flat(spec: Spec, prefix: str = "", roles: frozenset[Role] = frozenset(Role)) -> dict[str, Any]:
    """Dotted path to plain value (JSON types) of every field whose role, and whose parents' roles, are in `roles`."""
    values: dict[str, Any] = {}
    for name in type(spec).model_fields:
        if spec.role_of(name) not in roles:
            continue
        value, path = getattr(spec, name), f"{prefix}{name}"
        if isinstance(value, Spec):
            values.update(flat(value, f"{path}.", roles))
        else:
            values[path] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def science(experiment: Experiment, precision: Precision) -> dict[str, Any]:
    """Flat science fields with the precision resolved: everything that changes what is learnt or measured."""
    values = flat(experiment, roles=frozenset({Role.SCIENCE}))
    values["training.precision"] = precision
    return values


def science_hash(experiment: Experiment, precision: Precision) -> str:
    """Twelve hexadecimal digits that agree exactly where `science` agrees.

    Only values that differ from the first defaults of their class are hashed, so that a field added later, whose default is what
    was done before, leaves recorded runs what they were. A default that changes its value keeps the first one as a mark
    (`FirstDefault`), one that changes its meaning must raise `SCHEMA_VERSION`; a test compares the first defaults with those on
    record.
    """
    chosen = _chosen(experiment)
    chosen["training.precision"] = precision
    return _digest(chosen)


def _chosen(spec: Spec, prefix: str = "") -> dict[str, Any]:
    """The science fields that are not at their class's first default, and the kind of every piece."""
    values: dict[str, Any] = {}
    for name in type(spec).model_fields:
        if spec.role_of(name) is not Role.SCIENCE:
            continue
        value, path = getattr(spec, name), f"{prefix}{name}"
        if isinstance(value, Spec):
            values[path] = True  # a piece that may be absent is there, even with nothing but defaults
            values.update(_chosen(value, f"{path}."))
        elif name == "kind" or value != spec.first_default(name):
            values[path] = _plain(value)
    return values


def criteria_hash(experiment: Experiment) -> str | None:
    """Hash of the planned seeds, of whether they are final, and of the criteria; None without a decision."""
    decision = experiment.decision
    if decision is None:
        return None
    judged = {"seeds", "amendable", "accept_when", "reject_when"}
    return _digest(decision.model_dump(mode="json", include=judged, exclude_defaults=True))


def _digest(values: Any) -> str:
    text = json.dumps({"schema": SCHEMA_VERSION, "values": values}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
