"""A manifest's values are the experiment that they were written from, or name what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ddpm_exp.records.catalog import find_runs
from ddpm_exp.spec.base import Role
from ddpm_exp.spec.condition import ClassLabels, ContinuousValues, ImageCondition, Prompts, Several
from ddpm_exp.spec.data import CIFAR10, Digits
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError, UserErrors
from ddpm_exp.spec.evaluation import FID, Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import flat, science_hash
from ddpm_exp.spec.model import MLP, DiT, UNet
from ddpm_exp.spec.restored import experiment_of
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table

RECORDED_RUNS = Path(__file__).parents[2] / "benchmarks" / "results" / "runs"

WRITTEN = (
    Experiment(),
    Experiment(data=CIFAR10(flip=True), condition=Prompts(templates=("a {}", "{}!")), evaluation=Evaluation(fid=FID(images=5_000))),
    Experiment(condition=Several(of=(ClassLabels(), ImageCondition(hole=(0.1, 0.2)))), model=UNet(multipliers=(1, 2))),
    Experiment(data=Table(source="wine"), model=MLP(), condition=ContinuousValues(names=("alcohol",))),
    Experiment(data=Gaussians(), model=MLP(), diffusion=Diffusion(schedule="rectified-flow", prediction="velocity")),
    Experiment(data=Sequences(), model=DiT(width=64, heads=4), sampling=Sampling(sampler="euler")),
    Experiment(data=Points(), model=DiT.S()),
    Experiment(condition=ClassLabels(), sampling=Sampling(guidance_scale=3.0, guidance_interval=(0.2, 5.0))),
)


@pytest.mark.parametrize("written", WRITTEN, ids=lambda one: f"{one.data.kind}-{one.condition.kind}-{one.model.kind}")
def test_what_json_keeps_of_an_experiment_is_that_experiment(written: Experiment) -> None:
    kept = json.loads(json.dumps(flat(written, roles=frozenset({Role.SCIENCE, Role.EXECUTION}))))
    again = experiment_of(kept)
    assert flat(again) == flat(written)
    assert science_hash(again, "fp32") == science_hash(written, "fp32")
    assert isinstance(again.model, type(written.model)) and again.diffusion == written.diffusion


def test_every_recorded_run_is_read_with_its_own_science_hash() -> None:
    runs = find_runs(RECORDED_RUNS).runs
    assert runs
    for run in runs:
        experiment = experiment_of(run.manifest.config)
        assert science_hash(experiment, run.manifest.precision) == run.manifest.science_hash  # type: ignore[arg-type]


def test_fields_that_are_not_there_keep_their_defaults() -> None:
    assert experiment_of({}) == Experiment()
    assert experiment_of({"sampling.steps": 7}) == Experiment(sampling=Sampling(steps=7))


def _refused(**values: object) -> UserError:
    with pytest.raises(UserError) as refused:
        experiment_of({path.replace("__", "."): value for path, value in values.items()})
    return refused.value


def test_unknown_fields_and_broken_values_are_named_without_the_kinds_of_their_pieces() -> None:
    unknown = _refused(data__kind="digits", data__image_sizes=8)
    assert (unknown.field, unknown.value, unknown.fix) == ("data.image_sizes", 8, "did you mean 'image_size'?")
    assert _refused(model__kind="unet", model__widest=8).field == "model.widest"
    assert _refused(nothing=1).field == "nothing"
    broken = _refused(sampling__steps="many")
    assert (broken.field, broken.value) == ("sampling.steps", "many")
    inside = _refused(condition__kind="several", condition__of=[{"kind": "class"}, {"kind": "prompt", "width": 1}])
    assert isinstance(inside, UserErrors)
    assert (inside.errors[0].field, inside.errors[0].value) == ("condition.of[1].width", 1)
    rule = _refused(sampling__eta=0.5, sampling__sampler="euler")
    assert (rule.field, rule.value) == ("sampling.eta", 0.5) and "belongs to ddim" in rule.rule
    assert _refused(**{"sampling": 3, "sampling.steps": 4}).field == "sampling.steps"


def test_several_mistakes_are_told_together() -> None:
    both = _refused(sampling__steps="many", training__speed=1)
    assert isinstance(both, UserErrors)
    assert {error.field for error in both.errors} == {"sampling.steps", "training.speed"}


def test_rules_across_pieces_hold_here_too() -> None:
    assert _refused(sampling__guidance_scale=3.0).field is not None, "guidance without a condition"


def test_the_data_is_of_the_kind_that_was_written() -> None:
    assert isinstance(experiment_of({"data.kind": "digits", "data.image_size": 16}).data, Digits)
