"""Each kind of data and condition has its own measures: all in the catalogue, each with its known value on known samples."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from ddpm_exp.data import load
from ddpm_exp.data.conditions import build_conditions
from ddpm_exp.data.examples import Batch, Splits
from ddpm_exp.diffusion import draws
from ddpm_exp.evaluation.asked import Asked, ask
from ddpm_exp.evaluation.measuring import Measuring
from ddpm_exp.evaluation.vectors import sliced_wasserstein
from ddpm_exp.spec.condition import ClassLabels, Condition, ContinuousValues, ImageCondition, Prompts, Several, Unconditional
from ddpm_exp.spec.data import Data, Digits, family_of
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.metrics import METRIC_NAMES
from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table

SPEC = Evaluation(held_out=100, samples=60, grid_columns=2)
CLASS, NONE = ClassLabels(), Unconditional()
DEFECTS = {"measured", "diversity", "nearest_sample", "nearest_training", "memorisation"}
IMAGE = DEFECTS | {"coherence", "coherence_of_real", "noise_left", "blur"}
ROWS = DEFECTS | {"sliced_wasserstein", "sliced_wasserstein_of_real", "correlation_error"}
CENTROIDS = {"class_coverage", "classes", "class_distance"}
CLASSES = CENTROIDS | {"prompt_distance", "class_accuracy", "judged", "class_accuracy_of_real"}
VALUES = {"value_error", "value_error_of_real"}
SHORT = Sequences(length=8, subset=300, held_out_share=0.05)
FEW = Points(count=8, subset=300, held_out_share=0.05)


class Case(NamedTuple):
    """Measures of one kind of data under one condition."""

    splits: Splits
    measuring: Measuring
    asked: Asked
    notes: list[str]

    def noise(self) -> torch.Tensor:
        """What a network that knows nothing draws."""
        return draws.normal(0, "a test", self.asked.noises, tuple(self.splits.facts.shape)).clamp(-1, 1)


def _as_they_are(batch: Batch) -> Asked:
    """Real examples in place of drawn ones."""
    places = torch.arange(len(batch.x0))
    return Asked(batch, places, 0, len(places), places, places)


def _case(data: Data, condition: Condition, spec: Evaluation = SPEC, splits: Splits | None = None) -> Case:
    splits, notes = splits or load(data, condition), []
    conditions = build_conditions(condition, splits.facts, draws.uniform)
    asked = ask(condition, splits.train, splits.held_out, samples=spec.samples, columns=spec.grid_columns)
    return Case(splits, Measuring(spec, splits, condition, family_of(data), conditions, notes.append), asked, notes)


@pytest.mark.parametrize(
    ("data", "condition", "expected"),
    [
        (Digits(), NONE, IMAGE),
        (Digits(), CLASS, IMAGE | CLASSES),
        (Digits(), Prompts(), IMAGE | CLASSES),
        (Digits(), ImageCondition(), IMAGE | {"restored_error"}),
        (Digits(), ContinuousValues(), IMAGE | VALUES),
        # Several conditions do not take turns with equal noises, so that their classes have no distance.
        (Digits(), Several(of=(CLASS, ContinuousValues())), IMAGE | VALUES | CLASSES - {"prompt_distance"}),
        (Digits(), Several(of=(CLASS, ImageCondition())), IMAGE | {"restored_error"} | CLASSES - {"prompt_distance"}),
        (Table(source="diabetes"), NONE, ROWS),
        (Table(source="wine"), CLASS, ROWS | CLASSES),
        (Table(source="wine"), ContinuousValues(names=("alcohol",)), ROWS | VALUES),
        # Curves and clouds of each class have nearly the same mean, so that centroids do not tell all classes.
        (SHORT, CLASS, ROWS | CLASSES - {"class_coverage", "classes"}),
        (SHORT, ContinuousValues(names=("frequency", "damping")), ROWS | VALUES),
        (FEW, CLASS, ROWS | CLASSES - {"class_coverage", "classes"}),
        (Gaussians(means=((0.0,),), count=200), NONE, ROWS - {"correlation_error"}),
        (Gaussians(means=((0.0, 0.0),), count=200), CLASS, ROWS),
    ],
    ids=lambda given: given if isinstance(given, set) else f"{given.kind}",
)
def test_each_kind_of_data_and_condition_has_its_measures_and_all_are_in_the_catalogue(
    data: Data, condition: Condition, expected: set[str]
) -> None:
    case = _case(data, condition)
    found = case.measuring.of(case.noise(), case.asked)
    assert set(found) == {f"samples/{name}" for name in expected}
    assert set(found) <= set(METRIC_NAMES)
    assert all(torch.tensor(value).isfinite() for value in found.values())


def test_without_a_classifier_none_is_fitted() -> None:
    case = _case(Digits(), CLASS, SPEC.but(classifier=False))
    assert set(case.measuring.of(case.noise(), case.asked)) == {
        f"samples/{name}" for name in IMAGE | CENTROIDS | {"prompt_distance"}
    }
    assert case.notes == []


def test_judges_are_fitted_once_and_told() -> None:
    case = _case(Digits(), Several(of=(CLASS, ContinuousValues())))
    assert case.notes == []
    first, second = (case.measuring.of(case.noise(), case.asked) for _ in range(2))
    assert first == second
    assert len(case.notes) == 2 and "classifier" in case.notes[0] and "regression" in case.notes[1]


@pytest.mark.parametrize("condition", [ImageCondition(hole=(0.5, 0.5)), Several(of=(CLASS, ImageCondition(hole=(0.5, 0.5))))])
def test_inpainting_is_measured_inside_the_hole_alone(condition: Condition) -> None:
    case = _case(Digits(), condition, SPEC.but(classifier=False))
    drawn = case.asked.batch.x0 + 5.0
    assert case.measuring.of(case.asked.batch.x0, case.asked)["samples/restored_error"] == 0.0
    drawn[:, :, 2:6, 2:6] = case.asked.batch.x0[:, :, 2:6, 2:6] + 0.2
    assert case.measuring.of(drawn, case.asked)["samples/restored_error"] == pytest.approx(0.04)


def test_super_resolution_is_measured_everywhere() -> None:
    case = _case(Digits(), ImageCondition(task="super-resolution", factor=2))
    drawn = case.asked.batch.x0.clone()
    drawn[:, :, :, :4] += 0.3
    assert case.measuring.of(drawn, case.asked)["samples/restored_error"] == pytest.approx(0.09 / 2)


@pytest.mark.parametrize("data", [Table(source="wine"), SHORT.but(length=64), FEW.but(count=32)], ids=lambda data: data.kind)
def test_held_out_examples_as_samples_have_no_distance_and_their_class_and_noise_has_neither(data: Data) -> None:
    case = _case(data, CLASS, SPEC.but(held_out=10_000))
    real, labels = case.splits.held_out.batch(slice(None)).x0, case.splits.held_out.labels
    assert labels is not None
    own = _as_they_are(case.splits.held_out.batch(slice(None)))
    perfect, noise = case.measuring.of(real, own), case.measuring.of(case.noise(), case.asked)
    assert perfect["samples/sliced_wasserstein"] == perfect["samples/correlation_error"] == 0.0
    assert 0 < perfect["samples/sliced_wasserstein_of_real"] < noise["samples/sliced_wasserstein"]
    assert perfect["samples/class_accuracy"] > noise["samples/class_accuracy"] + 0.2
    assert noise["samples/correlation_error"] > 0


def test_values_asked_for_are_those_read_off_the_examples_that_have_them() -> None:
    case = _case(Digits(), ContinuousValues())
    batch = case.splits.held_out.batch(slice(None))
    assert batch.values is not None
    found = case.measuring.of(batch.x0, _as_they_are(batch))
    assert found["samples/value_error"] == pytest.approx(found["samples/value_error_of_real"], abs=1e-6)
    shifted = _as_they_are(batch._replace(values=batch.values + 3.0))
    assert case.measuring.of(batch.x0, shifted)["samples/value_error"] == pytest.approx(3.0, abs=0.1)


def test_judges_of_clouds_do_not_see_the_order_of_their_points() -> None:
    both = Several(of=(CLASS, ContinuousValues(names=("size",))))
    case = _case(Points(count=32, subset=600, held_out_share=0.06), both, SPEC.but(held_out=300))
    batch = case.splits.held_out.batch(slice(0, 300))
    asked = _as_they_are(batch)
    shuffled = batch.x0[:, :, torch.randperm(32, generator=torch.Generator().manual_seed(0))]
    found, again = case.measuring.of(batch.x0, asked), case.measuring.of(shuffled, asked)
    for name in ("class_accuracy", "value_error", "sliced_wasserstein"):
        assert again[f"samples/{name}"] == pytest.approx(found[f"samples/{name}"], abs=1e-5), name
    assert found["samples/class_accuracy"] > 0.85 and found["samples/value_error"] < 0.3


def test_samples_that_are_not_finite_are_measured_as_wrong_and_stop_no_evaluation() -> None:
    case = _case(SHORT, Several(of=(CLASS, ContinuousValues(names=("frequency",)))))
    drawn = torch.full_like(case.noise(), torch.nan)
    found = case.measuring.of(drawn, case.asked)
    assert found["samples/class_accuracy"] == 0.0
    assert not torch.tensor([found["samples/value_error"], found["samples/sliced_wasserstein"]]).isfinite().any()


def test_values_that_no_example_has_all_of_are_not_measured() -> None:
    condition = ContinuousValues(names=("brightness", "contrast"))
    splits = load(Digits(), condition)
    assert splits.train.values is not None
    values = splits.train.values.clone()
    values[:, 1] = torch.nan
    case = _case(Digits(), condition, splits=replace(splits, train=replace(splits.train, values=values)))
    assert set(case.measuring.of(case.noise(), case.asked)) == {f"samples/{name}" for name in IMAGE}


def test_two_features_are_enough_to_tell_four_classes_apart() -> None:
    data = Gaussians(means=((2.0, 0.0), (0.0, 2.0), (-2.0, 0.0), (0.0, -2.0)), std=0.3, count=600)
    case = _case(data, CLASS)
    assert case.measuring.judge.accuracy_on_real > 0.98


def test_a_perfect_sampler_of_unequal_classes_is_as_near_the_data_as_other_real_examples() -> None:
    """Drawn in equal turns it was seven times as far (1.15 against 0.15)."""
    even = load(Gaussians(means=((-2.0, 0.0), (2.0, 0.0)), std=1.0, count=20_000), CLASS)
    assert even.train.labels is not None and even.held_out.labels is not None
    parts = []
    for part, labels in ((even.train, even.train.labels), (even.held_out, even.held_out.labels)):
        rare = (labels == 1).nonzero().flatten()
        usual = (labels == 0).nonzero().flatten()
        count = len(usual) // 9
        parts.append(part.take(torch.cat([usual, rare[:count]])))
    train, held_out = parts
    case = _case(Gaussians(), CLASS, SPEC.but(samples=200, held_out=10_000), replace(even, train=train, held_out=held_out))
    labels = case.asked.batch.labels
    assert labels is not None
    noise = draws.normal(0, "a test", torch.arange(len(labels)), (2,))
    perfect = noise + torch.where(labels == 1, 2.0, -2.0)[:, None] * torch.tensor([1.0, 0.0])
    found = case.measuring.of(perfect, case.asked)
    assert found["samples/sliced_wasserstein"] < 0.25
    assert found["samples/sliced_wasserstein"] < 2 * found["samples/sliced_wasserstein_of_real"]
    assert found["samples/class_accuracy"] == pytest.approx(found["samples/class_accuracy_of_real"], abs=0.06)


@pytest.mark.parametrize("samples", [50, 200])
def test_the_distance_of_real_examples_is_of_as_many_as_were_drawn(samples: int) -> None:
    case = _case(Gaussians(means=((0.0, 0.0),), count=4000), NONE, SPEC.but(samples=samples, held_out=10_000))
    found = case.measuring.of(case.noise(), case.asked)["samples/sliced_wasserstein_of_real"]
    train, held_out = case.splits.train.x, case.splits.held_out.x
    chosen = train[torch.linspace(0, len(train) - 1, samples).long()]
    assert found == sliced_wasserstein(chosen, held_out)
