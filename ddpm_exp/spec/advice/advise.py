"""Runs every rule over an experiment, and leaves out what a preset's own source says about its own values."""

from __future__ import annotations

from typing import Any

from ddpm_exp.spec.advice.rule import Advice, Case, Change, Rule
from ddpm_exp.spec.advice.table import CHANGE_RULES, RULES
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import flat
from ddpm_exp.spec.presets.registry import origin_of


def advise(experiment: Experiment, host_cores: int | None = None) -> tuple[Advice, ...]:
    """Everything the guides advise against in `experiment`, in the order of its fields.

    `host_cores`: CPU cores of the machine to run on; None: unknown, taken as a small one.
    Values that a preset's source states stay without advice in the preset, and in experiments that build on it until they change.
    """
    case = Case(experiment, host_cores)
    found = ((rule, rule.check(case)) for rule in RULES if _applies(rule.reads, experiment))
    return tuple(advice for rule, advice in found if advice is not None and not _stated_by_preset(rule, experiment))


def advise_change(baseline: Experiment, experiment: Experiment) -> tuple[Advice, ...]:
    """What the guides advise against in the step from `baseline` to `experiment`."""
    change = Change(baseline, experiment)
    speaking = (rule for rule in CHANGE_RULES if _applies(rule.reads, baseline) and _applies(rule.reads, experiment))
    return tuple(advice for rule in speaking if (advice := rule.check(change)) is not None)


def _applies(reads: tuple[str, ...], experiment: Experiment) -> bool:
    """Whether all that a rule reads exists in this experiment's kinds of network, condition and schedule."""
    for path in reads:
        piece: Any = experiment
        for name in path.split("."):
            if not hasattr(piece, name):
                return False
            if isinstance(piece, Diffusion) and not piece.has(name):
                return False
            piece = getattr(piece, name)
    return True


def _stated_by_preset(rule: Rule[Case], experiment: Experiment) -> bool:
    found = origin_of(type(experiment))
    if found is None:
        return False
    preset, origin = found
    here, there = flat(experiment), flat(preset())
    return all(origin.states_field(path) and _under(here, path) == _under(there, path) for path in rule.reads)


def _under(values: dict[str, Any], path: str) -> dict[str, Any]:
    """The values at `path`, or below it where it is a whole part."""
    return {key: value for key, value in values.items() if key == path or key.startswith(f"{path}.")}
