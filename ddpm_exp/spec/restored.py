"""An experiment again from the flat values that a manifest keeps: the inverse of `identity.flat`. Reads no file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ddpm_exp.spec.errors import UserError, UserErrors
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu

Tree = dict[str, Any]


def experiment_of(config: Mapping[str, Any]) -> Experiment:
    """The experiment whose flat form is `config` (dotted path to plain value); what it leaves out has its default.

    A piece that can be of several kinds states its `kind`. Raises UserError (UserErrors for several) for fields that no
    experiment has, values that are none of theirs, and rules that they break together.
    """
    tree = _nested(config)
    _forget_unknown_gpu(tree)
    try:
        # As JSON, in which a list is a tuple; in Python's own types the strict spec would refuse it.
        return Experiment.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        mistakes = [_mistake(detail, tree) for detail in error.errors(include_url=False)]
        raise mistakes[0] if len(mistakes) == 1 else UserErrors(mistakes) from None


def _forget_unknown_gpu(tree: Tree) -> None:
    """A GPU that the run's own file added to the catalogue is unknown where only the record is read, and decides nothing there."""
    hardware = tree.get("hardware")
    if isinstance(hardware, dict) and isinstance(hardware.get("gpu"), str):
        try:
            find_gpu(hardware["gpu"])
        except KeyError:
            hardware["gpu"] = None


def _nested(config: Mapping[str, Any]) -> Tree:
    tree: Tree = {}
    for path, value in config.items():
        *homes, name = path.split(".")
        place = tree
        for home in homes:
            below = place.setdefault(home, {})
            if not isinstance(below, dict):
                raise UserError(f"{home} is a value, and so has nothing below it", field=path, value=value, fix="leave one out")
            place = below
        place[name] = value
    return tree


def _mistake(detail: ErrorDetails, tree: Tree) -> UserError:
    context = detail.get("ctx", {})
    of_ours = detail["type"] == "rule"
    path = _path((*detail["loc"], *str(context["field"]).split(".")) if of_ours else detail["loc"], tree)
    if of_ours:
        return UserError(context["rule"], field=path, value=context["value"], fix=context["fix"])
    if detail["type"] == "extra_forbidden":
        home, _, name = path.rpartition(".")
        near = difflib.get_close_matches(name, _names(home), n=1)
        fix = f"did you mean {near[0]!r}?" if near else "it was written by another version of ddpm-exp; read it with that one"
        return UserError("an experiment has no such field", field=path, value=detail["input"], fix=fix)
    message = detail["msg"][:1].lower() + detail["msg"][1:]
    value = None if detail["type"] == "missing" else detail["input"]
    return UserError(message, field=path, value=value, fix="write a value that the field takes")


def _path(location: tuple[int | str, ...], tree: Tree) -> str:
    """The dotted path, without the kinds that pydantic names where a piece can be of several."""
    path, place = "", tree
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
            place = place[step] if isinstance(place, list) and step < len(place) else {}
        elif isinstance(place, dict) and step not in place and place.get("kind") == step:
            continue
        else:
            path = f"{path}.{step}" if path else str(step)
            place = place.get(step, {}) if isinstance(place, dict) else {}
    return path


def _names(home: str) -> list[str]:
    from ddpm_exp.spec.fields import all_sites

    return [site.name for site in all_sites() if site.home == home]
