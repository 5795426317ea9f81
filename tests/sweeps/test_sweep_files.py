"""Every shipped sweep file is one that W&B takes and whose values an experiment takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.identity import flat
from ddpm_exp.spec.metrics import find_metric

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "sweeps").glob("*.yaml"))

# The keys that W&B documents for a sweep and for a parameter of it.
SWEEP_KEYS = {"name", "description", "project", "entity", "method", "metric", "parameters", "command", "run_cap", "early_terminate"}
RULES: tuple[set[str], ...] = ({"value"}, {"values"}, {"min", "max"}, {"min", "max", "distribution"})


def load(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


def extremes(rule: dict[str, Any]) -> list[Any]:
    """Values at the ends of what a parameter can take."""
    if "value" in rule:
        return [rule["value"]]
    return list(rule["values"]) if "values" in rule else [rule["min"], rule["max"]]


def test_there_are_sweep_files() -> None:
    assert "learning_rate.yaml" in [file.name for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_file_has_the_form_that_wandb_documents(file: Path) -> None:
    sweep = load(file)
    assert sweep.keys() <= SWEEP_KEYS and {"method", "metric", "parameters", "command", "run_cap"} <= sweep.keys()
    assert sweep["method"] in ("random", "grid", "bayes") and sweep["run_cap"] >= 1
    assert sweep["metric"].keys() == {"name", "goal"} and sweep["metric"]["goal"] in ("minimize", "maximize")
    for rule in sweep["parameters"].values():
        assert set(rule) in RULES
        # PyYAML reads 1e-4 as text; W&B would then hand on a word where a number is meant.
        assert all(not isinstance(value, str) for value in extremes(rule))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_metric_is_recorded_and_its_goal_is_the_metrics_direction(file: Path) -> None:
    metric = load(file)["metric"]
    assert {"minimize": "lower", "maximize": "higher"}[metric["goal"]] == find_metric(metric["name"]).better


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_command_is_ours_with_the_values_as_overrides(file: Path) -> None:
    program, verb, experiment, *rest = load(file)["command"]
    assert (program, verb) == ("ddpm-exp", "run") and "${args_no_hyphens}" in rest
    assert (ROOT / experiment).is_file()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_experiment_takes_both_ends_of_every_parameter(file: Path) -> None:
    sweep = load(file)
    path = ROOT / sweep["command"][2]
    for name, rule in sweep["parameters"].items():
        for value in extremes(rule):
            changed = load_experiment(path, [f"{name}={value}"]).experiment
            assert flat(changed)[name] == value
