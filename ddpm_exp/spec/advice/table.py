"""The one table of all advice. A new rule is a function in a thematic file and its name in that file's `RULES`."""

from __future__ import annotations

from ddpm_exp.spec.advice import (
    averaging,
    change,
    data,
    diffusion,
    evaluation,
    learning_rate,
    model,
    network,
    samplers,
    sampling,
    stability,
    training,
)
from ddpm_exp.spec.advice.rule import Case, Change, Rule

RULES: tuple[Rule[Case], ...] = (
    *data.RULES,
    *diffusion.RULES,
    *model.RULES,
    *network.RULES,
    *training.RULES,
    *learning_rate.RULES,
    *stability.RULES,
    *averaging.RULES,
    *sampling.RULES,
    *samplers.RULES,
    *evaluation.RULES,
)
"""Rules about one experiment."""

CHANGE_RULES: tuple[Rule[Change], ...] = change.RULES
"""Rules about the step from a baseline to an experiment."""
